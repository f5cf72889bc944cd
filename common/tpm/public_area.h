// TPMT_PUBLIC: a TPM key's public area, its names, and what an attestation key
// must be.
#ifndef CUPEL_COMMON_TPM_PUBLIC_AREA_H_
#define CUPEL_COMMON_TPM_PUBLIC_AREA_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/crypto/digest.h"
#include "common/crypto/public_key.h"
#include "common/tpm/constants.h"

namespace cupel::tpm {

// TPMT_SYM_DEF_OBJECT. TPM 2.0 Part 2, 11.1.7.
struct SymmetricDefinition {
  AlgId algorithm = AlgId::kNull;
  uint16_t key_bits = 0;      // 0 for kNull
  AlgId mode = AlgId::kNull;  // kNull for kNull
  friend bool operator==(const SymmetricDefinition&,
                         const SymmetricDefinition&) = default;
};

// A signing or encryption scheme, or a KDF scheme: kNull and kRsaes have no
// hash. TPM 2.0 Part 2, 11.2.
struct KeyScheme {
  AlgId scheme = AlgId::kNull;
  std::optional<crypto::HashAlgorithm> hash;
  friend bool operator==(const KeyScheme&, const KeyScheme&) = default;
};

// The public area of an RSA key, or of an ECC key on P-256 or P-384. All fields
// are kept as they came, so that Serialize() gives back the bytes parsed: names
// are hashes over them.
struct PublicArea {
  AlgId type = AlgId::kRsa;  // kRsa or kEcc
  // SHA-1, SHA-256, SHA-384 or SHA-512.
  crypto::HashAlgorithm name_algorithm = crypto::HashAlgorithm::kSha256;
  uint32_t attributes = 0;           // kAttr...
  std::vector<uint8_t> auth_policy;  // empty, or of name_algorithm's size
  SymmetricDefinition symmetric;
  KeyScheme scheme;

  // kRsa alone.
  uint16_t key_bits = 0;
  uint32_t exponent = 0;         // 0 stands for 65537
  std::vector<uint8_t> modulus;  // key_bits / 8 bytes, big-endian

  // kEcc alone.
  crypto::EcCurve curve = crypto::EcCurve::kP256;
  KeyScheme kdf;
  std::vector<uint8_t> x;  // big-endian; at most the field's size
  std::vector<uint8_t> y;

  // As a TPM marshals it: a TPMT_PUBLIC.
  std::vector<uint8_t> Serialize() const;

  // The Name: nameAlg || H(TPMT_PUBLIC), H being nameAlg.
  // TPM 2.0 Part 1, 16 ("Names").
  std::vector<uint8_t> Name() const;

  // kInvalidArgument if it is no valid key: RSA under 2048 bits, a point that
  // is not on the curve.
  absl::StatusOr<crypto::PublicKey> ToPublicKey() const;

  friend bool operator==(const PublicArea&, const PublicArea&) = default;
};

// Parses a TPMT_PUBLIC (TPM 2.0 Part 2, 12.2.4). Big-endian; nothing may be
// left over.
//
// Errors: kUnimplemented, with its name, for a type other than RSA and ECC, a
// curve other than P-256 and P-384, and schemes that Cupel does not parse;
// kInvalidArgument or kResourceExhausted names the field: cut, oversized, a
// reserved attribute bit, an authPolicy or a modulus of the wrong size.
absl::StatusOr<PublicArea> ParsePublicArea(std::span<const uint8_t> bytes);

// Parses a TPM2B_PUBLIC: a u16 size, exactly that of the rest, and the above.
absl::StatusOr<PublicArea> ParseTpm2bPublic(std::span<const uint8_t> bytes);

// Parses a file that holds either, as tpm2-tools writes with -f tss (TPM2B) and
// -f tpmt. No bytes can be both: the second u16 is the type (RSA 0x0001, ECC
// 0x0023) in a TPM2B_PUBLIC and the name algorithm (a hash) in a TPMT_PUBLIC.
absl::StatusOr<PublicArea> ParsePublicFile(std::span<const uint8_t> bytes);

// The Qualified Name of an object: nameAlg || H(parent's QN || Name), with the
// object's own nameAlg, which is the first two bytes of `name`.
// TPM 2.0 Part 1, 16. kInvalidArgument if `name` is no such name.
absl::StatusOr<std::vector<uint8_t>> QualifiedName(
    std::span<const uint8_t> parent_qualified_name,
    std::span<const uint8_t> name);

// The Qualified Name of a primary key of the endorsement hierarchy, as an EK
// is: the parent is the hierarchy, whose name is its handle.
absl::StatusOr<std::vector<uint8_t>> EkQualifiedName(
    std::span<const uint8_t> ek_name);

// What makes a key one that signs nothing but what the TPM made itself.
enum class AkRequirement : uint8_t {
  kRestricted,
  kSign,
  kNotDecrypt,
  kFixedTpm,
  kFixedParent,
  kSensitiveDataOrigin,
  kScheme,
  kSchemeHash,
  kNameAlgorithm,
  kKeySize,
};
struct AkViolation {
  AkRequirement requirement;
  std::string detail;  // "attribute restricted is clear"
};

// All that keeps `area` from being an attestation key: restricted, sign,
// fixedTPM, fixedParent and sensitiveDataOrigin set; decrypt clear; a fixed
// scheme (RSASSA, RSAPSS or ECDSA, as the type takes) with SHA-256, SHA-384 or
// SHA-512; the name algorithm one of the same; RSA of at least 2048 bits. Empty
// if nothing does.
std::vector<AkViolation> ValidateAkAttributes(const PublicArea& area);

}  // namespace cupel::tpm

#endif  // CUPEL_COMMON_TPM_PUBLIC_AREA_H_
