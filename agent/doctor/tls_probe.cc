#include "agent/doctor/tls_probe.h"

#include <fcntl.h>
#include <netdb.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/crypto/openssl.h"
#include "common/util/escape.h"
#include "common/util/status_macros.h"

namespace cupel::crypto {

template <>
struct OwnedTraits<SSL_CTX> {
  using Deleter = OpensslDeleter<SSL_CTX_free>;
};
template <>
struct OwnedTraits<SSL> {
  using Deleter = OpensslDeleter<SSL_free>;
};

}  // namespace cupel::crypto

namespace cupel::agent {
namespace {

using ::cupel::crypto::Certificate;
using ::cupel::crypto::OpensslError;
using ::cupel::crypto::Owned;

class Socket {
 public:
  explicit Socket(int fd) : fd_(fd) {}
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  Socket& operator=(Socket&&) = delete;
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

absl::Status FromErrno(int error) {
  const absl::string_view text = std::strerror(error);
  return error == ETIMEDOUT || error == EAGAIN || error == EINPROGRESS
             ? absl::DeadlineExceededError("no answer in time")
             : absl::UnavailableError(text);
}

// Waits until a connection that is being made is there.
absl::Status AwaitConnection(int fd, absl::Duration timeout) {
  pollfd wait = {.fd = fd, .events = POLLOUT, .revents = 0};
  const int ready =
      poll(&wait, 1, static_cast<int>(absl::ToInt64Milliseconds(timeout)));
  if (ready < 0) return FromErrno(errno);
  if (ready == 0) return FromErrno(ETIMEDOUT);
  int error = 0;
  socklen_t size = sizeof(error);
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  return error == 0 ? absl::OkStatus() : FromErrno(error);
}

absl::StatusOr<Socket> ConnectTo(const addrinfo& address,
                                 absl::Duration timeout) {
  Socket socket(::socket(address.ai_family,
                         address.ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
                         address.ai_protocol));
  if (socket.get() < 0) return FromErrno(errno);
  if (connect(socket.get(), address.ai_addr, address.ai_addrlen) != 0) {
    if (errno != EINPROGRESS) return FromErrno(errno);
    CUPEL_RETURN_IF_ERROR(AwaitConnection(socket.get(), timeout));
  }
  return socket;
}

absl::StatusOr<Socket> Connect(const std::string& host, uint16_t port,
                               absl::Duration timeout) {
  addrinfo hints = {};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error =
      getaddrinfo(host.c_str(), absl::StrCat(port).c_str(), &hints, &found);
  if (error != 0) {
    return absl::NotFoundError(
        absl::StrCat("the name can't be resolved: ", gai_strerror(error)));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found,
                                                                 freeaddrinfo);
  absl::Status status = absl::NotFoundError("the name has no address");
  for (; found != nullptr; found = found->ai_next) {
    auto socket = ConnectTo(*found, timeout);
    if (socket.ok()) return socket;
    status = socket.status();
  }
  return status;
}

absl::StatusOr<Owned<SSL_CTX>> MakeContext(const std::string& roots_pem) {
  CUPEL_ASSIGN_OR_RETURN(const std::vector<Certificate> roots,
                         Certificate::BundleFromPem(roots_pem));
  Owned<SSL_CTX> context(SSL_CTX_new(TLS_client_method()));
  if (context == nullptr) return OpensslError("SSL_CTX_new");
  X509_STORE* const store = SSL_CTX_get_cert_store(context.get());
  for (const Certificate& root : roots) {
    if (X509_STORE_add_cert(store, root.get()) != 1) {
      return OpensslError("X509_STORE_add_cert");
    }
  }
  // A path ends at whatever was pinned.
  X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  if (SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION) != 1) {
    return OpensslError("SSL_CTX_set_min_proto_version");
  }
  constexpr unsigned char kHttp2[] = {2, 'h', '2'};
  // The one of these functions that returns 0 for success.
  if (SSL_CTX_set_alpn_protos(context.get(), kHttp2, sizeof(kHttp2)) != 0) {
    return OpensslError("SSL_CTX_set_alpn_protos");
  }
  return context;
}

// Has the certificate checked for the host, by address if it is one.
absl::Status ExpectHost(SSL* ssl, const std::string& host) {
  X509_VERIFY_PARAM* const parameters = SSL_get0_param(ssl);
  if (X509_VERIFY_PARAM_set1_ip_asc(parameters, host.c_str()) == 1) {
    return absl::OkStatus();
  }
  // SSL_set_tlsext_host_name is a macro with a cast of C's.
  if (X509_VERIFY_PARAM_set1_host(parameters, host.c_str(), host.size()) != 1 ||
      SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
               const_cast<char*>(host.c_str())) != 1) {
    return OpensslError("the host's name");
  }
  return absl::OkStatus();
}

absl::Status SetTimeout(int fd, absl::Duration timeout) {
  const timeval time = absl::ToTimeval(timeout);
  int flags = 0;
  if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time)) != 0 ||
      setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof(time)) != 0 ||
      (flags = fcntl(fd, F_GETFL)) < 0 ||
      fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) != 0) {
    return FromErrno(errno);
  }
  return absl::OkStatus();
}

