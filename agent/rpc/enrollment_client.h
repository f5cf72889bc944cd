#ifndef CUPEL_AGENT_RPC_ENROLLMENT_CLIENT_H_
#define CUPEL_AGENT_RPC_ENROLLMENT_CLIENT_H_

#include <grpcpp/channel.h>

#include <memory>
#include <stop_token>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "agent/rpc/verifier_channel.h"
#include "common/crypto/digest.h"
#include "common/tpm/enrollment_messages.h"

namespace cupel::agent {

// The two calls of an enrolment (docs/protocol.md, 1), to one verifier. They
// block for `timeout` at most. Errors are those of the verifier, and
// kUnavailable where it can't be reached or TLS does not trust it.
class EnrollmentClient {
 public:
  struct Begun {
    tpm::EnrollmentChallenge challenge;
    // SHA-256 of the DER of the certificate that TLS showed, and checked: what
    // the proof is bound to.
    crypto::Digest certificate_sha256;
  };

  // Errors of MakeVerifierChannel. Connects when it is used.
  static absl::StatusOr<EnrollmentClient> Create(const std::string& address,
                                                 const ChannelOptions& options);

  // Both give up after `timeout`, and with kCancelled once `stop` asks for it.
  absl::StatusOr<Begun> Begin(const tpm::BeginEnrollment& request,
                              absl::Duration timeout,
                              const std::stop_token& stop = {}) const;

  // The agent's state: "ENROLLED", or what it already was.
  absl::StatusOr<std::string> Complete(const tpm::CompleteEnrollment& request,
                                       absl::Duration timeout,
                                       const std::stop_token& stop = {}) const;

 private:
  EnrollmentClient(std::string address, std::shared_ptr<grpc::Channel> channel)
      : address_(std::move(address)), channel_(std::move(channel)) {}

  std::string address_;
  std::shared_ptr<grpc::Channel> channel_;
};

}  // namespace cupel::agent

#endif  // CUPEL_AGENT_RPC_ENROLLMENT_CLIENT_H_
