#include "common/tpm/plain_signature.h"

#include <vector>

#include "catch2/catch.hpp"
#include "common/crypto/public_key.h"
#include "tests/common/tpm/vectors.h"
#include "tests/support/status_matchers.h"

namespace cupel::tpm {
namespace {

using ::cupel::testing::IsOk;
using ::cupel::testing::StatusIs;
using ::cupel::testing::StatusOf;

AttestationKey Key(absl::string_view file) {
  return AttestationKey::FromFile(Vector(file)).value();
}

// The signature of a real quote, as tpm2_quote -f plain would have written it.
std::vector<uint8_t> Plain(absl::string_view file) {
  const Signature signature = ParseSignature(Vector(file)).value();
  if (signature.scheme != AlgId::kEcdsa) return signature.rsa;
  return crypto::EcdsaSignatureToDer(signature.r, signature.s).value();
}

TEST_CASE("a plain signature is one of the key's fixed scheme", "[tpm]") {
  const auto rsa =
      ParsePlainSignature(Plain("quote/q10.sig"), Key("quote/ak.pub"));
  REQUIRE_THAT(StatusOf(rsa), IsOk());
  CHECK(*rsa == *ParseSignature(Vector("quote/q10.sig")));

  const AttestationKey key = Key("quote/akecc.pub");
  const auto ecc = ParsePlainSignature(Plain("quote/qecc.sig"), key);
  REQUIRE_THAT(StatusOf(ecc), IsOk());
  CHECK_THAT(key.CheckSignature(*ecc, Vector("quote/qecc.msg")), IsOk());
}

TEST_CASE("what is no plain signature of the key's kind is refused", "[tpm]") {
  const auto refused = [](const std::vector<uint8_t>& bytes,
                          absl::string_view key) {
    CHECK_THAT(StatusOf(ParsePlainSignature(bytes, Key(key))),
               StatusIs(absl::StatusCode::kInvalidArgument));
  };
  for (const char* key : {"quote/ak.pub", "quote/akecc.pub"}) {
    CAPTURE(key);
    refused({}, key);
    // A TPMT_SIGNATURE is no plain one.
    refused(Vector("quote/q10.sig"), key);
    refused(Vector("quote/qecc.sig"), key);
  }
  refused(Plain("quote/qecc.sig"), "quote/ak.pub");
  refused(Plain("quote/q10.sig"), "quote/akecc.pub");
  for (const auto& [file, key] : {std::pair("quote/q10.sig", "quote/ak.pub"),
                                  {"quote/qecc.sig", "quote/akecc.pub"}}) {
    std::vector<uint8_t> bytes = Plain(file);
    bytes.push_back(0);
    refused(bytes, key);
    bytes.resize(bytes.size() - 2);
    refused(bytes, key);
  }
}

TEST_CASE("without a fixed scheme nobody knows what it is", "[tpm]") {
  CHECK_THAT(StatusOf(ParsePlainSignature(Plain("quote/q10.sig"),
                                          Key("quote/ak.pem"))),
             StatusIs(absl::StatusCode::kFailedPrecondition));
}

}  // namespace
}  // namespace cupel::tpm
