#ifndef CUPEL_AGENT_RPC_ATTESTATION_CLIENT_H_
#define CUPEL_AGENT_RPC_ATTESTATION_CLIENT_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/attester/messages.h"
#include "agent/rpc/verifier_channel.h"
#include "common/crypto/digest.h"

namespace cupel::agent {

// One attestation stream to one verifier. It moves messages; what they mean is
// the Attester's.
class AttestationClient {
 public:
  // Called by gRPC's threads, OnWritten at the same time as the others. Must
  // neither block nor call the client. The order is that in which things came:
  // the certificate before any message, OnClosed once and last.
  class Events {
   public:
    virtual ~Events() = default;
    // SHA-256 of the DER of the certificate that the verifier showed and that
    // TLS checked.
    virtual void OnCertificate(const crypto::Digest& sha256) = 0;
    virtual void OnMessage(VerifierMessage message) = 0;
    // One message has left.
    virtual void OnWritten() = 0;
    // OK where the verifier ended the stream without giving an error.
    virtual void OnClosed(const absl::Status& status) = 0;
  };

  // Begins to connect; what comes of it goes to `events`, which must outlive
  // the client. Errors of MakeVerifierChannel.
  static absl::StatusOr<std::unique_ptr<AttestationClient>> Open(
      const std::string& address, const ChannelOptions& options,
      Events& events);

  // Ends the stream, and waits until no event can come any more. Must not
  // happen on a thread of gRPC's.
  ~AttestationClient();
  AttestationClient(const AttestationClient&) = delete;
  AttestationClient& operator=(const AttestationClient&) = delete;

  // Sends `message` after those before it. What a stream that has ended did not
  // send is dropped. Threads: any.
  void Send(AgentMessage message);

  // Ends the stream at once; OnClosed follows. Threads: any.
  void Cancel();

 private:
  class Reactor;
  explicit AttestationClient(std::unique_ptr<Reactor> reactor);

  std::unique_ptr<Reactor> reactor_;
};

}  // namespace cupel::agent

#endif  // CUPEL_AGENT_RPC_ATTESTATION_CLIENT_H_
