#include "tenant/rpc/credentials.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include <cstddef>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/crypto/certificate.h"
#include "common/crypto/openssl.h"
#include "common/util/bytes.h"
#include "common/util/escape.h"
#include "common/util/file.h"
#include "common/util/status_macros.h"

namespace cupel::tenant {
namespace {

using ::cupel::crypto::Certificate;
using ::cupel::crypto::Owned;

constexpr size_t kMaxFileSize = size_t{1} << 20;

absl::StatusOr<std::string> ReadPem(const std::string& path,
                                    absl::string_view what,
                                    absl::string_view option) {
  if (path.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("no ", what, ": give ", option,
                     " FILE, or name it in the configuration"));
  }
  auto bytes = ReadFile(path, kMaxFileSize);
  if (!bytes.ok()) {
    return absl::Status(bytes.status().code(),
                        absl::StrCat(what, ": ", bytes.status().message(),
                                     " (see ", option, ")"));
  }
  return std::string(AsText(*bytes));
}

absl::StatusOr<std::vector<Certificate>> Certificates(const std::string& text,
                                                      const std::string& path) {
  auto certificates = Certificate::BundleFromPem(text);
  if (certificates.ok()) return certificates;
  return absl::InvalidArgumentError(absl::StrCat(
      EscapeForDisplay(path),
      ": no certificates in PEM: ", certificates.status().message()));
}

// A passphrase is never asked for: a command may run without a terminal.
int NoPassphrase(char* /*buffer*/, int /*size*/, int /*writing*/, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

absl::StatusOr<Owned<EVP_PKEY>> PrivateKey(const std::string& text,
                                           const std::string& path) {
  bool asked = false;
  const Owned<BIO> reader(
      BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  Owned<EVP_PKEY> key(reader == nullptr
                          ? nullptr
                          : PEM_read_bio_PrivateKey(reader.get(), nullptr,
                                                    NoPassphrase, &asked));
  ERR_clear_error();
  if (key != nullptr) return key;
  return absl::InvalidArgumentError(absl::StrCat(
      EscapeForDisplay(path),
      asked ? ": the key has a passphrase, which can't be asked for; decrypt it"
            : ": no private key in PEM"));
}

absl::Status CheckDates(const Certificate& certificate,
                        const std::string& path) {
  const auto refuse = [&](absl::string_view how) {
    return absl::FailedPreconditionError(
        absl::StrCat(EscapeForDisplay(path), ": the certificate ", how,
                     "; have it renewed, or set the clock right"));
  };
  const absl::Time now = absl::Now();
  if (now < certificate.not_before()) return refuse("is not valid yet");
  if (now > certificate.not_after()) return refuse("has expired");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<CredentialTexts> LoadCredentials(const CredentialFiles& files) {
  CredentialTexts texts;
  CUPEL_ASSIGN_OR_RETURN(
      texts.ca, ReadPem(files.ca, "CA to check the verifier with", "--ca"));
  CUPEL_ASSIGN_OR_RETURN(
      texts.certificate,
      ReadPem(files.certificate, "operator's certificate", "--cert"));
  CUPEL_ASSIGN_OR_RETURN(texts.key,
                         ReadPem(files.key, "operator's key", "--key"));
  CUPEL_RETURN_IF_ERROR(Certificates(texts.ca, files.ca).status());
  CUPEL_ASSIGN_OR_RETURN(const std::vector<Certificate> chain,
                         Certificates(texts.certificate, files.certificate));
  const Certificate& certificate = chain.front();
  CUPEL_ASSIGN_OR_RETURN(const Owned<EVP_PKEY> key,
                         PrivateKey(texts.key, files.key));
  if (X509_check_private_key(certificate.get(), key.get()) != 1) {
    ERR_clear_error();
    return absl::InvalidArgumentError(
        absl::StrCat(EscapeForDisplay(files.key), ": not the key of ",
                     EscapeForDisplay(files.certificate)));
  }
  CUPEL_RETURN_IF_ERROR(CheckDates(certificate, files.certificate));
  return texts;
}

}  // namespace cupel::tenant
