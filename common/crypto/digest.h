// Hash algorithms by their kernel and TCG names, digests as values, and
// hashing.
#ifndef CUPEL_COMMON_CRYPTO_DIGEST_H_
#define CUPEL_COMMON_CRYPTO_DIGEST_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/util/bytes.h"

namespace cupel::crypto {

// Linux include/uapi/linux/hash_info.h, those that an IMA list may name.
enum class HashAlgorithm : uint8_t {
  kMd4,
  kMd5,
  kSha1,
  kRmd160,
  kSha224,
  kSha256,
  kSha384,
  kSha512,
  kWp256,
  kWp384,
  kWp512,
  kSm3_256,
  kStreebog256,
  kStreebog512,
  kSha3_256,
  kSha3_384,
  kSha3_512,
};

inline constexpr size_t kMaxDigestSize = 64;

// In bytes, in the order of the enumerators.
inline constexpr std::array<uint8_t, 17> kDigestSizes = {
    16, 16, 20, 20, 28, 32, 48, 64, 32, 48, 64, 32, 32, 64, 32, 48, 64};
constexpr size_t DigestSize(HashAlgorithm algorithm) {
  return kDigestSizes[static_cast<size_t>(algorithm)];
}

// The kernel's name: "sha256", "sm3", "streebog256", "sha3-256".
absl::string_view HashAlgorithmName(HashAlgorithm algorithm);

// The inverse of HashAlgorithmName; also "sm3-256" and "sm3_256". nullopt for
// any other text; case matters.
std::optional<HashAlgorithm> HashAlgorithmFromName(absl::string_view name);

// The SHA-1 or SHA-2 algorithm whose digests have `size` bytes: what a digest
// in an allowlist or a Keylime policy means by its length alone.
std::optional<HashAlgorithm> ShaFromDigestSize(size_t size);

// A digest with its algorithm. Two digests are equal only if both are: a SM3
// digest never equals a SHA-256 one of the same bytes.
class Digest {
 public:
  // All zeros.
  explicit Digest(HashAlgorithm algorithm = HashAlgorithm::kSha256)
      : algorithm_(algorithm) {}

  // kInvalidArgument unless `bytes` has exactly the algorithm's size.
  static absl::StatusOr<Digest> Create(HashAlgorithm algorithm,
                                       std::span<const uint8_t> bytes);

  // Every byte `fill`.
  static Digest Filled(HashAlgorithm algorithm, uint8_t fill);

  HashAlgorithm algorithm() const { return algorithm_; }
  size_t size() const { return DigestSize(algorithm_); }
  std::span<const uint8_t> bytes() const {
    return std::span(bytes_).first(size());
  }
  std::span<uint8_t> mutable_bytes() { return std::span(bytes_).first(size()); }

  bool IsZero() const { return cupel::IsZero(bytes()); }
  // Lower-case hex, without the algorithm.
  std::string Hex() const;
  // "sha256:" and the hex, with the kernel's name of the algorithm.
  std::string ToString() const;

  friend bool operator==(const Digest& a, const Digest& b) {
    return a.algorithm_ == b.algorithm_ &&
           std::memcmp(a.bytes_.data(), b.bytes_.data(), a.size()) == 0;
  }

 private:
  HashAlgorithm algorithm_;
  std::array<uint8_t, kMaxDigestSize> bytes_{};
};

// True for SHA-1, SHA-224, SHA-256, SHA-384 and SHA-512: what Hash can
// compute.
bool CanHash(HashAlgorithm algorithm);

// The digest of the parts, one after another. Uses OpenSSL's low-level
// functions: a short message costs one compression, not a provider look-up.
// `algorithm` must satisfy CanHash; for others the process ends, since no
// input may choose one here unchecked.
Digest Hash(HashAlgorithm algorithm,
            std::initializer_list<std::span<const uint8_t>> parts);
inline Digest Hash(HashAlgorithm algorithm, std::span<const uint8_t> message) {
  return Hash(algorithm, {message});
}

// Hashes messages that begin alike. With SHA-256 their beginning is hashed
// once; with the others it is spared no work. A value type.
class HashPrefix {
 public:
  // Of an algorithm for which CanHash is false, HashWith ends the process.
  HashPrefix(HashAlgorithm algorithm, std::span<const uint8_t> prefix);

  // The digest of `prefix` and `rest`, one after another.
  Digest HashWith(std::span<const uint8_t> rest) const;

 private:
  HashAlgorithm algorithm_;
  std::vector<uint8_t> prefix_;  // unless SHA-256
  // OpenSSL's SHA256_CTX behind the prefix.
  alignas(8) std::array<uint8_t, 112> sha256_{};
};

// PCR = H(PCR || value), with the PCR's algorithm (TPM 2.0 Part 1, 17.2).
// `value` may be of any size, as the algorithm's hash takes it.
void ExtendPcr(Digest& pcr, std::span<const uint8_t> value);

}  // namespace cupel::crypto

#endif  // CUPEL_COMMON_CRYPTO_DIGEST_H_
