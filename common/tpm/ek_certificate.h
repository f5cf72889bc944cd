// What makes a certificate one of an endorsement key.
#ifndef CUPEL_COMMON_TPM_EK_CERTIFICATE_H_
#define CUPEL_COMMON_TPM_EK_CERTIFICATE_H_

#include <string>

#include "absl/status/statusor.h"
#include "common/crypto/certificate.h"

namespace cupel::tpm {

// tcg-kp-EKCertificate and tcg-kp-PlatformAttributeCertificate.
// TCG EK Credential Profile for TPM 2.0, version 2.5, 3.2.16.
inline constexpr char kEkCertificateEku[] = "2.23.133.8.1";
inline constexpr char kPlatformCertificateEku[] = "2.23.133.8.2";

// What the TPM's subjectAltName says, as bytes: escape them before they are
// shown.
struct TpmIdentity {
  std::string manufacturer;  // "id:" and the TPM vendor id in hex
  std::string model;
  std::string version;  // "id:" and the firmware version in hex
  friend bool operator==(const TpmIdentity&, const TpmIdentity&) = default;
};

// Checks that `certificate`, whatever its issuer is worth, is one for an EK:
// it names the usage 2.23.133.8.1 and not 2.23.133.8.2, it is no CA, and its
// subjectAltName holds one directory name with the TPM's manufacturer, model
// and version once each (profile 3.2.9). The extension is critical where the
// subject is empty. Source: the profile, 3.2.
//
// kPermissionDenied, with what is missing, for any other certificate.
absl::StatusOr<TpmIdentity> ValidateEkCertificate(
    const crypto::Certificate& certificate);

}  // namespace cupel::tpm

#endif  // CUPEL_COMMON_TPM_EK_CERTIFICATE_H_
