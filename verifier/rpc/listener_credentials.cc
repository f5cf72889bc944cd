#include "verifier/rpc/listener_credentials.h"

#include <utility>

#include "grpc/grpc.h"
#include "grpc/grpc_security.h"

namespace cupel::verifier {
namespace {

// gRPC's C++ layer has credentials that reload, but they read the files by
// themselves, at moments that nobody else knows, and take a pair apart. Its
// core asks for the certificate at each connection instead.
class Credentials final : public grpc::ServerCredentials {
 public:
  Credentials(const ServedCertificate& served, std::string client_ca)
      : served_(served), client_ca_(std::move(client_ca)) {}

  // No listener of ours has one.
  void SetAuthMetadataProcessor(
      const std::shared_ptr<grpc::AuthMetadataProcessor>&) override {}

 private:
  int AddPortToServer(const std::string& address,
                      grpc_server* server) override {
    grpc_server_credentials* const credentials =
        grpc_ssl_server_credentials_create_with_options(
            grpc_ssl_server_credentials_create_options_using_config_fetcher(
                client_ca_.empty()
                    ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
                    : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY,
                &Credentials::Fetch, this));
    const int port =
        grpc_server_add_http2_port(server, address.c_str(), credentials);
    grpc_server_credentials_release(credentials);
    return port;
  }

  // Asked by gRPC for each connection before its handshake, by one thread at a
  // time a listener.
  static grpc_ssl_certificate_config_reload_status Fetch(
      void* self, grpc_ssl_server_certificate_config** config) {
    Credentials& credentials = *static_cast<Credentials*>(self);
    std::shared_ptr<const TlsCredentials> current =
        credentials.served_.current();
    if (current == credentials.given_) {
      return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    }
    const grpc_ssl_pem_key_cert_pair pair = {
        .private_key = current->key_pem.c_str(),
        .cert_chain = current->certificate_pem.c_str()};
    // It must have roots, which are used for nobody where no client's
    // certificate is asked for.
    const std::string& roots = credentials.client_ca_.empty()
                                   ? current->certificate_pem
                                   : credentials.client_ca_;
    *config =
        grpc_ssl_server_certificate_config_create(roots.c_str(), &pair, 1);
    if (*config == nullptr) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_FAIL;
    credentials.given_ = std::move(current);
    return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
  }

  const ServedCertificate& served_;
  const std::string client_ca_;
  std::shared_ptr<const TlsCredentials> given_;  // what gRPC has
};

}  // namespace

std::shared_ptr<grpc::ServerCredentials> ListenerCredentials(
    const ServedCertificate& served, std::string client_ca) {
  return std::make_shared<Credentials>(served, std::move(client_ca));
}

}  // namespace cupel::verifier