absl::Status Handshake(SSL* ssl) {
  errno = 0;
  const int result = SSL_connect(ssl);
  if (result == 1) return absl::OkStatus();
  const int error = errno;
  const int64_t reason = SSL_get_verify_result(ssl);
  if (reason != X509_V_OK) {
    return absl::PermissionDeniedError(X509_verify_cert_error_string(reason));
  }
  switch (SSL_get_error(ssl, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
      return absl::DeadlineExceededError("no TLS handshake in time");
    case SSL_ERROR_SYSCALL:
      return error == 0 ? absl::UnavailableError("the connection was closed")
                        : FromErrno(error);
    default:
      return absl::UnavailableError(absl::StrCat(
          "no TLS: ", EscapeForDisplay(OpensslError("handshake").message())));
  }
}

}  // namespace

absl::StatusOr<TlsPeer> ProbeTls(const std::string& host, uint16_t port,
                                 const std::string& roots_pem,
                                 absl::Duration timeout) {
  CUPEL_ASSIGN_OR_RETURN(const Owned<SSL_CTX> context, MakeContext(roots_pem));
  CUPEL_ASSIGN_OR_RETURN(const Socket socket, Connect(host, port, timeout));
  CUPEL_RETURN_IF_ERROR(SetTimeout(socket.get(), timeout));
  const Owned<SSL> ssl(SSL_new(context.get()));
  if (ssl == nullptr || SSL_set_fd(ssl.get(), socket.get()) != 1) {
    return OpensslError("SSL_new");
  }
  CUPEL_RETURN_IF_ERROR(ExpectHost(ssl.get(), host));
  CUPEL_RETURN_IF_ERROR(Handshake(ssl.get()));

  const Owned<X509> shown(SSL_get1_peer_certificate(ssl.get()));
  unsigned char* der = nullptr;
  const int size = shown == nullptr ? -1 : i2d_X509(shown.get(), &der);
  if (size < 0) return OpensslError("the server's certificate");
  auto certificate = Certificate::FromDer(
      std::span<const uint8_t>(der, static_cast<size_t>(size)));
  OPENSSL_free(der);
  CUPEL_RETURN_IF_ERROR(certificate.status());
  const unsigned char* protocol = nullptr;
  unsigned int protocol_size = 0;
  SSL_get0_alpn_selected(ssl.get(), &protocol, &protocol_size);
  TlsPeer peer{.certificate = *std::move(certificate),
               .tls_version = SSL_get_version(ssl.get()),
               .speaks_http2 =
                   protocol_size == 2 && std::memcmp(protocol, "h2", 2) == 0};
  SSL_shutdown(ssl.get());
  return peer;
}

}  // namespace cupel::agent
