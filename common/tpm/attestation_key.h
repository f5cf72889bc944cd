#ifndef CUPEL_COMMON_TPM_ATTESTATION_KEY_H_
#define CUPEL_COMMON_TPM_ATTESTATION_KEY_H_

#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/crypto/public_key.h"
#include "common/tpm/public_area.h"
#include "common/tpm/signature.h"

namespace cupel::tpm {

// A public key to check quotes with, prepared once: parsed, its Name computed,
// its attributes judged. Immutable, cheap to copy, may be used by several
// threads.
//
// With a public area, the key's attributes and scheme are known; with a bare
// public key they are not, and a quote may be by a key that signs anything.
class AttestationKey {
 public:
  // A key whose attributes do not make it an attestation key is accepted here,
  // and every quote by it fails: see violations(). kInvalidArgument if it is no
  // valid key at all.
  static absl::StatusOr<AttestationKey> FromPublicArea(const PublicArea& area);

  static AttestationKey FromPublicKey(crypto::PublicKey key);

  // From a file: PEM, TPM2B_PUBLIC or TPMT_PUBLIC, as its content says. Errors
  // as for PublicKey::FromPem and ParsePublicFile.
  static absl::StatusOr<AttestationKey> FromFile(
      std::span<const uint8_t> content);

  const crypto::PublicKey& key() const { return key_; }

  // False for a bare public key: name() is empty then, scheme() kNull, and
  // violations() says nothing.
  bool has_public_area() const { return !name_.empty(); }
  const std::vector<uint8_t>& name() const { return name_; }
  // The fixed scheme; kNull where the key has none.
  const KeyScheme& scheme() const { return scheme_; }
  const std::vector<AkViolation>& violations() const { return violations_; }

  // CheckSignature of signature.h with this key; faster for the fixed scheme,
  // for which everything is looked up beforehand.
  absl::Status CheckSignature(const Signature& signature,
                              std::span<const uint8_t> message) const;

 private:
  explicit AttestationKey(crypto::PublicKey key) : key_(std::move(key)) {}

  crypto::PublicKey key_;
  std::vector<uint8_t> name_;
  KeyScheme scheme_;
  std::vector<AkViolation> violations_;
  // For scheme_; nullopt where there is no usable fixed scheme.
  std::optional<crypto::SignatureVerifier> verifier_;
};

}  // namespace cupel::tpm

#endif  // CUPEL_COMMON_TPM_ATTESTATION_KEY_H_
