// How an agent reaches a verifier, and what it knows of it.
#ifndef CUPEL_AGENT_RPC_VERIFIER_CHANNEL_H_
#define CUPEL_AGENT_RPC_VERIFIER_CHANNEL_H_

#include <grpcpp/channel.h>
#include <grpcpp/security/auth_context.h>
#include <grpcpp/support/status.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/crypto/digest.h"

namespace cupel::agent {

struct ChannelOptions {
  // PEM: what a verifier's certificate is checked against, and nothing else is.
  std::string root_certificates;
  // A connection that is silent for so long is asked for a sign of life, which
  // must come within the timeout. Not more often than the verifier allows.
  absl::Duration keepalive = absl::Seconds(30);
  absl::Duration keepalive_timeout = absl::Seconds(10);
  // How long TCP and TLS may take to connect.
  absl::Duration connect_timeout = absl::Seconds(10);
};

// A channel of its own to `address` ("host:port"): TLS, checked against
// `root_certificates` alone and for the host's name; no HTTP proxy, whatever
// the environment says; shared with no other channel of the process. Connects
// when it is used.
//
// kInvalidArgument without an address, or if the roots are no bundle of
// certificates (Certificate::BundleFromPem): without one gRPC would take the
// system's instead.
absl::StatusOr<std::shared_ptr<grpc::Channel>> MakeVerifierChannel(
    const std::string& address, const ChannelOptions& options);

// SHA-256 of the DER of the leaf certificate that the peer showed. `context` is
// a ClientContext's, asked for only once the call has brought something: gRPC
// 1.51 leaves it empty for good if it is asked for earlier. kInternal if there
// is none, or what is none.
absl::StatusOr<crypto::Digest> PeerCertificateSha256(
    const grpc::AuthContext& context);

// With the peer named. OK stays OK.
absl::Status FromGrpcStatus(const grpc::Status& status,
                            absl::string_view address);

}  // namespace cupel::agent

#endif  // CUPEL_AGENT_RPC_VERIFIER_CHANNEL_H_
