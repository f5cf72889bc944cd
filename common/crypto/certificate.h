// X.509 certificates as values.
//
// Trust: a certificate says nothing until its path is verified
// (certificate_path.h). Accessors report what stands in it.
#ifndef CUPEL_COMMON_CRYPTO_CERTIFICATE_H_
#define CUPEL_COMMON_CRYPTO_CERTIFICATE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/crypto/digest.h"
#include "common/crypto/openssl.h"
#include "common/crypto/public_key.h"

namespace cupel::crypto {

// The largest certificate that is taken. Those of TPMs have 1 to 2 KiB.
inline constexpr size_t kMaxCertificateSize = 16384;
// The most certificates that one PEM file may hold.
inline constexpr size_t kMaxBundleCount = 1024;

// One certificate, well-formed and nothing more. Immutable, cheap to copy
// (shared), may be used by several threads.
//
// Bytes are kept as they came. TPM vendors sign certificates that are not
// strict DER in every field, so strictness is not asked for: two encodings, and
// two fingerprints, of one certified key are possible.
class Certificate {
 public:
  // Exactly one certificate, nothing left over. kInvalidArgument for anything
  // else, and where an extension that OpenSSL knows is malformed or stands
  // twice; kResourceExhausted over kMaxCertificateSize.
  static absl::StatusOr<Certificate> FromDer(std::span<const uint8_t> der);

  // PEM with exactly one block, a "CERTIFICATE". Text around it is passed over.
  // Errors as FromDer.
  static absl::StatusOr<Certificate> FromPem(absl::string_view pem);

  // PEM with at least one block and at most kMaxBundleCount, all of them
  // "CERTIFICATE", in their order. A block that is cut is an error. Errors as
  // FromDer; they count blocks from 1.
  static absl::StatusOr<std::vector<Certificate>> BundleFromPem(
      absl::string_view pem);

  std::span<const uint8_t> der() const { return *der_; }
  // SHA-256 of the DER: its Hex() is the fingerprint that people compare.
  const Digest& fingerprint() const { return fingerprint_; }

  absl::Time not_before() const { return not_before_; }
  absl::Time not_after() const { return not_after_; }

  // For messages: RFC 2253, escaped for display.
  std::string Subject() const;
  std::string Issuer() const;
  bool HasEmptySubject() const;

  // True for a version 3 certificate whose basicConstraints say CA and whose
  // key usage, if there is one, lets it sign certificates.
  bool IsCa() const;

  // The certified key. kInvalidArgument for a key of another kind or size than
  // PublicKey takes, and for RSA over 4096 bits: checking a signature takes
  // time that grows with the square of its size.
  absl::StatusOr<PublicKey> GetPublicKey() const;

  // Extended key usages as dotted numbers; empty without the extension.
  absl::StatusOr<std::vector<std::string>> ExtendedKeyUsages() const;

  // For code in common/ that needs more.
  X509* get() const { return x509_.get(); }

  friend bool operator==(const Certificate& a, const Certificate& b) {
    return a.fingerprint_ == b.fingerprint_;
  }

 private:
  Certificate() = default;

  std::shared_ptr<X509> x509_;
  std::shared_ptr<const std::vector<uint8_t>> der_;
  Digest fingerprint_;
  absl::Time not_before_;
  absl::Time not_after_;
};

// The certificate at the start of `bytes`, without what follows: NV indices of
// TPMs are often larger than the certificate in them, and padded with zeros or
// ones. Aliases `bytes`. kInvalidArgument if they start with no DER SEQUENCE of
// a definite length that fits.
absl::StatusOr<std::span<const uint8_t>> WithoutPadding(
    std::span<const uint8_t> bytes);

}  // namespace cupel::crypto

#endif  // CUPEL_COMMON_CRYPTO_CERTIFICATE_H_
