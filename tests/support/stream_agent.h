// An agent's side of an attestation stream, by hand: over real TLS, with a fake
// machine behind it.
#ifndef CUPEL_TESTS_SUPPORT_STREAM_AGENT_H_
#define CUPEL_TESTS_SUPPORT_STREAM_AGENT_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/crypto/digest.h"
#include "common/util/agent_id.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "proto/cupel/v1/attestation.grpc.pb.h"
#include "tests/support/evidence_builder.h"
#include "verifier/store/store.h"

namespace cupel::testing {

// A channel of its own, shared with no other. The files are PEM; without
// `client_folder`, which holds certificate.pem and key.pem, the client shows no
// certificate. Files that can't be read make a channel that doesn't connect.
std::shared_ptr<grpc::Channel> TlsChannel(const std::string& address,
                                          const std::string& ca_file,
                                          const std::string& client_folder);

// As an enrolment by `machine` at `time` leaves the store; `seed` tells EKs
// apart.
absl::Status EnrollMachine(verifier::Store& store, const AgentId& id,
                           const FakeMachine& machine, absl::string_view seed,
                           absl::Time time = absl::Now());

// A text allowlist of what the machine's policy allows.
std::string AllowlistOf(const FakeMachine& machine);

// A stream. It ends with this object, and at the latest after `lifetime`.
class StreamAgent {
 public:
  // `machine` must outlive it, and may go on running between rounds.
  StreamAgent(const std::shared_ptr<grpc::Channel>& channel,
              FakeMachine& machine, const AgentId& id,
              absl::Duration lifetime = absl::Seconds(60));
  ~StreamAgent();

  // False, or nullopt, once the stream has ended.
  bool Send(const v1::AgentMessage& message) { return stream_->Write(message); }
  std::optional<v1::VerifierMessage> Receive();

  bool SayHello();
  bool SendQuote(const v1::Challenge& challenge);
  bool SendList();
  // Answers challenges with the present list until there is a verdict. nullopt
  // if the stream ended, or was refused, before it.
  std::optional<v1::Verdict> Round();

  // The last refusal's reason.
  const std::string& refusal() const { return refusal_; }
  // Of the DER of the certificate that TLS has shown; once something was
  // received.
  crypto::Digest ServerCertificate() const;
  // What the last challenge said of it.
  const std::string& challenged_certificate() const { return challenged_; }
  grpc::Status Finish() { return stream_->Finish(); }

 private:
  FakeMachine& machine_;
  const AgentId id_;
  std::unique_ptr<v1::Attestation::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<
      grpc::ClientReaderWriter<v1::AgentMessage, v1::VerifierMessage>>
      stream_;
  uint64_t offset_ = 0;
  bool proven_ = false;
  std::string refusal_;
  std::string challenged_;
};

}  // namespace cupel::testing

#endif  // CUPEL_TESTS_SUPPORT_STREAM_AGENT_H_
