// What every part of Cupel has to know about PCRs.
#ifndef CUPEL_COMMON_CRYPTO_PCR_H_
#define CUPEL_COMMON_CRYPTO_PCR_H_

#include <cstdint>
#include <optional>
#include <span>

#include "absl/functional/function_ref.h"
#include "common/crypto/digest.h"

namespace cupel::crypto {

// A PC client TPM has PCR 0 to 23 (TCG PC Client Platform TPM Profile, 4.6).
inline constexpr uint32_t kPcrCount = 24;

// PCR 16 is for debugging, 17 to 22 belong to dynamic launch, 23 to
// applications: all can be reset while the machine runs (4.6.2 there).
inline constexpr uint32_t kFirstResettablePcr = 16;

// The algorithms that a bank can have: the hashes with a TPM_ALG_ID (TCG
// Algorithm Registry) that Cupel has a name for.
inline constexpr HashAlgorithm kPcrBanks[] = {
    HashAlgorithm::kSha1,     HashAlgorithm::kSha256,  HashAlgorithm::kSha384,
    HashAlgorithm::kSha512,   HashAlgorithm::kSm3_256, HashAlgorithm::kSha3_256,
    HashAlgorithm::kSha3_384, HashAlgorithm::kSha3_512};

// The TPM_ALG_ID of a bank's hash (TCG Algorithm Registry); nullopt for a hash
// that is none of kPcrBanks.
constexpr std::optional<uint16_t> BankTcgId(HashAlgorithm bank) {
  switch (bank) {
    case HashAlgorithm::kSha1:
      return 0x0004;
    case HashAlgorithm::kSha256:
      return 0x000b;
    case HashAlgorithm::kSha384:
      return 0x000c;
    case HashAlgorithm::kSha512:
      return 0x000d;
    case HashAlgorithm::kSm3_256:
      return 0x0012;
    case HashAlgorithm::kSha3_256:
      return 0x0027;
    case HashAlgorithm::kSha3_384:
      return 0x0028;
    case HashAlgorithm::kSha3_512:
      return 0x0029;
    default:
      return std::nullopt;
  }
}
// The inverse; nullopt for an id of something else.
constexpr std::optional<HashAlgorithm> BankFromTcgId(uint16_t id) {
  for (const HashAlgorithm bank : kPcrBanks) {
    if (BankTcgId(bank) == id) return bank;
  }
  return std::nullopt;
}

// True for the banks that Cupel can compute: SHA-1, SHA-256, SHA-384 and
// SHA-512. A list can be replayed against these alone.
constexpr bool IsReplayBank(HashAlgorithm algorithm) {
  switch (algorithm) {
    case HashAlgorithm::kSha1:
    case HashAlgorithm::kSha256:
    case HashAlgorithm::kSha384:
    case HashAlgorithm::kSha512:
      return true;
    default:
      return false;
  }
}

// Of those of `banks` that `is_wanted` and in which a list can be replayed, the
// one with the smallest digest: SHA-256, unless SHA-1 is wanted. Larger ones
// are no better: a kernel that has SHA-384 or SHA-512 only as a module fills
// those banks with padded SHA-1 digests, which nobody sees from outside.
// nullopt where there is none.
std::optional<HashAlgorithm> PreferredBank(
    std::span<const HashAlgorithm> banks,
    absl::FunctionRef<bool(HashAlgorithm)> is_wanted);

// The value of a PCR in the bank of an algorithm; nullopt if it is not known.
using PcrLookup =
    absl::FunctionRef<std::optional<Digest>(HashAlgorithm bank, uint32_t pcr)>;

}  // namespace cupel::crypto

#endif  // CUPEL_COMMON_CRYPTO_PCR_H_
