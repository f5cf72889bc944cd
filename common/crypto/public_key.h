#ifndef CUPEL_COMMON_CRYPTO_PUBLIC_KEY_H_
#define CUPEL_COMMON_CRYPTO_PUBLIC_KEY_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/crypto/digest.h"
#include "common/crypto/openssl.h"

namespace cupel::crypto {

enum class KeyType { kRsa, kEcP256, kEcP384, kEcP521 };
enum class EcCurve { kP256, kP384 };
enum class SignatureScheme {
  kRsaPkcs1,  // RSASSA-PKCS1-v1_5, RFC 8017, 8.2
  kRsaPss,    // RSASSA-PSS, RFC 8017, 8.1; MGF1 with the signature's hash
  kEcdsa,     // signature in DER: SEQUENCE { r, s }
};

// An RSA or EC public key fit to verify signatures with: RSA of 2048 to 16384
// bits, without a factor below 752 and with an odd exponent from 3 to 2^256, EC
// on P-256, P-384 or P-521 with the point on the curve. The same key is always
// judged alike. That an RSA modulus is the product of two primes is for whoever
// vouches for the key: a TPM, a pinned CA, an operator. Immutable; cheap to
// copy (shared); may be used by several threads.
class PublicKey {
 public:
  // PEM "PUBLIC KEY" (SubjectPublicKeyInfo) or "CERTIFICATE"; the first block
  // of either kind counts. kInvalidArgument for anything else, and for a key
  // that is not fit.
  static absl::StatusOr<PublicKey> FromPem(absl::string_view pem);
  // DER SubjectPublicKeyInfo, nothing left over.
  static absl::StatusOr<PublicKey> FromDer(std::span<const uint8_t> der);
  // `modulus` in big-endian order.
  static absl::StatusOr<PublicKey> FromRsa(std::span<const uint8_t> modulus,
                                           uint32_t exponent);
  // Coordinates in big-endian order, at most the field's size each.
  static absl::StatusOr<PublicKey> FromEcPoint(EcCurve curve,
                                               std::span<const uint8_t> x,
                                               std::span<const uint8_t> y);

  KeyType type() const { return type_; }
  // "RSA-2048", "EC P-256".
  std::string Description() const;
  // PEM "PUBLIC KEY".
  absl::StatusOr<std::string> ToPem() const;
  // The modulus' size in bits, or the curve's.
  int bits() const;
  // For use by code in common/ that needs more than a signature check.
  EVP_PKEY* get() const { return key_.get(); }

  // Checks `signature` over `message`.
  //
  // OK only if it is valid. kPermissionDenied if it is not. kInvalidArgument if
  // the scheme does not fit the key, or the hash is not SHA-256, SHA-384 or
  // SHA-512 (SHA-1 and MD5 signatures are never valid here).
  absl::Status VerifySignature(SignatureScheme scheme, HashAlgorithm hash,
                               std::span<const uint8_t> message,
                               std::span<const uint8_t> signature) const;

 private:
  PublicKey(Owned<EVP_PKEY> key, KeyType type)
      : key_(std::move(key)), type_(type) {}
  static absl::StatusOr<PublicKey> FromEvp(Owned<EVP_PKEY> key);

  std::shared_ptr<EVP_PKEY> key_;
  KeyType type_;
};

// A key with a scheme and a hash, everything that a check needs looked up
// beforehand: for keys that verify again and again. Immutable, cheap to copy
// (shared), may be used by several threads.
class SignatureVerifier {
 public:
  // kInvalidArgument as PublicKey::VerifySignature.
  static absl::StatusOr<SignatureVerifier> Create(const PublicKey& key,
                                                  SignatureScheme scheme,
                                                  HashAlgorithm hash);

  // As PublicKey::VerifySignature.
  absl::Status Verify(std::span<const uint8_t> message,
                      std::span<const uint8_t> signature) const;

 private:
  explicit SignatureVerifier(std::shared_ptr<const EVP_MD_CTX> prepared)
      : prepared_(std::move(prepared)) {}

  // Copied for each signature, never used itself.
  std::shared_ptr<const EVP_MD_CTX> prepared_;
};

// {r, s} in big-endian order to DER, as OpenSSL verifies it.
absl::StatusOr<std::vector<uint8_t>> EcdsaSignatureToDer(
    std::span<const uint8_t> r, std::span<const uint8_t> s);

// The implementation of SHA-1, SHA-256, SHA-384 or SHA-512, fetched once a
// process; nullptr for others.
const EVP_MD* FetchedDigest(HashAlgorithm algorithm);

}  // namespace cupel::crypto

#endif  // CUPEL_COMMON_CRYPTO_PUBLIC_KEY_H_
