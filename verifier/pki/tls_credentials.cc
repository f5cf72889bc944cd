#include "verifier/pki/tls_credentials.h"

#include <openssl/ssl.h>
#include <sys/stat.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/crypto/certificate.h"
#include "common/util/bytes.h"
#include "common/util/escape.h"
#include "common/util/file.h"
#include "common/util/status_context.h"
#include "common/util/status_macros.h"
#include "verifier/pki/certificate.h"
#include "verifier/pki/pem_files.h"

namespace cupel::verifier {
namespace {

absl::Status CheckMode(const std::string& key_path) {
  struct stat info = {};
  // That it can't be found is for the reader to say.
  if (stat(key_path.c_str(), &info) == 0 && (info.st_mode & 07) != 0) {
    return absl::FailedPreconditionError(absl::StrCat(
        EscapeForDisplay(key_path),
        " is open to every user of this machine; make a new key, and "
        "let it have the mode 0600"));
  }
  return absl::OkStatus();
}

// As a listener would take them: it says nothing of what it could not take.
bool IsTakenByTls(X509* certificate, EVP_PKEY* key) {
  struct Free {
    void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  };
  const std::unique_ptr<SSL_CTX, Free> context(
      SSL_CTX_new(TLS_server_method()));
  const bool taken = context != nullptr &&
                     SSL_CTX_use_certificate(context.get(), certificate) == 1 &&
                     SSL_CTX_use_PrivateKey(context.get(), key) == 1 &&
                     SSL_CTX_check_private_key(context.get()) == 1;
  if (!taken) (void)crypto::OpensslError("");  // empties the queue
  return taken;
}

absl::StatusOr<TlsCredentials> LoadOnce(const std::string& certificate_path,
                                        const std::string& key_path) {
  CUPEL_ASSIGN_OR_RETURN(const std::vector<uint8_t> certificate_pem,
                         ReadFile(certificate_path, kMaxPemFileSize));
  CUPEL_ASSIGN_OR_RETURN(const std::vector<uint8_t> key_pem,
                         ReadFile(key_path, kMaxPemFileSize));
  const auto certificate = CertificateFromPem(AsText(certificate_pem));
  if (!certificate.ok()) {
    return WithContext(certificate.status(),
                       EscapeForDisplay(certificate_path));
  }
  const auto key = KeyFromPem(AsText(key_pem));
  if (!key.ok()) return WithContext(key.status(), EscapeForDisplay(key_path));
  if (X509_check_private_key(certificate->get(), key->get()) != 1) {
    (void)crypto::OpensslError("");  // empties the queue
    return absl::FailedPreconditionError(absl::StrCat(
        EscapeForDisplay(key_path), " is not the key of ",
        EscapeForDisplay(certificate_path), "; `renew` makes a new pair"));
  }
  if (!IsTakenByTls(certificate->get(), key->get())) {
    return absl::InvalidArgumentError(absl::StrCat(
        EscapeForDisplay(certificate_path),
        ": TLS takes no key or signature of this kind or size; `renew` makes a "
        "new pair"));
  }
  const auto chain =
      crypto::Certificate::BundleFromPem(AsText(certificate_pem));
  if (!chain.ok()) {
    return WithContext(chain.status(), EscapeForDisplay(certificate_path));
  }
  return TlsCredentials{.certificate_pem = std::string(AsText(certificate_pem)),
                        .key_pem = std::string(AsText(key_pem)),
                        .certificate_sha256 = chain->front().fingerprint(),
                        .not_before = chain->front().not_before(),
                        .not_after = chain->front().not_after()};
}

}  // namespace

absl::StatusOr<TlsCredentials> LoadTlsCredentials(
    const std::string& certificate_path, const std::string& key_path) {
  CUPEL_RETURN_IF_ERROR(CheckMode(key_path));
  constexpr int kTries = 5;  // a pair is replaced as a whole, and rarely
  absl::StatusOr<TlsCredentials> credentials;
  for (int i = 0; i < kTries; ++i) {
    credentials = LoadOnce(certificate_path, key_path);
    if (!absl::IsFailedPrecondition(credentials.status())) break;
  }
  return credentials;
}

}  // namespace cupel::verifier
