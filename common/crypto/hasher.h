#ifndef CUPEL_COMMON_CRYPTO_HASHER_H_
#define CUPEL_COMMON_CRYPTO_HASHER_H_

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/crypto/digest.h"
#include "common/crypto/openssl.h"

namespace cupel::crypto {

// The digest of a message that comes in pieces: a file's. What is in memory is
// cheaper to hash with Hash(). Not thread-safe.
class Hasher {
 public:
  // SHA-1, SHA-256, SHA-384 or SHA-512; kUnimplemented for other algorithms.
  static absl::StatusOr<Hasher> Create(HashAlgorithm algorithm);

  absl::Status Update(std::span<const uint8_t> piece);
  // The digest of all pieces; the next one begins another message.
  absl::StatusOr<Digest> Finish();

 private:
  explicit Hasher(HashAlgorithm algorithm)
      : algorithm_(algorithm), context_(EVP_MD_CTX_new()) {}
  absl::Status Start();

  HashAlgorithm algorithm_;
  Owned<EVP_MD_CTX> context_;
};

}  // namespace cupel::crypto

#endif  // CUPEL_COMMON_CRYPTO_HASHER_H_
