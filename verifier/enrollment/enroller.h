// Enrolment, the verifier's side (docs/protocol.md, 1): what ties an agent id
// to an endorsement key that a TPM vendor vouches for, and to an attestation
// key in the same TPM.
//
// Trust: everything in a request comes from a stranger. Only the EK's
// certificate is believed, and only as far as its path leads to a pinned root.
#ifndef CUPEL_VERIFIER_ENROLLMENT_ENROLLER_H_
#define CUPEL_VERIFIER_ENROLLMENT_ENROLLER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/crypto/certificate.h"
#include "common/crypto/certificate_path.h"
#include "common/crypto/digest.h"
#include "common/tpm/enrollment_messages.h"
#include "verifier/enrollment/cookie.h"
#include "verifier/store/store.h"

namespace cupel::verifier {

// How long a cookie may take from Begin to Complete, if nothing else is said.
inline constexpr absl::Duration kCookieLifetime = absl::Seconds(60);

// Bounds on what a stranger may send, in bytes unless said otherwise; looked at
// before anything is parsed.
inline constexpr size_t kMaxEkCertificateSize = 8192;
inline constexpr size_t kMaxEkCertificateCount =
    1 + crypto::kMaxIntermediateCount;
inline constexpr size_t kMaxEkTemplateSize = 16;
inline constexpr size_t kMaxAkPublicSize = 1024;
inline constexpr size_t kMaxEnrollmentTokenSize = 256;
inline constexpr size_t kMaxAgentVersionSize = 128;
inline constexpr size_t kMaxAddressSize = 128;

// Whose EK certificates are taken.
enum class EkIssuers : uint8_t {
  kPinnedRoots,
  // Anybody's: for laboratories. Whoever can reach the verifier can make up a
  // TPM in software. All else about the certificate is checked, its signature
  // excepted.
  kAcceptUnknownIssuer,
};

struct EnrollerOptions {
  EkIssuers ek_issuers = EkIssuers::kPinnedRoots;
  // Needed with kPinnedRoots, and with nothing else. An intermediate CA may be
  // pinned, which is of use where agents have the EK's certificate alone.
  std::optional<crypto::TrustAnchors> ek_roots = std::nullopt;
  // Enrolments that no tenant has claimed, for each peer address.
  uint32_t max_unclaimed_per_address = 16;
  absl::Duration cookie_lifetime = kCookieLifetime;
};

// Threads: every function may be called by any thread.
class Enroller {
 public:
  // `store` and `keys` must outlive the object. kInvalidArgument without roots,
  // unless the options say kAcceptUnknownIssuer; then with roots.
  static absl::StatusOr<std::unique_ptr<Enroller>> Create(
      Store* store, const CookieKeys* keys, EnrollerOptions options);

  // Judges what an agent shows of its keys, and answers with a secret that only
  // a TPM which holds both of them can recover. Changes nothing and stores
  // nothing. `verifier_certificate` is the SHA-256 of the DER of this node's
  // present certificate.
  //
  // Errors: kInvalidArgument, a field is malformed, no EK template has that
  // name, or the certificate's key doesn't fit it; kResourceExhausted, a bound
  // above is passed; kPermissionDenied, the certificate is none of an EK or
  // leads to no pinned root, or the AK is no attestation key.
  absl::StatusOr<tpm::EnrollmentChallenge> Begin(
      const tpm::BeginEnrollment& request,
      const crypto::Digest& verifier_certificate) const;

  // Checks the proof and binds id, EK and AK. `address` is that of the peer,
  // without its port: enrolments are counted by it.
  // `verifier_certificates` are the SHA-256 of those that this node may have
  // shown on the agent's connection: Begin's must be one of them, and the proof
  // must be made with one of them, which the agent takes from TLS.
  //
  // Errors: kInvalidArgument, a field has a wrong size; kPermissionDenied, the
  // cookie is not this verifier's, was begun with another certificate, or the
  // proof is wrong; kFailedPrecondition, the cookie has expired; and those of
  // Store::Enroll.
  absl::StatusOr<AgentRecord> Complete(
      const tpm::CompleteEnrollment& request, absl::string_view address,
      std::span<const crypto::Digest> verifier_certificates) const;

 private:
  Enroller(Store* store, const CookieKeys* keys, EnrollerOptions options)
      : store_(store), keys_(keys), options_(std::move(options)) {}

  Store* store_;
  const CookieKeys* keys_;
  EnrollerOptions options_;
};

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_ENROLLMENT_ENROLLER_H_
