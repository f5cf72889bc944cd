#include "common/tpm/ek_certificate.h"

#include <openssl/objects.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/crypto/openssl.h"
#include "common/util/status_macros.h"

namespace cupel::tpm {
namespace {

// TPM attributes of a directory name. TCG EK Credential Profile, annex A.
constexpr char kManufacturerOid[] = "2.23.133.2.1";
constexpr char kModelOid[] = "2.23.133.2.2";
constexpr char kVersionOid[] = "2.23.133.2.3";
constexpr size_t kMaxValueSize = 256;

using GeneralNames =
    std::unique_ptr<GENERAL_NAMES, crypto::OpensslDeleter<GENERAL_NAMES_free>>;

absl::Status NoEk(absl::string_view why) {
  return absl::PermissionDeniedError(
      absl::StrCat("not an EK certificate: ", why));
}

absl::Status CheckUsages(const crypto::Certificate& certificate) {
  CUPEL_ASSIGN_OR_RETURN(const std::vector<std::string> usages,
                         certificate.ExtendedKeyUsages());
  const auto names = [&usages](absl::string_view usage) {
    return std::ranges::find(usages, usage) != usages.end();
  };
  if (names(kPlatformCertificateEku)) {
    return NoEk(absl::StrCat("its extended key usage ", kPlatformCertificateEku,
                             " makes it a platform certificate"));
  }
  if (!names(kEkCertificateEku)) {
    return NoEk(
        absl::StrCat("it lacks the extended key usage ", kEkCertificateEku));
  }
  return absl::OkStatus();
}

absl::Status SetOnce(std::string& field, const ASN1_STRING* value,
                     absl::string_view what) {
  const int size = ASN1_STRING_length(value);
  if (size <= 0 || static_cast<size_t>(size) > kMaxValueSize) {
    return NoEk(absl::StrCat("subjectAltName: ", what, " of ", size, " bytes"));
  }
  if (!field.empty()) {
    return NoEk(absl::StrCat("subjectAltName: ", what, " stands twice"));
  }
  const uint8_t* const data = ASN1_STRING_get0_data(value);
  field.assign(data, data + size);
  return absl::OkStatus();
}

absl::StatusOr<TpmIdentity> ReadIdentity(const X509_NAME* name) {
  TpmIdentity identity;
  for (int i = 0; i < X509_NAME_entry_count(name); ++i) {
    const X509_NAME_ENTRY* const entry = X509_NAME_get_entry(name, i);
    char text[64];
    const int size =
        OBJ_obj2txt(text, sizeof(text), X509_NAME_ENTRY_get_object(entry), 1);
    if (size <= 0 || static_cast<size_t>(size) >= sizeof(text)) continue;
    const absl::string_view oid(text, static_cast<size_t>(size));
    const ASN1_STRING* const value = X509_NAME_ENTRY_get_data(entry);
    if (oid == kManufacturerOid) {
      CUPEL_RETURN_IF_ERROR(
          SetOnce(identity.manufacturer, value, "the manufacturer"));
    } else if (oid == kModelOid) {
      CUPEL_RETURN_IF_ERROR(SetOnce(identity.model, value, "the model"));
    } else if (oid == kVersionOid) {
      CUPEL_RETURN_IF_ERROR(SetOnce(identity.version, value, "the version"));
    }
  }
  if (identity.manufacturer.empty() || identity.model.empty() ||
      identity.version.empty()) {
    return NoEk(
        "its subjectAltName lacks the TPM's manufacturer, model or version");
  }
  return identity;
}

absl::StatusOr<TpmIdentity> CheckAlternativeName(
    const crypto::Certificate& certificate) {
  int critical = 0;
  const GeneralNames names(static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(
      certificate.get(), NID_subject_alt_name, &critical, nullptr)));
  if (!names) {
    if (critical == -1) return NoEk("it has no subjectAltName");
    return NoEk(crypto::OpensslError("subjectAltName").message());
  }
  if (certificate.HasEmptySubject() && critical != 1) {
    return NoEk("its subject is empty and its subjectAltName not critical");
  }
  const X509_NAME* directory_name = nullptr;
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* const name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_DIRNAME) continue;
    if (directory_name != nullptr) {
      return NoEk("its subjectAltName has several directory names");
    }
    directory_name = name->d.directoryName;
  }
  if (directory_name == nullptr) {
    return NoEk("its subjectAltName has no directory name");
  }
  return ReadIdentity(directory_name);
}

}  // namespace

absl::StatusOr<TpmIdentity> ValidateEkCertificate(
    const crypto::Certificate& certificate) {
  CUPEL_RETURN_IF_ERROR(CheckUsages(certificate));
  // X509_check_ca alone passes one whose key usage denies what its
  // basicConstraints say.
  if ((X509_get_extension_flags(certificate.get()) & EXFLAG_CA) != 0 ||
      X509_check_ca(certificate.get()) != 0) {
    return NoEk("it is a CA's");
  }
  return CheckAlternativeName(certificate);
}

}  // namespace cupel::tpm
