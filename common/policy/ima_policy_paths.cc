#include "common/policy/ima_policy_paths.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/util/escape.h"

namespace cupel::policy {

absl::Status ValidateImaPolicyPaths(std::span<const std::string> paths) {
  if (paths.size() > kMaxImaPolicyPaths) {
    return absl::InvalidArgumentError(
        absl::StrCat("at most ", kMaxImaPolicyPaths,
                     " paths of an IMA policy, not ", paths.size()));
  }
  for (const std::string& path : paths) {
    if (!absl::StartsWith(path, "/") || path.size() > kMaxImaPolicyPathSize ||
        absl::StrContains(path, '\0')) {
      return absl::InvalidArgumentError(absl::StrCat(
          "an IMA policy's path starts with /, and has no NUL and at most ",
          kMaxImaPolicyPathSize, " bytes, unlike ", Quoted(path, 64)));
    }
  }
  return absl::OkStatus();
}

}  // namespace cupel::policy
