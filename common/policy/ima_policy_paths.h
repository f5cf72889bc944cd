// Where a machine's IMA policy is loaded from (docs/protocol.md, 7).
#ifndef CUPEL_COMMON_POLICY_IMA_POLICY_PATHS_H_
#define CUPEL_COMMON_POLICY_IMA_POLICY_PATHS_H_

#include <cstddef>
#include <span>
#include <string>

#include "absl/status/status.h"

namespace cupel::policy {

// They are kept with each agent, not in a policy.
inline constexpr size_t kMaxImaPolicyPaths = 16;
// PATH_MAX without the NUL.
inline constexpr size_t kMaxImaPolicyPathSize = 4095;

// kInvalidArgument, with the path, for more of them than the above, and for one
// that is longer, has a NUL, or does not begin with "/". Raw bytes.
absl::Status ValidateImaPolicyPaths(std::span<const std::string> paths);

}  // namespace cupel::policy

#endif  // CUPEL_COMMON_POLICY_IMA_POLICY_PATHS_H_
