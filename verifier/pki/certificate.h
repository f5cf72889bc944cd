// Keys and X.509 certificates of this verifier's own small PKI.
#ifndef CUPEL_VERIFIER_PKI_CERTIFICATE_H_
#define CUPEL_VERIFIER_PKI_CERTIFICATE_H_

#include <openssl/x509v3.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/crypto/openssl.h"
#include "common/util/secret.h"

namespace cupel::verifier {

enum class CertificateUse { kServer, kClient };

// What a leaf certificate is made out to.
struct LeafNames {
  std::string common_name;
  std::vector<std::string> dns_names;
  std::vector<std::string> addresses;  // IPv4 or IPv6, as text
  std::string uri;                     // empty: none
  friend bool operator==(const LeafNames&, const LeafNames&) = default;
};

struct Validity {
  absl::Time not_before;
  absl::Time not_after;
};

struct KeyPair {
  crypto::Owned<X509> certificate;
  crypto::Owned<EVP_PKEY> key;
};

// kInvalidArgument unless `name` is a host name of letters, digits, hyphens and
// dots (RFC 1123).
absl::Status ValidateDnsName(absl::string_view name);
// kInvalidArgument unless `address` is an IPv4 or IPv6 address.
absl::Status ValidateAddress(absl::string_view address);

// A self-signed CA with a new key on P-256. Its extended key usage confines all
// that it issues to `use`, and no CA may stand below it.
absl::StatusOr<KeyPair> MakeCa(const std::string& common_name,
                               CertificateUse use, const Validity& validity);

// A certificate with a new key on P-256, which ends with `ca`'s at the latest.
// kInvalidArgument for names that are not well-formed or none at all;
// kFailedPrecondition if `ca` has expired.
absl::StatusOr<KeyPair> MakeLeaf(const KeyPair& ca, CertificateUse use,
                                 const LeafNames& names,
                                 const Validity& validity);

// The names of a leaf, for one that replaces it. kInvalidArgument for names of
// other kinds than those of LeafNames.
absl::StatusOr<LeafNames> ReadNames(const X509& certificate);

absl::StatusOr<absl::Time> NotBefore(const X509& certificate);
absl::StatusOr<absl::Time> NotAfter(const X509& certificate);

absl::StatusOr<std::string> CertificateToPem(const X509& certificate);
// PKCS #8, not encrypted.
absl::StatusOr<Secret> KeyToPem(const EVP_PKEY& key);

// The first certificate, or key, of `pem`. kInvalidArgument where there is
// none.
absl::StatusOr<crypto::Owned<X509>> CertificateFromPem(absl::string_view pem);
absl::StatusOr<crypto::Owned<EVP_PKEY>> KeyFromPem(absl::string_view pem);

// The SHA-256 of the certificate's SubjectPublicKeyInfo, in lower-case hex.
absl::StatusOr<std::string> SpkiSha256(const X509& certificate);

// The subject's alternative names, as OpenSSL holds them; null where there are
// none. kInvalidArgument if the extension is malformed or stands twice.
struct GeneralNamesDeleter {
  void operator()(GENERAL_NAMES* names) const { GENERAL_NAMES_free(names); }
};
using GeneralNamesOwner = std::unique_ptr<GENERAL_NAMES, GeneralNamesDeleter>;
absl::StatusOr<GeneralNamesOwner> AlternativeNames(const X509& certificate);

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_PKI_CERTIFICATE_H_
