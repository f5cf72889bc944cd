#include "verifier/enrollment/cookie.h"

#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "common/util/hex.h"
#include "tests/support/enrollment_bench.h"
#include "tests/support/status_matchers.h"

namespace cupel::verifier {
namespace {

using ::cupel::testing::IsOk;
using ::cupel::testing::StatusIs;
using ::cupel::testing::StatusOf;
using ::cupel::testing::TestAgent;
using ::cupel::testing::TestTime;

using testing::kDenied;
using testing::kInvalid;

CookieContent Content() {
  return {.issued = TestTime() + absl::Microseconds(7),
          .agent_id = TestAgent(),
          .ek_certificate = std::vector<uint8_t>(700, 1),
          .ek_template = "L-1",
          .ak_public = std::vector<uint8_t>(90, 2),
          .verifier_certificate = std::vector<uint8_t>(32, 3),
          .token = "token",
          .secret = Secret(std::vector<uint8_t>(32, 4))};
}

std::vector<Secret> Keys(std::initializer_list<uint8_t> fills) {
  std::vector<Secret> keys;
  for (const uint8_t fill : fills) {
    keys.emplace_back(std::vector<uint8_t>(32, fill));
  }
  return keys;
}

TEST_CASE("What is sealed comes out again") {
  const auto keys = *CookieKeys::Generate();
  const auto cookie = keys->Seal(Content());
  REQUIRE_THAT(StatusOf(cookie), IsOk());
  const auto opened = keys->Open(*cookie);
  REQUIRE_THAT(StatusOf(opened), IsOk());
  const CookieContent expected = Content();
  CHECK(opened->content.issued == expected.issued);
  CHECK(opened->content.agent_id == expected.agent_id);
  CHECK(opened->content.ek_certificate == expected.ek_certificate);
  CHECK(opened->content.ek_template == expected.ek_template);
  CHECK(opened->content.ak_public == expected.ak_public);
  CHECK(opened->content.verifier_certificate == expected.verifier_certificate);
  CHECK(opened->content.token == expected.token);
  CHECK(opened->content.secret == expected.secret);
  CHECK_FALSE(IsZero(opened->nonce));
}

// Sealed by another implementation of the format (Python's cryptography).
constexpr absl::string_view kForeign =
    "02ab11535a08c015b5000102030405060708090a0b0c0d0e0f10111213141516171819"
    "1a1b1c1d1e1ff158f13161e32c18754bb2537481d5d46ee797f7599106135b4920bac3"
    "379c91e31df491b02b6a6cd0978321a881d1a95fb29d99dc74bd6aa68024e583a5d908"
    "b675892ad0b75c94d8782bd8ea3a5c8e1d914055d335a69a84e4f529018e950aefd6db"
    "ae4adddb366caf06b4555b087a0bd911426a02fc3c0fcbbaa8f3bf2559aa657fb390e4"
    "487b939fbb4b4df445367a260cb54b";

TEST_CASE("A cookie is of the format that is written down") {
  const auto keys = *CookieKeys::Create(Keys({0x11}));
  const auto opened = keys->Open(*HexDecode(kForeign));
  REQUIRE_THAT(StatusOf(opened), IsOk());
  const CookieContent& content = opened->content;
  CHECK(content.issued == absl::FromUnixSeconds(1700000000));
  CHECK(content.agent_id ==
        *AgentId::FromBytes(std::vector<uint8_t>(16, 0x42)));
  CHECK(AsText(content.ek_certificate) == "certificate");
  CHECK(content.ek_template == "L-1");
  CHECK(AsText(content.ak_public) == "ak");
  CHECK(content.verifier_certificate == std::vector<uint8_t>(32, 0));
  CHECK(content.token == "token");
  CHECK(content.secret == Secret(std::vector<uint8_t>(32, 5)));
  CHECK(opened->nonce[31] == 31);
}

// Of the same content and key, as version 1 sealed it.
constexpr absl::string_view kVersion1 =
    "01ab11535a08c015b5000102030405060708090a0b0c0d0e0f10111213141516171819"
    "1a1b1c1d1e1f64e03c2ae45a2f48053b83965a166845463fbc7e33d96999ae09a37e38"
    "57cb34c54ce1c82ef0daa80ab2b047ed23f4b06ede68e12bfa30e1b70a55cfa4ef8607"
    "efc5ef257da2036dbaecf631149ed77f44b7a53535a501226098cfbd7f415ee67c493e"
    "1a3cb4814e75192221b8c7b1c584c1dc790b252a97413dc64bd683f1f37f862eda482c"
    "df4be50d70a97ba304ce8486fc1833681e9275";

TEST_CASE("A cookie of another version is none") {
  const auto keys = *CookieKeys::Create(Keys({0x11}));
  std::vector<uint8_t> cookie = *HexDecode(kVersion1);
  CHECK_THAT(StatusOf(keys->Open(cookie)), StatusIs(kDenied));
  cookie[0] = 2;
  CHECK_THAT(StatusOf(keys->Open(cookie)), StatusIs(kDenied));
}

TEST_CASE("Nothing of a cookie can be read, and no two are alike") {
  const auto keys = *CookieKeys::Generate();
  std::set<std::vector<uint8_t>> cookies;
  std::set<std::vector<uint8_t>> nonces;
  for (int i = 0; i < 20; ++i) {
    const std::vector<uint8_t> cookie = *keys->Seal(Content());
    const std::string text(AsText(cookie));
    CHECK(text.find("token") == std::string::npos);
    CHECK(text.find(std::string(8, '\4')) == std::string::npos);
    cookies.insert(cookie);
    nonces.insert(ToVector(keys->Open(cookie)->nonce));
  }
  CHECK(cookies.size() == 20);
  CHECK(nonces.size() == 20);
}

TEST_CASE("Every bit and every byte of a cookie counts") {
  const auto keys = *CookieKeys::Generate();
  const std::vector<uint8_t> cookie = *keys->Seal(Content());
  for (size_t i = 0; i < cookie.size(); ++i) {
    std::vector<uint8_t> changed = cookie;
    changed[i] ^= static_cast<uint8_t>(1U << i % 8);
    CHECK_THAT(StatusOf(keys->Open(changed)), StatusIs(kDenied, "begin again"));
  }
  for (size_t size = 0; size < cookie.size(); ++size) {
    CHECK_THAT(StatusOf(keys->Open(std::span(cookie).first(size))),
               StatusIs(kDenied));
  }
  std::vector<uint8_t> longer = cookie;
  longer.push_back(0);
  CHECK_THAT(StatusOf(keys->Open(longer)), StatusIs(kDenied));
  longer.resize(kMaxCookieSize + 1);
  CHECK_THAT(StatusOf(keys->Open(longer)), StatusIs(kDenied));
}

TEST_CASE("A cookie that would be too large is not made") {
  const auto keys = *CookieKeys::Generate();
  CookieContent content = Content();
  content.ek_certificate.resize(kMaxCookieSize);
  CHECK_THAT(StatusOf(keys->Seal(content)), StatusIs(kInvalid));
}

TEST_CASE("Nodes that share keys open one another's cookies") {
  const auto one = *CookieKeys::Create(Keys({1}));
  const auto other = *CookieKeys::Create(Keys({2, 1}));
  CHECK_THAT(StatusOf(other->Open(*one->Seal(Content()))), IsOk());
  CHECK_THAT(StatusOf(one->Open(*other->Seal(Content()))), StatusIs(kDenied));
}

TEST_CASE("A rotated key opens once more, and then no longer") {
  const auto keys = *CookieKeys::Generate();
  const std::vector<uint8_t> cookie = *keys->Seal(Content());
  REQUIRE_THAT(keys->Rotate(), IsOk());
  CHECK_THAT(StatusOf(keys->Open(cookie)), IsOk());
  CHECK_THAT(StatusOf(keys->Open(*keys->Seal(Content()))), IsOk());
  REQUIRE_THAT(keys->Rotate(), IsOk());
  CHECK_THAT(StatusOf(keys->Open(cookie)), StatusIs(kDenied));
}

TEST_CASE("What are no keys is refused") {
  const auto create = [](std::vector<Secret> keys) {
    return StatusOf(CookieKeys::Create(std::move(keys)));
  };
  CHECK_THAT(create({}), StatusIs(kInvalid, "0 keys"));
  CHECK_THAT(create(Keys({2, 0})), StatusIs(kInvalid, "key 2"));
  CHECK_THAT(create(Keys({2, 2})), StatusIs(kInvalid, "twice"));
  CHECK_THAT(
      create(Keys({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17})),
      StatusIs(kInvalid, "17 keys"));
  std::vector<Secret> small;
  small.emplace_back(std::vector<uint8_t>(31, 1));
  CHECK_THAT(create(std::move(small)), StatusIs(kInvalid, "32 random"));
}

}  // namespace
}  // namespace cupel::verifier
