// Enrolment, the agent's side (docs/protocol.md, 1).
#ifndef CUPEL_AGENT_ENROLLMENT_ENROLLEE_H_
#define CUPEL_AGENT_ENROLLMENT_ENROLLEE_H_

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/crypto/digest.h"
#include "common/tpm/ek_template.h"
#include "common/tpm/enrollment_messages.h"
#include "common/util/agent_id.h"
#include "common/util/secret.h"

namespace cupel::agent {

// What an agent enrols with.
struct EnrolleeOptions {
  AgentId agent_id;
  tpm::EkTemplate ek_template = tpm::EkTemplate::kL1;
  // DER: the EK's certificate, then its issuers as far as they are known. What
  // an NV index has after a certificate may be left on it.
  std::vector<std::vector<uint8_t>> ek_certificates;
  std::vector<uint8_t> ek_public;  // TPMT_PUBLIC, of the key that the TPM made
  std::vector<uint8_t> ak_public;  // TPMT_PUBLIC
  std::string enrollment_token;    // empty without one
  std::string agent_version;
};

// TPM2_ActivateCredential: a TPM2B_ID_OBJECT and a TPM2B_ENCRYPTED_SECRET to
// the secret in them.
using ActivateCredential = std::function<absl::StatusOr<Secret>(
    std::span<const uint8_t> credential_blob,
    std::span<const uint8_t> encrypted_secret)>;

// One agent's keys, ready to enrol any number of times. Immutable; may be used
// by several threads.
class Enrollee {
 public:
  // kInvalidArgument if a field is malformed; kFailedPrecondition if the
  // certificate is not that of the TPM's EK, or the EK is not made by the
  // template: the verifier could not know it.
  static absl::StatusOr<Enrollee> Create(EnrolleeOptions options);

  const tpm::BeginEnrollment& request() const { return request_; }
  const std::vector<uint8_t>& ek_name() const { return ek_name_; }
  const std::vector<uint8_t>& ak_name() const { return ak_name_; }
  // Of the EK certificate's DER: what `add --ek` takes.
  const crypto::Digest& ek_fingerprint() const { return ek_fingerprint_; }

  // Answers the verifier. `verifier_certificate` is the SHA-256 of the DER of
  // the certificate that TLS showed, and checked, on this connection.
  //
  // kInvalidArgument if the challenge is malformed or its secret of another
  // size than the protocol's; errors of `activate`, with context.
  absl::StatusOr<tpm::CompleteEnrollment> Answer(
      const tpm::EnrollmentChallenge& challenge,
      const crypto::Digest& verifier_certificate,
      const ActivateCredential& activate) const;

 private:
  explicit Enrollee(AgentId agent_id) : agent_id_(agent_id) {}

  AgentId agent_id_;
  tpm::BeginEnrollment request_;
  std::vector<uint8_t> ek_name_;
  std::vector<uint8_t> ak_name_;
  crypto::Digest ek_fingerprint_;
};

}  // namespace cupel::agent

#endif  // CUPEL_AGENT_ENROLLMENT_ENROLLEE_H_
