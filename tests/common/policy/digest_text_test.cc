#include "common/policy/digest_text.h"

#include "absl/strings/ascii.h"
#include "catch2/catch.hpp"
#include "tests/support/status_matchers.h"

namespace cupel::policy {
namespace {

using crypto::HashAlgorithm;
using testing::IsOk;
using testing::StatusIs;

using testing::kInvalid;

TEST_CASE("A digest's algorithm follows from its length") {
  const std::pair<size_t, HashAlgorithm> sizes[] = {
      {40, HashAlgorithm::kSha1},
      {56, HashAlgorithm::kSha224},
      {64, HashAlgorithm::kSha256},
      {96, HashAlgorithm::kSha384},
      {128, HashAlgorithm::kSha512}};
  for (const auto& [size, algorithm] : sizes) {
    const std::string hex(size, 'a');
    const auto digest = ParseDigestText(hex, HexCase::kLower);
    REQUIRE_THAT(digest.status(), IsOk());
    CHECK(digest->algorithm() == algorithm);
    CHECK(FormatDigestText(*digest) == hex);
  }
}

TEST_CASE("Other lengths are refused") {
  for (const int size : {0, 1, 32, 38, 39, 41, 58, 63, 65, 127, 129, 4000}) {
    CHECK_THAT(ParseDigestText(std::string(static_cast<size_t>(size), 'a'),
                               HexCase::kAny)
                   .status(),
               StatusIs(kInvalid, "characters; a digest has"));
  }
}

TEST_CASE("A prefix names the algorithm, and the length must fit it") {
  const std::string hex(64, '7');
  const auto sm3 = ParseDigestText("sm3:" + hex, HexCase::kLower);
  REQUIRE_THAT(sm3.status(), IsOk());
  CHECK(sm3->algorithm() == HashAlgorithm::kSm3_256);
  CHECK(FormatDigestText(*sm3) == "sm3:" + hex);
  const auto sha256 = ParseDigestText("sha256:" + hex, HexCase::kLower);
  REQUIRE_THAT(sha256.status(), IsOk());
  CHECK(FormatDigestText(*sha256) == hex);
  CHECK_THAT(ParseDigestText("sha1:" + hex, HexCase::kLower).status(),
             StatusIs(kInvalid, "64 digits, sha1 has 40"));
  CHECK_THAT(ParseDigestText("sha257:" + hex, HexCase::kLower).status(),
             StatusIs(kInvalid, "unknown hash algorithm"));
  CHECK_THAT(ParseDigestText(":" + hex, HexCase::kLower).status(),
             StatusIs(kInvalid, "unknown hash algorithm"));
}

TEST_CASE("Only hex digits, in the case that the format has") {
  const std::string hex(64, 'b');
  const std::string upper = absl::AsciiStrToUpper(hex);
  CHECK_THAT(ParseDigestText(upper, HexCase::kLower).status(),
             StatusIs(kInvalid, "upper-case hex; write \"" + hex));
  REQUIRE_THAT(ParseDigestText(upper, HexCase::kAny).status(), IsOk());
  CHECK(*ParseDigestText(upper, HexCase::kAny) ==
        *ParseDigestText(hex, HexCase::kAny));
  for (const char bad : {'g', '/', ' ', '\0', '\xff'}) {
    std::string text = hex;
    text[63] = bad;
    CHECK_THAT(ParseDigestText(text, HexCase::kAny).status(),
               StatusIs(kInvalid, "not hex digits"));
  }
}

TEST_CASE("What may deny a file may be too weak to allow one") {
  for (int i = 0; i <= static_cast<int>(HashAlgorithm::kSha3_512); ++i) {
    const auto algorithm = static_cast<HashAlgorithm>(i);
    CAPTURE(i);
    const absl::Status status = CheckMayAllow(crypto::Digest(algorithm));
    if (algorithm == HashAlgorithm::kMd4 || algorithm == HashAlgorithm::kMd5 ||
        algorithm == HashAlgorithm::kRmd160) {
      CHECK_THAT(status, StatusIs(kInvalid, "list its SHA-256"));
    } else {
      CHECK_THAT(status, IsOk());
    }
  }
}

}  // namespace
}  // namespace cupel::policy
