// Keylime's tpm_policy: static PCR values, as JSON.
//
//   {"22": [HEX, ...], "15": HEX, "mask": "0x..."}
#ifndef CUPEL_COMMON_POLICY_TPM_POLICY_H_
#define CUPEL_COMMON_POLICY_TPM_POLICY_H_

#include <cstddef>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/policy/boot_rule.h"
#include "common/policy/runtime_policy.h"

namespace cupel::policy {

inline constexpr size_t kMaxTpmPolicySize = size_t{64} << 10;

struct TpmPolicy {
  StaticPcrs pcrs;
  // tpm_policy.resettable: software can set PCR 16 and 23 to any value.
  // tpm_policy.empty: nothing is asked for.
  // digest.sha1
  std::vector<PolicyWarning> warnings;
};

// Parses a tpm_policy of at most kMaxTpmPolicySize. The bank of a value follows
// from its length (SHA-1, SHA-256, SHA-384, SHA-512; hex of either case). The
// mask lists the PCRs that must be quoted; without one these are the PCRs with
// values.
//
// kInvalidArgument names line and member: a key that is neither a PCR (0 to 23,
// without leading zeros) nor "mask", a PCR twice or without a value, another
// length, a mask over 24 bits or without a PCR that has values.
// kResourceExhausted for a larger file.
absl::StatusOr<TpmPolicy> ParseTpmPolicy(absl::string_view json,
                                         absl::string_view origin);

}  // namespace cupel::policy

#endif  // CUPEL_COMMON_POLICY_TPM_POLICY_H_
