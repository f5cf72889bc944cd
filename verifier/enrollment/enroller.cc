#include "verifier/enrollment/enroller.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/crypto/openssl.h"
#include "common/tpm/binding.h"
#include "common/tpm/ek_certificate.h"
#include "common/tpm/ek_template.h"
#include "common/tpm/make_credential.h"
#include "common/tpm/public_area.h"
#include "common/util/agent_id.h"
#include "common/util/secret.h"
#include "common/util/status_context.h"
#include "common/util/status_macros.h"

namespace cupel::verifier {
namespace {

using crypto::Certificate;
using crypto::Digest;

absl::Status CheckSize(absl::string_view field, size_t size, size_t limit) {
  if (size <= limit) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("enrolment: ", field, ": ", size, ", limit ", limit));
}

absl::Status CheckSizes(const tpm::BeginEnrollment& request) {
  CUPEL_RETURN_IF_ERROR(CheckSize("ek_certificates",
                                  request.ek_certificates.size(),
                                  kMaxEkCertificateCount));
  for (const std::vector<uint8_t>& der : request.ek_certificates) {
    CUPEL_RETURN_IF_ERROR(
        CheckSize("ek_certificates: bytes", der.size(), kMaxEkCertificateSize));
  }
  CUPEL_RETURN_IF_ERROR(CheckSize(
      "ek_template: bytes", request.ek_template.size(), kMaxEkTemplateSize));
  CUPEL_RETURN_IF_ERROR(CheckSize("ak_public: bytes", request.ak_public.size(),
                                  kMaxAkPublicSize));
  CUPEL_RETURN_IF_ERROR(CheckSize("enrollment_token: bytes",
                                  request.enrollment_token.size(),
                                  kMaxEnrollmentTokenSize));
  return CheckSize("agent_version: bytes", request.agent_version.size(),
                   kMaxAgentVersionSize);
}

// Its form and its attributes: what costs next to nothing.
absl::StatusOr<tpm::PublicArea> ParseAk(std::span<const uint8_t> ak_public) {
  CUPEL_ASSIGN_OR_RETURN(tpm::PublicArea ak, tpm::ParsePublicArea(ak_public));
  const std::vector<tpm::AkViolation> violations =
      tpm::ValidateAkAttributes(ak);
  if (!violations.empty()) {
    return absl::PermissionDeniedError(
        absl::StrCat("it is no attestation key: ", violations.front().detail));
  }
  return ak;
}

absl::Status CheckEkPath(const Certificate& certificate,
                         std::span<const std::vector<uint8_t>> issuers,
                         const EnrollerOptions& options, absl::Time now) {
  if (options.ek_issuers == EkIssuers::kAcceptUnknownIssuer) {
    if (now < certificate.not_before() || now > certificate.not_after()) {
      return absl::PermissionDeniedError("its certificate is not valid now");
    }
    return absl::OkStatus();
  }
  std::vector<Certificate> intermediates;
  for (const std::vector<uint8_t>& der : issuers) {
    absl::StatusOr<Certificate> issuer = Certificate::FromDer(der);
    if (!issuer.ok()) {
      return WithContext(issuer.status(),
                         absl::StrCat("issuer ", intermediates.size() + 1));
    }
    intermediates.push_back(*std::move(issuer));
  }
  return crypto::VerifyPath(
      certificate, intermediates, *options.ek_roots,
      {.time = now, .required_eku = tpm::kEkCertificateEku});
}

// The EK that the certificate vouches for, built from nothing that the agent
// said but its template's name.
absl::StatusOr<tpm::PublicArea> BuildEk(const Certificate& certificate,
                                        absl::string_view ek_template) {
  CUPEL_ASSIGN_OR_RETURN(const tpm::EkTemplate id,
                         tpm::EkTemplateFromName(ek_template));
  CUPEL_ASSIGN_OR_RETURN(const crypto::PublicKey key,
                         certificate.GetPublicKey());
  return tpm::EkPublicArea(id, key);
}

absl::StatusOr<tpm::PublicArea> CheckEk(const tpm::BeginEnrollment& request,
                                        const EnrollerOptions& options,
                                        absl::Time now) {
  if (request.ek_certificates.empty()) {
    return absl::InvalidArgumentError(
        "the agent sent no EK certificate; see \"ek_certificate_file\" in its "
        "configuration");
  }
  CUPEL_ASSIGN_OR_RETURN(const Certificate certificate,
                         Certificate::FromDer(request.ek_certificates.front()));
  CUPEL_RETURN_IF_ERROR(tpm::ValidateEkCertificate(certificate).status());
  // Before the key is looked at: checking one of a stranger's making costs
  // more.
  CUPEL_RETURN_IF_ERROR(
      CheckEkPath(certificate, std::span(request.ek_certificates).subspan(1),
                  options, now));
  return BuildEk(certificate, request.ek_template);
}

absl::StatusOr<Secret> MakeSecret() {
  std::array<uint8_t, tpm::kEnrollmentSecretSize> bytes{};
  if (RAND_priv_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) {
    return crypto::OpensslError("RAND_priv_bytes");
  }
  Secret secret(bytes);
  OPENSSL_cleanse(bytes.data(), bytes.size());
  return secret;
}

// `status` with "enrolment: `what`: " before its message.
absl::Status In(const absl::Status& status, absl::string_view what) {
  return WithContext(status, absl::StrCat("enrolment: ", what));
}

absl::Status CheckAge(absl::Time issued, absl::Time now,
                      absl::Duration lifetime) {
  // A cookie from the future is one of a clock that went back.
  if (issued <= now && now - issued <= lifetime) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("enrolment: the cookie has expired after ",
                   absl::FormatDuration(lifetime), "; begin again"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Enroller>> Enroller::Create(
    Store* store, const CookieKeys* keys, EnrollerOptions options) {
  if (store == nullptr || keys == nullptr) {
    return absl::InvalidArgumentError("enrolment needs a store and keys");
  }
  const bool takes_all = options.ek_issuers == EkIssuers::kAcceptUnknownIssuer;
  if (!takes_all && !options.ek_roots.has_value()) {
    return absl::InvalidArgumentError(
        "enrolment: no root of a TPM vendor is pinned, so that every EK "
        "certificate would be refused: name the vendors' roots, or for a "
        "laboratory say that unknown issuers are accepted");
  }
  if (takes_all && options.ek_roots.has_value()) {
    return absl::InvalidArgumentError(
        "enrolment: roots are pinned, and unknown issuers accepted, so that "
        "the roots would protect nothing: drop one of the two");
  }
  return std::unique_ptr<Enroller>(
      new Enroller(store, keys, std::move(options)));
}

absl::StatusOr<tpm::EnrollmentChallenge> Enroller::Begin(
    const tpm::BeginEnrollment& request,
    const Digest& verifier_certificate) const {
  CUPEL_RETURN_IF_ERROR(CheckSizes(request));
  absl::StatusOr<AgentId> agent_id = AgentId::FromBytes(request.agent_id);
  if (!agent_id.ok()) return In(agent_id.status(), "agent_id");
  const absl::StatusOr<tpm::PublicArea> ak = ParseAk(request.ak_public);
  if (!ak.ok()) return In(ak.status(), "AK");
  const absl::Time now = store_->Now();
  const absl::StatusOr<tpm::PublicArea> ek = CheckEk(request, options_, now);
  if (!ek.ok()) return In(ek.status(), "EK");

  CUPEL_ASSIGN_OR_RETURN(Secret secret, MakeSecret());
  CUPEL_ASSIGN_OR_RETURN(tpm::Credential credential,
                         tpm::MakeCredential(*ek, ak->Name(), secret));
  const std::span<const uint8_t> hash = verifier_certificate.bytes();
  CUPEL_ASSIGN_OR_RETURN(
      std::vector<uint8_t> cookie,
      keys_->Seal({.issued = now,
                   .agent_id = *agent_id,
                   .ek_certificate = request.ek_certificates.front(),
                   .ek_template = request.ek_template,
                   .ak_public = request.ak_public,
                   .verifier_certificate = {hash.begin(), hash.end()},
                   .token = request.enrollment_token,
                   .secret = std::move(secret)}));
  return tpm::EnrollmentChallenge{
      .credential_blob = std::move(credential.id_object),
      .encrypted_secret = std::move(credential.encrypted_secret),
      .cookie = std::move(cookie)};
}

absl::StatusOr<AgentRecord> Enroller::Complete(
    const tpm::CompleteEnrollment& request, absl::string_view address,
    std::span<const Digest> verifier_certificates) const {
  CUPEL_RETURN_IF_ERROR(
      CheckSize("cookie: bytes", request.cookie.size(), kMaxCookieSize));
  if (request.proof.size() != tpm::kEnrollmentProofSize) {
    return absl::InvalidArgumentError(
        absl::StrCat("enrolment: proof: ", request.proof.size(),
                     " bytes, expected ", tpm::kEnrollmentProofSize));
  }
  if (address.empty() || address.size() > kMaxAddressSize) {
    return absl::InvalidArgumentError("enrolment: a peer without an address");
  }
  CUPEL_ASSIGN_OR_RETURN(const OpenedCookie opened,
                         keys_->Open(request.cookie));
  const CookieContent& content = opened.content;
  const absl::Time now = store_->Now();
  CUPEL_RETURN_IF_ERROR(
      CheckAge(content.issued, now, options_.cookie_lifetime));
  const bool is_known = std::ranges::any_of(
      verifier_certificates, [&content](const Digest& hash) {
        return std::ranges::equal(hash.bytes(), content.verifier_certificate);
      });
  if (!is_known) {
    return absl::PermissionDeniedError(
        "enrolment: begun with another certificate of the verifier than this "
        "connection's; begin again");
  }

  // Judged in Begin, and sealed since.
  CUPEL_ASSIGN_OR_RETURN(const Certificate ek_certificate,
                         Certificate::FromDer(content.ek_certificate));
  CUPEL_ASSIGN_OR_RETURN(const tpm::PublicArea ek,
                         BuildEk(ek_certificate, content.ek_template));
  CUPEL_ASSIGN_OR_RETURN(const tpm::PublicArea ak,
                         tpm::ParsePublicArea(content.ak_public));
  Enrollment enrollment{
      .ek_certificate = content.ek_certificate,
      .ek_sha256 = ek_certificate.fingerprint().Hex(),
      .ek_name = ek.Name(),
      .ak_public = content.ak_public,
      .ak_name = ak.Name(),
      .time = now,
      .address = std::string(address),
  };
  // The certificate may have been replaced between the connection and Begin.
  bool is_proven = false;
  for (const Digest& shown : verifier_certificates) {
    CUPEL_ASSIGN_OR_RETURN(
        const Secret expected,
        tpm::EnrollmentProof(content.secret, {.cookie = request.cookie,
                                              .agent_id = &content.agent_id,
                                              .ek_name = enrollment.ek_name,
                                              .ak_name = enrollment.ak_name,
                                              .verifier_certificate = &shown}));
    is_proven |= Secret(request.proof) == expected;
  }
  if (!is_proven) {
    return absl::PermissionDeniedError(
        "enrolment: the proof is wrong: the TPM doesn't hold both keys");
  }
  // Its attributes are those of an AK, and yet it may be no key. Finding out
  // takes longer than all of the above, if the key is chosen for that: it is
  // done only for who has a TPM that holds it [A15].
  if (const auto key = ak.ToPublicKey(); !key.ok()) {
    return In(key.status(), "AK");
  }
  return store_->Enroll(content.agent_id, enrollment, opened.nonce,
                        content.issued, content.token,
                        options_.max_unclaimed_per_address);
}

}  // namespace cupel::verifier
