#include "common/tpm/attestation_key.h"

#include <vector>

#include "catch2/catch.hpp"
#include "tests/common/tpm/vectors.h"
#include "tests/support/status_matchers.h"

namespace cupel::tpm {
namespace {

using ::cupel::testing::IsOk;
using ::cupel::testing::StatusIs;
using ::cupel::testing::StatusOf;

TEST_CASE("every form of a key file is taken", "[tpm][key]") {
  const auto plain = AttestationKey::FromFile(Vector("quote/ak.pub"));
  const auto sized = AttestationKey::FromFile(Vector("quote/ak.tpm2b_public"));
  const auto pem = AttestationKey::FromFile(Vector("quote/ak.pem"));
  REQUIRE_THAT(StatusOf(plain), IsOk());
  REQUIRE_THAT(StatusOf(sized), IsOk());
  REQUIRE_THAT(StatusOf(pem), IsOk());
  CHECK(*plain->key().ToPem() == VectorText("quote/ak.pem"));
  CHECK(plain->has_public_area());
  CHECK(plain->name() == sized->name());
  CHECK(plain->scheme() ==
        KeyScheme{AlgId::kRsassa, crypto::HashAlgorithm::kSha256});
  CHECK(plain->violations().empty());

  CHECK(*pem->key().ToPem() == VectorText("quote/ak.pem"));
  CHECK_FALSE(pem->has_public_area());
  CHECK(pem->name().empty());
  CHECK(pem->scheme() == KeyScheme());
}

TEST_CASE("a key that is no attestation key says so", "[tpm][key]") {
  const auto key = AttestationKey::FromFile(Vector("quote/ek.pub"));
  REQUIRE_THAT(StatusOf(key), IsOk());
  CHECK(key->violations().size() == 3);
}

TEST_CASE("what is no key is refused", "[tpm][key]") {
  CHECK_THAT(StatusOf(AttestationKey::FromFile({})),
             StatusIs(absl::StatusCode::kInvalidArgument, "first field"));
  CHECK_THAT(StatusOf(AttestationKey::FromFile(Vector("quote/q10.msg"))),
             StatusIs(absl::StatusCode::kInvalidArgument));
  CHECK_THAT(
      StatusOf(AttestationKey::FromFile(AsBytes("-----BEGIN PUBLIC KEY-----"))),
      StatusIs(absl::StatusCode::kInvalidArgument));
  PublicArea area = *ParsePublicArea(Vector("quote/akecc.pub"));
  area.x[0] ^= 1;
  CHECK_THAT(StatusOf(AttestationKey::FromPublicArea(area)),
             StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace cupel::tpm
