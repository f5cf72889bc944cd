#include "agent/enrollment/enrollee.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/crypto/certificate.h"
#include "common/tpm/binding.h"
#include "common/tpm/public_area.h"
#include "common/util/bytes.h"
#include "common/util/status_context.h"
#include "common/util/status_macros.h"

namespace cupel::agent {
namespace {

using crypto::Certificate;

constexpr absl::string_view kActivating =
    "the TPM does not activate the verifier's credential";

absl::StatusOr<Certificate> WithoutNvPadding(std::span<const uint8_t> bytes) {
  CUPEL_ASSIGN_OR_RETURN(const auto der, crypto::WithoutPadding(bytes));
  return Certificate::FromDer(der);
}

// The Name that the verifier will compute, if it is that of the TPM's key.
absl::StatusOr<std::vector<uint8_t>> CheckEk(const Certificate& certificate,
                                             const EnrolleeOptions& options) {
  CUPEL_ASSIGN_OR_RETURN(const tpm::PublicArea ek,
                         tpm::ParsePublicArea(options.ek_public));
  CUPEL_ASSIGN_OR_RETURN(const crypto::PublicKey certified,
                         certificate.GetPublicKey());
  CUPEL_ASSIGN_OR_RETURN(const crypto::PublicKey own, ek.ToPublicKey());
  if (EVP_PKEY_eq(certified.get(), own.get()) != 1) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the EK certificate (", certified.Description(),
        ") is not that of the TPM's endorsement key (", own.Description(),
        "): it belongs to another TPM, or to another EK of this one"));
  }
  CUPEL_ASSIGN_OR_RETURN(const tpm::PublicArea rebuilt,
                         tpm::EkPublicArea(options.ek_template, certified));
  if (rebuilt.Name() != ek.Name()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the TPM's endorsement key is not made by the template ",
                     tpm::EkTemplateName(options.ek_template)));
  }
  return rebuilt.Name();
}

}  // namespace

absl::StatusOr<Enrollee> Enrollee::Create(EnrolleeOptions options) {
  if (options.ek_certificates.empty()) {
    return absl::InvalidArgumentError("enrolment: no EK certificate");
  }
  Enrollee enrollee(options.agent_id);
  for (const std::vector<uint8_t>& bytes : options.ek_certificates) {
    const size_t index = enrollee.request_.ek_certificates.size();
    const absl::StatusOr<Certificate> certificate = WithoutNvPadding(bytes);
    if (!certificate.ok()) {
      return WithContext(certificate.status(),
                         absl::StrCat("enrolment: EK certificate ", index + 1));
    }
    if (index == 0) {
      CUPEL_ASSIGN_OR_RETURN(enrollee.ek_name_, CheckEk(*certificate, options));
      enrollee.ek_fingerprint_ = certificate->fingerprint();
    }
    enrollee.request_.ek_certificates.push_back(ToVector(certificate->der()));
  }
  CUPEL_ASSIGN_OR_RETURN(const tpm::PublicArea ak,
                         tpm::ParsePublicArea(options.ak_public));
  enrollee.ak_name_ = ak.Name();
  enrollee.request_.agent_id = ToVector(options.agent_id.bytes());
  enrollee.request_.ek_template =
      std::string(tpm::EkTemplateName(options.ek_template));
  enrollee.request_.ak_public = std::move(options.ak_public);
  enrollee.request_.enrollment_token = std::move(options.enrollment_token);
  enrollee.request_.agent_version = std::move(options.agent_version);
  return enrollee;
}

absl::StatusOr<tpm::CompleteEnrollment> Enrollee::Answer(
    const tpm::EnrollmentChallenge& challenge,
    const crypto::Digest& verifier_certificate,
    const ActivateCredential& activate) const {
  const absl::StatusOr<Secret> secret =
      activate(challenge.credential_blob, challenge.encrypted_secret);
  if (!secret.ok()) return WithContext(secret.status(), kActivating);
  CUPEL_ASSIGN_OR_RETURN(
      const Secret proof,
      tpm::EnrollmentProof(*secret,
                           {.cookie = challenge.cookie,
                            .agent_id = &agent_id_,
                            .ek_name = ek_name_,
                            .ak_name = ak_name_,
                            .verifier_certificate = &verifier_certificate}));
  return tpm::CompleteEnrollment{.cookie = challenge.cookie,
                                 .proof = ToVector(proof.Reveal())};
}

}  // namespace cupel::agent
