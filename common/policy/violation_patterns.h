// Patterns of paths whose violations are no failure of their machine
// (docs/protocol.md, 7).
#ifndef CUPEL_COMMON_POLICY_VIOLATION_PATTERNS_H_
#define CUPEL_COMMON_POLICY_VIOLATION_PATTERNS_H_

#include <cstddef>
#include <vector>

#include "absl/status/statusor.h"
#include "common/policy/exclude_list.h"
#include "common/policy/runtime_policy.h"

namespace cupel::policy {

// They are kept with each agent, not in a policy.
inline constexpr size_t kMaxViolationPatterns = 256;
inline constexpr size_t kMaxViolationPatternBytes = size_t{16} << 10;

// Compiles them by the rules of an exclude list, and stricter ones: each
// alternative begins with "/", and there are no more of them than the above.
//
// Errors as from ExcludeSet::Create, kResourceExhausted past the limits above,
// and kInvalidArgument, with the pattern's origin, for one that begins
// otherwise.
absl::StatusOr<ExcludeSet> CompileViolationPatterns(
    std::vector<ExcludePattern> patterns);

}  // namespace cupel::policy

#endif  // CUPEL_COMMON_POLICY_VIOLATION_PATTERNS_H_
