// A tpm_policy that parses is consistent, and checks to a mismatch for each of
// its PCRs when nothing is quoted.
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <optional>

#include "common/policy/boot_rule.h"
#include "common/policy/tpm_policy.h"
#include "common/util/bytes.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto policy =
      cupel::policy::ParseTpmPolicy(cupel::AsText({data, size}), "fuzz");
  if (!policy.ok()) return 0;
  const cupel::policy::StaticPcrs& pcrs = policy->pcrs;
  if (pcrs.mask >> cupel::policy::kPcrCount != 0) std::abort();
  for (const auto& [pcr, values] : pcrs.values) {
    if (pcr >= cupel::policy::kPcrCount || values.empty()) std::abort();
    if ((pcrs.mask >> pcr & 1) == 0) std::abort();
  }
  const auto nothing = [](cupel::crypto::HashAlgorithm, uint32_t) {
    return std::optional<cupel::crypto::Digest>();
  };
  const auto mismatches = cupel::policy::CheckBoot(pcrs, nothing);
  if (mismatches.size() != static_cast<size_t>(std::popcount(pcrs.mask))) {
    std::abort();
  }
  return 0;
}
