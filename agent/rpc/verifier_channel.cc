#include "agent/rpc/verifier_channel.h"

#include <grpc/grpc_security_constants.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pemerr.h>

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/crypto/openssl.h"
#include "common/util/bytes.h"
#include "common/util/escape.h"
#include "common/util/status_macros.h"

namespace cupel::agent {
namespace {

// A verifier's messages are small; its list of findings is cut.
constexpr int kMaxMessageSize = 64 << 10;

absl::StatusOr<crypto::Owned<BIO>> Reader(absl::string_view text) {
  crypto::Owned<BIO> bio(
      BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  if (bio == nullptr) return crypto::OpensslError("BIO_new_mem_buf");
  return bio;
}

absl::Status CheckRoots(const std::string& pem) {
  CUPEL_ASSIGN_OR_RETURN(const crypto::Owned<BIO> bio, Reader(pem));
  int count = 0;
  for (;; ++count) {
    const crypto::Owned<X509> certificate(
        PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
    if (certificate != nullptr) continue;
    // No further block: the end, which OpenSSL has no other way to tell.
    const bool at_end =
        ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    const absl::Status error = crypto::OpensslError("OpenSSL");
    if (at_end) break;
    return absl::InvalidArgumentError(absl::StrCat(
        "the verifier's root certificates: certificate ", count + 1,
        " is malformed: ", EscapeForDisplay(error.message())));
  }
  if (count == 0) {
    return absl::InvalidArgumentError(
        "the verifier's root certificates: there is none. Give the PEM file of "
        "the CA that signs the verifiers' certificates; without it no verifier "
        "can be told from an impostor");
  }
  return absl::OkStatus();
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
  // Else gRPC stops asking after two pings without data in between.
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // Each message that comes would be answered by a ping that measures the line.
  // Verifiers send little, and windows of the usual size do.
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
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
  CUPEL_ASSIGN_OR_RETURN(
      const crypto::Owned<BIO> bio,
      Reader(absl::string_view(values[0].data(), values[0].size())));
  char* name = nullptr;
  char* header = nullptr;
  unsigned char* data = nullptr;
  long size = 0;  // NOLINT(google-runtime-int): OpenSSL's
  if (PEM_read_bio(bio.get(), &name, &header, &data, &size) != 1) {
    return crypto::OpensslError("the verifier's certificate");
  }
  const crypto::Digest digest =
      crypto::Hash(crypto::HashAlgorithm::kSha256,
                   std::span<const uint8_t>(data, static_cast<size_t>(size)));
  OPENSSL_free(name);
  OPENSSL_free(header);
  OPENSSL_free(data);
  return digest;
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
