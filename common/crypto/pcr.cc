#include "common/crypto/pcr.h"

namespace cupel::crypto {

std::optional<HashAlgorithm> PreferredBank(
    std::span<const HashAlgorithm> banks,
    absl::FunctionRef<bool(HashAlgorithm)> is_wanted) {
  std::optional<HashAlgorithm> preferred;
  for (const HashAlgorithm bank : banks) {
    if (!IsReplayBank(bank) || !is_wanted(bank)) continue;
    if (!preferred.has_value() || DigestSize(bank) < DigestSize(*preferred)) {
      preferred = bank;
    }
  }
  return preferred;
}

}  // namespace cupel::crypto
