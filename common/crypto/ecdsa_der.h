// ECDSA signatures in DER, taken apart. (Put together: EcdsaSignatureToDer.)
#ifndef CUPEL_COMMON_CRYPTO_ECDSA_DER_H_
#define CUPEL_COMMON_CRYPTO_ECDSA_DER_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"

namespace cupel::crypto {

// Big-endian, without leading zeros, neither of them zero.
struct EcdsaNumbers {
  std::vector<uint8_t> r;
  std::vector<uint8_t> s;
};

// Takes a signature as EcdsaSignatureToDer makes it. kInvalidArgument for
// anything else: other forms of the same numbers, zero, negative or over-long
// ones, bytes left over.
absl::StatusOr<EcdsaNumbers> EcdsaSignatureFromDer(
    std::span<const uint8_t> der);

}  // namespace cupel::crypto

#endif  // CUPEL_COMMON_CRYPTO_ECDSA_DER_H_
