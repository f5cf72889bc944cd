// What Keylime's published schema says of a policy that was loaded.
#ifndef CUPEL_TESTS_SUPPORT_POLICY_SCHEMA_H_
#define CUPEL_TESTS_SUPPORT_POLICY_SCHEMA_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/policy/runtime_policy.h"
#include "common/util/escape.h"

namespace cupel::testing {

// OK if `policy` came from a file that the schema takes. Else kInvalidArgument
// with every reason, which are the warnings whose code starts with "schema.".
inline absl::Status ValidateSchema(const policy::RuntimePolicy& policy) {
  std::vector<std::string> problems;
  for (const policy::PolicyWarning& warning : policy.warnings) {
    if (!absl::StartsWith(warning.code, "schema.")) continue;
    problems.push_back(
        EscapeForDisplay(absl::StrCat(warning.origin, " ", warning.message)));
  }
  if (problems.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrJoin(problems, "\n"));
}

}  // namespace cupel::testing

#endif  // CUPEL_TESTS_SUPPORT_POLICY_SCHEMA_H_
