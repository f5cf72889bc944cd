#include "common/tpm/ek_template.h"

#include <openssl/core_names.h>

#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/crypto/openssl.h"
#include "common/tpm/constants.h"
#include "common/tpm/marshal.h"
#include "common/util/escape.h"
#include "common/util/hex.h"
#include "common/util/status_macros.h"

namespace cupel::tpm {
namespace {

using crypto::HashAlgorithm;

// PolicySecret(TPM_RH_ENDORSEMENT), the profile's PolicyA.
constexpr absl::string_view kPolicyASha256 =
    "837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa";
// PolicyOR(PolicyA, PolicyAuthorizeNV(index 0x01c07f01)), PolicyB.
constexpr absl::string_view kPolicyBSha256 =
    "ca3d0a99a2b93906f7a3342414efcfb3a385d44cd1fd459089d19b5071c0b7a0";
// The same with index 0x01c07f02.
constexpr absl::string_view kPolicyBSha384 =
    "b26e7d28d11a50bc53d882bcf5fd3a1a074148bb35d3b4e4cb1c0ad9bde419cacb47ba0969"
    "9646150f9fc000f3f80e12";

constexpr uint32_t kLowAttributes =
    kAttrFixedTpm | kAttrFixedParent | kAttrSensitiveDataOrigin |
    kAttrAdminWithPolicy | kAttrRestricted | kAttrDecrypt;
constexpr uint32_t kHighAttributes = kLowAttributes | kAttrUserWithAuth;

constexpr unsigned kExponent = 65537;

struct TemplateInfo {
  EkTemplate id;
  absl::string_view name;
  uint32_t nv_index;
  crypto::KeyType key_type;
  uint16_t bits;
  HashAlgorithm name_algorithm;
  uint16_t aes_bits;
  uint32_t attributes;
  absl::string_view policy;
};

constexpr std::array<TemplateInfo, kEkTemplates.size()> kTable = {{
    {EkTemplate::kL1, "L-1", 0x01c00002, crypto::KeyType::kRsa, 2048,
     HashAlgorithm::kSha256, 128, kLowAttributes, kPolicyASha256},
    {EkTemplate::kL2, "L-2", 0x01c0000a, crypto::KeyType::kEcP256, 256,
     HashAlgorithm::kSha256, 128, kLowAttributes, kPolicyASha256},
    {EkTemplate::kH1, "H-1", 0x01c00012, crypto::KeyType::kRsa, 2048,
     HashAlgorithm::kSha256, 128, kHighAttributes, kPolicyBSha256},
    {EkTemplate::kH2, "H-2", 0x01c00014, crypto::KeyType::kEcP256, 256,
     HashAlgorithm::kSha256, 128, kHighAttributes, kPolicyBSha256},
    {EkTemplate::kH3, "H-3", 0x01c00016, crypto::KeyType::kEcP384, 384,
     HashAlgorithm::kSha384, 256, kHighAttributes, kPolicyBSha384},
    {EkTemplate::kH6, "H-6", 0x01c0001c, crypto::KeyType::kRsa, 3072,
     HashAlgorithm::kSha384, 256, kHighAttributes, kPolicyBSha384},
    {EkTemplate::kH7, "H-7", 0x01c0001e, crypto::KeyType::kRsa, 4096,
     HashAlgorithm::kSha384, 256, kHighAttributes, kPolicyBSha384},
}};

const TemplateInfo& Info(EkTemplate id) {
  for (const TemplateInfo& info : kTable) {
    if (info.id == id) return info;
  }
  std::abort();  // The table has a row for each enumerator.
}

// The template without `unique`.
PublicArea AreaOf(const TemplateInfo& info) {
  PublicArea area;
  area.name_algorithm = info.name_algorithm;
  area.attributes = info.attributes;
  area.auth_policy = HexDecode(info.policy).value();
  area.symmetric = {AlgId::kAes, info.aes_bits, AlgId::kCfb};
  if (info.key_type == crypto::KeyType::kRsa) {
    area.type = AlgId::kRsa;
    area.key_bits = info.bits;
  } else {
    area.type = AlgId::kEcc;
    area.curve = info.key_type == crypto::KeyType::kEcP256
                     ? crypto::EcCurve::kP256
                     : crypto::EcCurve::kP384;
  }
  return area;
}

}  // namespace

absl::string_view EkTemplateName(EkTemplate id) { return Info(id).name; }

absl::StatusOr<EkTemplate> EkTemplateFromName(absl::string_view name) {
  std::string names;
  for (const TemplateInfo& info : kTable) {
    if (info.name == name) return info.id;
    absl::StrAppend(&names, names.empty() ? "" : ", ", info.name);
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "\"", EscapeForDisplay(name), "\" is no EK template; there are ", names));
}

uint32_t EkCertificateNvIndex(EkTemplate id) { return Info(id).nv_index; }

PublicArea EkTemplateArea(EkTemplate id) {
  const TemplateInfo& info = Info(id);
  PublicArea area = AreaOf(info);
  if (info.attributes != kLowAttributes) return area;
  const size_t size = info.bits / 8u;
  if (area.type == AlgId::kRsa) {
    area.modulus.assign(size, 0);
  } else {
    area.x.assign(size, 0);
    area.y.assign(size, 0);
  }
  return area;
}

absl::StatusOr<PublicArea> EkPublicArea(EkTemplate id,
                                        const crypto::PublicKey& key) {
  const TemplateInfo& info = Info(id);
  if (key.type() != info.key_type || key.bits() != info.bits) {
    return absl::InvalidArgumentError(absl::StrCat(
        "EK template ", info.name, " is not for a key ", key.Description()));
  }
  PublicArea area = AreaOf(info);
  const size_t size = info.bits / 8u;
  if (area.type == AlgId::kEcc) {
    CUPEL_ASSIGN_OR_RETURN(
        area.x, KeyNumber(key.get(), OSSL_PKEY_PARAM_EC_PUB_X, size));
    CUPEL_ASSIGN_OR_RETURN(
        area.y, KeyNumber(key.get(), OSSL_PKEY_PARAM_EC_PUB_Y, size));
    return area;
  }
  CUPEL_ASSIGN_OR_RETURN(const crypto::Owned<BIGNUM> exponent,
                         crypto::KeyNumber(key.get(), OSSL_PKEY_PARAM_RSA_E));
  if (BN_is_word(exponent.get(), kExponent) != 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "EK template ", info.name, ": the key's exponent is not ", kExponent));
  }
  CUPEL_ASSIGN_OR_RETURN(area.modulus,
                         KeyNumber(key.get(), OSSL_PKEY_PARAM_RSA_N, size));
  return area;
}

}  // namespace cupel::tpm
