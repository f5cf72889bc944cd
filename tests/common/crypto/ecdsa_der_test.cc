#include "common/crypto/ecdsa_der.h"

#include <cstddef>
#include <vector>

#include "catch2/catch.hpp"
#include "common/crypto/public_key.h"
#include "tests/support/status_matchers.h"

namespace cupel::crypto {
namespace {

using ::cupel::testing::IsOk;
using ::cupel::testing::StatusIs;
using ::cupel::testing::StatusOf;

TEST_CASE("EcdsaSignatureFromDer takes what EcdsaSignatureToDer makes") {
  const std::vector<uint8_t> r = {0x80};
  const std::vector<uint8_t> s = {0x7f, 0x01};
  const auto numbers = EcdsaSignatureFromDer(*EcdsaSignatureToDer(r, s));
  REQUIRE_THAT(StatusOf(numbers), IsOk());
  CHECK(numbers->r == r);
  CHECK(numbers->s == s);
}

TEST_CASE("EcdsaSignatureFromDer takes one form of a signature alone") {
  const auto refused = [](const std::vector<uint8_t>& bytes) {
    CHECK_THAT(StatusOf(EcdsaSignatureFromDer(bytes)),
               StatusIs(absl::StatusCode::kInvalidArgument));
  };
  const std::vector<uint8_t> der = {0x30, 6, 2, 1, 1, 2, 1, 1};
  REQUIRE_THAT(StatusOf(EcdsaSignatureFromDer(der)), IsOk());
  for (size_t size = 0; size < der.size(); ++size) {
    refused({der.begin(), der.begin() + static_cast<std::ptrdiff_t>(size)});
  }
  std::vector<uint8_t> longer = der;
  longer.push_back(0);
  refused(longer);
  refused({0x30, 6, 2, 1, 0, 2, 1, 1});            // zero
  refused({0x30, 6, 2, 1, 0x80, 2, 1, 1});         // negative
  refused({0x30, 7, 2, 2, 0, 1, 2, 1, 1});         // a zero before it
  refused({0x30, 0x81, 6, 2, 1, 1, 2, 1, 1});      // a long length
  refused({0x30, 0x80, 2, 1, 1, 2, 1, 1, 0, 0});   // an indefinite one
  refused({0x30, 9, 2, 1, 1, 2, 1, 1, 2, 1, 1});   // a third number
  std::vector<uint8_t> large = {0x30, 72, 2, 67};  // over P-521's size
  large.resize(large.size() + 67, 1);
  large.insert(large.end(), {2, 1, 1});
  refused(large);
}

}  // namespace
}  // namespace cupel::crypto
