#include "common/tpm/ek_template.h"

#include <set>
#include <string>
#include <vector>

#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "tests/common/tpm/vectors.h"
#include "tests/support/fake_tpm.h"
#include "tests/support/status_matchers.h"

namespace cupel::tpm {
namespace {

using crypto::Digest;
using crypto::HashAlgorithm;
using ::cupel::testing::FakeKeyKind;
using ::cupel::testing::FakeKeyPair;
using ::cupel::testing::IsOk;
using ::cupel::testing::StatusIs;
using ::cupel::testing::StatusOf;

TEST_CASE("templates rebuild real endorsement keys", "[tpm][ek]") {
  struct Case {
    EkTemplate id;
    const char* file;
  };
  const auto c = GENERATE(values<Case>({
      {EkTemplate::kL1, "quote/ek.pub"},
      {EkTemplate::kL2, "quote/ekecc.pub"},
  }));
  CAPTURE(c.file);
  const PublicArea real = *ParseTpm2bPublic(Vector(c.file));
  const auto rebuilt = EkPublicArea(c.id, *real.ToPublicKey());
  REQUIRE_THAT(StatusOf(rebuilt), IsOk());
  CHECK(*rebuilt == real);
  CHECK(rebuilt->Name() == real.Name());
}

TEST_CASE("a certificate's key is enough", "[tpm][ek]") {
  const auto key = crypto::PublicKey::FromPem(VectorText("quote/ek.pem"));
  REQUIRE_THAT(StatusOf(key), IsOk());
  CHECK(HexEncode(EkPublicArea(EkTemplate::kL1, *key)->Name()) ==
        "000bbceb6eda419fed0943c50c886fb7293d242a6e6a0d3f5c6085ff93fe01c38956");
  // The same key under another template is another EK.
  CHECK_FALSE(EkPublicArea(EkTemplate::kH1, *key)->Name() ==
              EkPublicArea(EkTemplate::kL1, *key)->Name());
}

// Policy digests as TPM 2.0 Part 3 defines the commands that extend them.
Digest PolicyDigest(HashAlgorithm hash, uint32_t command,
                    std::vector<uint8_t> rest) {
  std::vector<uint8_t> message(crypto::DigestSize(hash));
  AppendBe(message, command);
  Append(message, rest);
  return crypto::Hash(hash, message);
}

std::vector<uint8_t> PolicyA(HashAlgorithm hash) {
  constexpr uint32_t kPolicySecret = 0x151;
  const Digest first = PolicyDigest(hash, kPolicySecret, Hex("4000000b"));
  // An empty policyRef is hashed in a second step.
  return ToVector(crypto::Hash(hash, first.bytes()).bytes());
}

std::vector<uint8_t> PolicyB(HashAlgorithm hash, uint32_t nv_index) {
  constexpr uint32_t kPolicyAuthorizeNv = 0x192;
  constexpr uint32_t kPolicyOr = 0x171;
  const uint16_t hash_id = static_cast<uint16_t>(*AlgIdFromHash(hash));
  const std::vector<uint8_t> a = PolicyA(hash);
  std::vector<uint8_t> nv_public;  // TPMS_NV_PUBLIC
  AppendBe(nv_public, nv_index);
  AppendBe(nv_public, hash_id);
  AppendBe(nv_public, uint32_t{0x220f1008});
  AppendBe(nv_public, static_cast<uint16_t>(a.size()));
  Append(nv_public, a);
  AppendBe(nv_public, static_cast<uint16_t>(2 + a.size()));
  std::vector<uint8_t> nv_name;
  AppendBe(nv_name, hash_id);
  Append(nv_name, crypto::Hash(hash, nv_public).bytes());
  const Digest c = PolicyDigest(hash, kPolicyAuthorizeNv, nv_name);
  std::vector<uint8_t> branches = a;
  Append(branches, c.bytes());
  return ToVector(PolicyDigest(hash, kPolicyOr, branches).bytes());
}

TEST_CASE("the policies are the profile's", "[tpm][ek]") {
  CHECK(EkTemplateArea(EkTemplate::kL1).auth_policy ==
        PolicyA(HashAlgorithm::kSha256));
  CHECK(EkTemplateArea(EkTemplate::kL2).auth_policy ==
        PolicyA(HashAlgorithm::kSha256));
  for (const EkTemplate id : {EkTemplate::kH1, EkTemplate::kH2}) {
    CHECK(EkTemplateArea(id).auth_policy ==
          PolicyB(HashAlgorithm::kSha256, 0x01c07f01));
  }
  for (const EkTemplate id :
       {EkTemplate::kH3, EkTemplate::kH6, EkTemplate::kH7}) {
    CHECK(EkTemplateArea(id).auth_policy ==
          PolicyB(HashAlgorithm::kSha384, 0x01c07f02));
  }
}

TEST_CASE("the low range's unique is zeros, the high range's empty",
          "[tpm][ek]") {
  const PublicArea rsa = EkTemplateArea(EkTemplate::kL1);
  CHECK(rsa.modulus == std::vector<uint8_t>(256, 0));
  const std::vector<uint8_t> bytes = rsa.Serialize();
  CHECK(HexEncode(std::span(bytes).first(58)) ==
        "0001000b000300b20020837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2"
        "a1da1b331469aa00060080004300100800000000000100");
  const PublicArea ecc = EkTemplateArea(EkTemplate::kL2);
  CHECK(ecc.x == std::vector<uint8_t>(32, 0));
  CHECK(ecc.y == std::vector<uint8_t>(32, 0));
  for (const EkTemplate id : kEkTemplates) {
    if (id == EkTemplate::kL1 || id == EkTemplate::kL2) continue;
    CAPTURE(EkTemplateName(id));
    const PublicArea area = EkTemplateArea(id);
    CHECK(area.modulus.empty());
    CHECK(area.x.empty());
    CHECK(area.attributes == 0x300f2);
    CHECK(area.symmetric.key_bits ==
          (area.name_algorithm == HashAlgorithm::kSha256 ? 128 : 256));
  }
}

TEST_CASE("templates are found by their names", "[tpm][ek]") {
  std::set<std::string> names;
  std::set<uint32_t> indices;
  for (const EkTemplate id : kEkTemplates) {
    CHECK(*EkTemplateFromName(EkTemplateName(id)) == id);
    names.insert(std::string(EkTemplateName(id)));
    indices.insert(EkCertificateNvIndex(id));
  }
  CHECK(names.size() == kEkTemplates.size());
  CHECK(indices.size() == kEkTemplates.size());
  CHECK(EkCertificateNvIndex(EkTemplate::kL1) == 0x01c00002);
  CHECK(EkCertificateNvIndex(EkTemplate::kH3) == 0x01c00016);
}

TEST_CASE("unknown templates are refused", "[tpm][ek]") {
  const auto name = GENERATE(
      values<const char*>({"", "L-3", "l-1", "H-4", "H-5", "L-1 ", "custom"}));
  CAPTURE(name);
  CHECK_THAT(StatusOf(EkTemplateFromName(name)),
             StatusIs(absl::StatusCode::kInvalidArgument, "there are L-1, "));
}

TEST_CASE("a key that is not the template's is refused", "[tpm][ek]") {
  const auto rsa = crypto::PublicKey::FromPem(VectorText("quote/ek.pem"));
  const auto ecc = ParseTpm2bPublic(Vector("quote/ekecc.pub"))->ToPublicKey();
  REQUIRE_THAT(StatusOf(rsa), IsOk());
  REQUIRE_THAT(StatusOf(ecc), IsOk());
  for (const EkTemplate id : kEkTemplates) {
    CAPTURE(EkTemplateName(id));
    const bool is_rsa_2048 = id == EkTemplate::kL1 || id == EkTemplate::kH1;
    const bool is_p256 = id == EkTemplate::kL2 || id == EkTemplate::kH2;
    CHECK(EkPublicArea(id, *rsa).ok() == is_rsa_2048);
    CHECK(EkPublicArea(id, *ecc).ok() == is_p256);
  }
}

TEST_CASE("another exponent than the template's is refused", "[tpm][ek]") {
  const PublicArea ek = *ParseTpm2bPublic(Vector("quote/ek.pub"));
  const auto key = crypto::PublicKey::FromRsa(ek.modulus, 3);
  REQUIRE_THAT(StatusOf(key), IsOk());
  CHECK_THAT(StatusOf(EkPublicArea(EkTemplate::kL1, *key)),
             StatusIs(absl::StatusCode::kInvalidArgument, "exponent"));
}

}  // namespace
}  // namespace cupel::tpm
