#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "common/crypto/dsse.h"
#include "common/policy/policy_file.h"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "tests/support/dsse_signer.h"
#include "tests/support/status_matchers.h"

namespace cupel::policy {
namespace {

using testing::EnvelopeJson;
using testing::IsOk;
using testing::Signer;
using testing::StatusIs;

using testing::kDenied;
using testing::kInvalid;

// A signed policy that `openssl dgst` made.
struct SignedPolicy {
  std::vector<uint8_t> bytes;
  crypto::PublicKey key;
};

SignedPolicy ReadSignedPolicy() {
  const std::string folder = absl::StrCat(CUPEL_VECTORS_DIR, "/policy/");
  auto bytes = ReadFile(folder + "signed-policy.json", 1 << 20);
  REQUIRE_THAT(bytes.status(), IsOk());
  const auto pem = ReadFile(folder + "signed-policy.pub.pem", 1 << 20);
  REQUIRE_THAT(pem.status(), IsOk());
  auto key = crypto::PublicKey::FromPem(AsText(*pem));
  REQUIRE_THAT(key.status(), IsOk());
  return {*std::move(bytes), *std::move(key)};
}

TEST_CASE("A signed policy loads with its key") {
  const SignedPolicy file = ReadSignedPolicy();
  const auto loaded =
      LoadPolicyFile(file.bytes, {.origin = "signed.json", .key = file.key});
  REQUIRE_THAT(loaded.status(), IsOk());
  CHECK(loaded->digests.Contains("/usr/bin/hello"));
  CHECK(loaded->warnings.empty());
}

TEST_CASE("A signed policy does not load without its key, or by another") {
  const SignedPolicy file = ReadSignedPolicy();
  CHECK_THAT(
      LoadPolicyFile(file.bytes, {.origin = "s.json", .key = std::nullopt})
          .status(),
      StatusIs(absl::StatusCode::kFailedPrecondition, "give the key"));
  CHECK_THAT(LoadPolicyFile(file.bytes, {.origin = "s.json",
                                         .key = Signer("P-256").Public()})
                 .status(),
             StatusIs(kDenied, "s.json"));
}

TEST_CASE("An unsigned policy does not load with a key") {
  const SignedPolicy file = ReadSignedPolicy();
  const std::string plain = "{\"digests\": {}, \"excludes\": [\"/tmp/\"]}";
  CHECK_THAT(LoadPolicyFile(ToVector(AsBytes(plain)),
                            {.origin = "p.json", .key = file.key})
                 .status(),
             StatusIs(absl::StatusCode::kFailedPrecondition, "is not signed"));
  // Also not where it looks half signed.
  CHECK_THAT(LoadPolicyFile(
                 ToVector(AsBytes("{\"digests\": {}, \"payload\": \"e30=\"}")),
                 {.origin = "p.json", .key = file.key})
                 .status(),
             StatusIs(kInvalid, "payloadType"));
}

TEST_CASE("Every byte of a signed policy's payload is covered") {
  const SignedPolicy file = ReadSignedPolicy();
  const std::string json(AsText(file.bytes));
  const size_t start = json.find("\"payload\": \"") + 12;
  const size_t end = json.find('"', start);
  for (size_t i = start; i < end; i += 7) {
    std::string changed = json;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    CHECK_FALSE(LoadPolicyFile(ToVector(AsBytes(changed)),
                               {.origin = "s", .key = file.key})
                    .ok());
  }
}

TEST_CASE("The key's signature under another payload type is no policy") {
  const Signer signer("P-256");
  crypto::DsseEnvelope envelope = signer.Envelope("{\"digests\": {}}");
  envelope.payload_type = "application/vnd.in-toto+json";
  envelope.signatures[0].signature = signer.Sign(
      crypto::DssePreAuthEncoding(envelope.payload_type, envelope.payload),
      crypto::HashAlgorithm::kSha256);
  REQUIRE_THAT(crypto::VerifyDsse(envelope, signer.Public()), IsOk());
  CHECK_THAT(LoadPolicyFile(ToVector(AsBytes(EnvelopeJson(envelope))),
                            {.origin = "s", .key = signer.Public()})
                 .status(),
             StatusIs(kInvalid, "payloadType"));
}

}  // namespace
}  // namespace cupel::policy
