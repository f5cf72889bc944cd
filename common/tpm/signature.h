// TPMT_SIGNATURE: a TPM's signature with its scheme.
#ifndef CUPEL_COMMON_TPM_SIGNATURE_H_
#define CUPEL_COMMON_TPM_SIGNATURE_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/crypto/digest.h"
#include "common/crypto/public_key.h"
#include "common/tpm/constants.h"

namespace cupel::tpm {

struct Signature {
  AlgId scheme = AlgId::kRsassa;  // kRsassa, kRsapss or kEcdsa
  crypto::HashAlgorithm hash = crypto::HashAlgorithm::kSha256;
  std::vector<uint8_t> rsa;  // RSASSA and RSAPSS
  std::vector<uint8_t> r;    // ECDSA; big-endian, leading zeros may be missing
  std::vector<uint8_t> s;
  friend bool operator==(const Signature&, const Signature&) = default;
};

// Parses a TPMT_SIGNATURE (TPM 2.0 Part 2, 11.3.4), which is what tpm2_quote -s
// writes. Big-endian; nothing may be left over.
//
// Errors: kUnimplemented, with its name, for another scheme than RSASSA, RSAPSS
// and ECDSA, or another hash than SHA-256, SHA-384 and SHA-512 (SHA-1 among
// them); kInvalidArgument or kResourceExhausted names the field that is cut,
// empty or too long, or says what is left over.
absl::StatusOr<Signature> ParseSignature(std::span<const uint8_t> bytes);

// As a TPM marshals it.
std::vector<uint8_t> SerializeSignature(const Signature& signature);

// "rsassa with sha256".
std::string SignatureAlgorithmName(AlgId scheme, crypto::HashAlgorithm hash);

// True if a key of this kind can have made a signature of this scheme.
bool SchemeFitsKey(AlgId scheme, const crypto::PublicKey& key);

// `scheme` in the library's words; it must be one that ParseSignature takes.
crypto::SignatureScheme ToSignatureScheme(AlgId scheme);

// Checks `signature` over `message` by `key`. Says nothing about which scheme
// the key should have used: see AttestationKey.
//
// OK only if it is valid; kPermissionDenied if it is not; kInvalidArgument if
// the scheme does not fit the key.
absl::Status CheckSignature(const Signature& signature,
                            const crypto::PublicKey& key,
                            std::span<const uint8_t> message);

// The same with a verifier that was made for the signature's scheme and hash.
absl::Status CheckSignature(const Signature& signature,
                            const crypto::SignatureVerifier& verifier,
                            std::span<const uint8_t> message);

}  // namespace cupel::tpm

#endif  // CUPEL_COMMON_TPM_SIGNATURE_H_
