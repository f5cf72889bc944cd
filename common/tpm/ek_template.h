// The endorsement keys that TPMs are made with.
#ifndef CUPEL_COMMON_TPM_EK_TEMPLATE_H_
#define CUPEL_COMMON_TPM_EK_TEMPLATE_H_

#include <array>
#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/crypto/public_key.h"
#include "common/tpm/public_area.h"

namespace cupel::tpm {

// Templates of the TCG EK Credential Profile for TPM 2.0, version 2.5, appendix
// B.3 (low range) and B.4 (high range). Left out are H-4 (P-521, for which
// crypto::PublicKey has no constructor from a point) and H-5 (SM2).
enum class EkTemplate : uint8_t {
  kL1,  // RSA-2048, SHA-256, AES-128
  kL2,  // ECC P-256, SHA-256, AES-128
  kH1,  // RSA-2048, SHA-256, AES-128
  kH2,  // ECC P-256, SHA-256, AES-128
  kH3,  // ECC P-384, SHA-384, AES-256
  kH6,  // RSA-3072, SHA-384, AES-256
  kH7,  // RSA-4096, SHA-384, AES-256
};
inline constexpr std::array<EkTemplate, 7> kEkTemplates = {
    EkTemplate::kL1, EkTemplate::kL2, EkTemplate::kH1, EkTemplate::kH2,
    EkTemplate::kH3, EkTemplate::kH6, EkTemplate::kH7};

// The profile's name: "L-1". Of static storage.
absl::string_view EkTemplateName(EkTemplate id);
// kInvalidArgument for any other text, with the names that there are.
absl::StatusOr<EkTemplate> EkTemplateFromName(absl::string_view name);

// The NV index at which a TPM keeps the certificate of that EK.
uint32_t EkCertificateNvIndex(EkTemplate id);

// The template itself, as TPM2_CreatePrimary takes it: `unique` of zeros in the
// key's size for the low range, empty for the high range.
PublicArea EkTemplateArea(EkTemplate id);

// The public area of the EK that a TPM makes from the template and whose public
// key is `key`, which a certificate vouches for. Its Name follows.
//
// kInvalidArgument if `key` is not of the template's kind and size, or is RSA
// with another exponent than 65537.
absl::StatusOr<PublicArea> EkPublicArea(EkTemplate id,
                                        const crypto::PublicKey& key);

}  // namespace cupel::tpm

#endif  // CUPEL_COMMON_TPM_EK_TEMPLATE_H_
