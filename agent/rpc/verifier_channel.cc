#include "agent/rpc/verifier_channel.h"

#include <grpc/grpc_security_constants.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/crypto/certificate.h"
#include "common/util/escape.h"
#include "common/util/status_macros.h"

namespace cupel::agent {
namespace {

// A verifier's messages are small; its list of findings is cut.
constexpr int kMaxMessageSize = 64 << 10;
constexpr int kMaxRecordSize = 4 << 10;

absl::Status CheckRoots(absl::string_view pem) {
  const auto roots = crypto::Certificate::BundleFromPem(pem);
  if (roots.ok()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "the verifier's root certificates: ", roots.status().message(),
      "; give the PEM file of the CA that signs the verifiers' certificates: "
      "without it no verifier can be told from an impostor"));
}

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::Channel>> MakeVerifierChannel(
    const std::string& address, const ChannelOptions& options) {
  if (address.empty()) {
    return absl::InvalidArgumentError(
        "no verifier's address is given: name one as HOST:PORT");
  }
  CUPEL_RETURN_IF_ERROR(CheckRoots(options.root_certificates));
  grpc::SslCredentialsOptions credentials;
  credentials.pem_root_certs = options.root_certificates;
  grpc::ChannelArguments arguments;
  const auto ms = [](absl::Duration duration) {
    return static_cast<int>(absl::ToInt64Milliseconds(duration));
  };
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, ms(options.keepalive));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
                   ms(options.keepalive_timeout));
  // What gRPC has for the timeout of an attempt: the larger of this and its own
  // back-off, which never comes to a second attempt on our channels.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS,
                   ms(options.connect_timeout));
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS,
                   std::min(ms(options.connect_timeout), 1000));
  // Else gRPC stops asking after two pings without data in between.
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // Each message that comes would be answered by a ping that measures the line.
  // Verifiers send little, and windows of the usual size do.
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  // Both ends of a connection keep memory for the largest TLS record that it
  // has seen, and of the verifier's there are thousands.
  arguments.SetInt(GRPC_ARG_TSI_MAX_FRAME_SIZE, kMaxRecordSize);
  // Attempts are the attester's to make, and a service's configuration is
  // nobody's business to publish in DNS.
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  arguments.SetMaxReceiveMessageSize(kMaxMessageSize);
  return grpc::CreateCustomChannel(address, grpc::SslCredentials(credentials),
                                   arguments);
}

absl::StatusOr<crypto::Digest> PeerCertificateSha256(
    const grpc::AuthContext& context) {
  const std::vector<grpc::string_ref> values =
      context.FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME);
  if (values.size() != 1) {
    return absl::InternalError(
        absl::StrCat("TLS showed ", values.size(),
                     " certificates of the verifier's, expected 1"));
  }
  const auto certificate = crypto::Certificate::FromPem(
      absl::string_view(values[0].data(), values[0].size()));
  if (!certificate.ok()) {
    return absl::InternalError(absl::StrCat("the verifier's certificate: ",
                                            certificate.status().message()));
  }
  return certificate->fingerprint();
}

absl::Status FromGrpcStatus(const grpc::Status& status,
                            absl::string_view address) {
  if (status.ok()) return absl::OkStatus();
  // The codes are the same ones by definition.
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()),
                      absl::StrCat("verifier ", address, ": ",
                                   EscapeForDisplay(status.error_message())));
}

}  // namespace cupel::agent
