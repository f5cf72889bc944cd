#include "common/tpm/binding.h"

#include <vector>

#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "tests/common/tpm/vectors.h"
#include "tests/support/status_matchers.h"

namespace cupel::tpm {
namespace {

using crypto::Digest;
using crypto::HashAlgorithm;
using ::cupel::testing::IsOk;
using ::cupel::testing::StatusIs;
using ::cupel::testing::StatusOf;

using testing::kInvalid;

// Known answers were computed with Python's hashlib and hmac.
struct Parts {
  std::vector<uint8_t> nonce =
      Hex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
  AgentId agent = *AgentId::Parse("d432fbb3-d2f1-4a97-9ef7-75bd81c00000");
  Digest verifier =
      crypto::Hash(HashAlgorithm::kSha256, AsBytes("certificate"));
  std::vector<uint8_t> secret = std::vector<uint8_t>(32, 0x5a);
  std::vector<uint8_t> cookie = ToVector(AsBytes("cookie"));
  std::vector<uint8_t> ek_name =
      Concat({0x00, 0x0b}, std::vector<uint8_t>(32, 1));
  std::vector<uint8_t> ak_name =
      Concat({0x00, 0x0c}, std::vector<uint8_t>(48, 2));

  absl::StatusOr<Digest> Quote() const {
    return QuoteQualifyingData(nonce, agent, verifier);
  }
  absl::StatusOr<Secret> Proof() const {
    return EnrollmentProof(Secret(secret), {.cookie = cookie,
                                            .agent_id = &agent,
                                            .ek_name = ek_name,
                                            .ak_name = ak_name,
                                            .verifier_certificate = &verifier});
  }
};

TEST_CASE("each part has its size before it", "[tpm][binding]") {
  CHECK(LengthPrefixed({}).empty());
  CHECK(LengthPrefixed({AsBytes("ab"), {}, AsBytes("c")}) == Hex("00000002"
                                                                 "6162"
                                                                 "00000000"
                                                                 "00000001"
                                                                 "63"));
  CHECK(LengthPrefixed({AsBytes("ab"), AsBytes("c")}) !=
        LengthPrefixed({AsBytes("a"), AsBytes("bc")}));
}

TEST_CASE("qualifying data is the known hash", "[tpm][binding]") {
  const Parts valid;
  REQUIRE_THAT(StatusOf(valid.Quote()), IsOk());
  CHECK(valid.Quote()->Hex() ==
        "d57fff6d2f8b8723ddff9edcc73aaeddb8caa35ab062127fc5fec17f4211a8a1");
}

TEST_CASE("each part counts in the qualifying data", "[tpm][binding]") {
  const Parts valid;
  Parts other;
  SECTION("nonce") { other.nonce[31] ^= 1; }
  SECTION("agent") {
    other.agent = *AgentId::Parse("d432fbb3-d2f1-4a97-9ef7-75bd81c00001");
  }
  SECTION("verifier") { other.verifier.mutable_bytes()[0] ^= 1; }
  REQUIRE_THAT(StatusOf(other.Quote()), IsOk());
  CHECK_FALSE(*other.Quote() == *valid.Quote());
}

TEST_CASE("qualifying data is of exact parts", "[tpm][binding]") {
  Parts parts;
  parts.nonce.pop_back();
  CHECK_THAT(StatusOf(parts.Quote()), StatusIs(kInvalid, "nonce of 31"));
  parts.nonce.resize(33);
  CHECK_THAT(StatusOf(parts.Quote()), StatusIs(kInvalid, "nonce of 33"));
  parts = Parts();
  parts.verifier = crypto::Hash(HashAlgorithm::kSha384, AsBytes("x"));
  CHECK_THAT(StatusOf(parts.Quote()), StatusIs(kInvalid, "sha384"));
}

TEST_CASE("the proof is the known HMAC", "[tpm][binding]") {
  const Parts parts;
  const auto proof = parts.Proof();
  REQUIRE_THAT(StatusOf(proof), IsOk());
  CHECK(HexEncode(proof->Reveal()) ==
        "2d4a2190c00a1c9a97c872a5693cfeafd98b08e3d378cce2072eb8bedfc45731");
}

TEST_CASE("each part counts in the proof", "[tpm][binding]") {
  const Parts valid;
  Parts other;
  SECTION("secret") { other.secret[0] ^= 1; }
  SECTION("cookie") { other.cookie.push_back(0); }
  SECTION("agent") {
    other.agent = *AgentId::Parse("d432fbb3-d2f1-4a97-9ef7-75bd81c00001");
  }
  SECTION("EK") { other.ek_name[5] ^= 1; }
  SECTION("AK") { other.ak_name[5] ^= 1; }
  SECTION("both, changed for one another") {
    std::swap(other.ek_name, other.ak_name);
  }
  SECTION("verifier") { other.verifier.mutable_bytes()[0] ^= 1; }
  REQUIRE_THAT(StatusOf(other.Proof()), IsOk());
  CHECK_FALSE(*other.Proof() == *valid.Proof());
}

TEST_CASE("a proof of what is no enrolment is refused", "[tpm][binding]") {
  Parts parts;
  SECTION("secret") { parts.secret.pop_back(); }
  SECTION("no secret") { parts.secret.clear(); }
  SECTION("cookie") { parts.cookie.clear(); }
  SECTION("EK") { parts.ek_name.pop_back(); }
  SECTION("AK") { parts.ak_name.clear(); }
  SECTION("verifier") { parts.verifier = Digest(HashAlgorithm::kSha1); }
  CHECK_THAT(StatusOf(parts.Proof()), StatusIs(kInvalid));
}

}  // namespace
}  // namespace cupel::tpm
