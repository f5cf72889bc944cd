#include "tenant/policy_upload.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/policy/policy_file.h"
#include "common/policy/policy_writer.h"
#include "common/util/bytes.h"
#include "common/util/escape.h"
#include "common/util/file.h"
#include "common/util/status_macros.h"
#include "tenant/console.h"

namespace cupel::tenant {
namespace {

// The upload that is one file: JSON as it is, signature and all. Read once, so
// that what is checked is what is sent, and a pipe will do.
absl::StatusOr<std::string> LoadOne(const std::string& path,
                                    const std::string& key) {
  CUPEL_ASSIGN_OR_RETURN(const auto bytes,
                         ReadFile(path, policy::kMaxPolicyFileSize));
  CUPEL_ASSIGN_OR_RETURN(auto policy, ParsePolicy(bytes, path, key));
  const NamedPolicy named = {
      InputName(path),
      std::make_shared<const policy::RuntimePolicy>(std::move(policy))};
  CUPEL_RETURN_IF_ERROR(Compile({named}).status());
  if (absl::StartsWith(absl::StripLeadingAsciiWhitespace(AsText(bytes)), "{")) {
    return std::string(AsText(bytes));
  }
  return policy::WritePolicyJson(*named.policy);
}

}  // namespace

absl::StatusOr<std::string> LoadUpload(const PolicyFlags& flags) {
  const std::vector<std::string> paths = flags.Paths();
  if (std::ranges::find(paths, "-") != paths.end()) {
    return absl::InvalidArgumentError(
        "a policy for the verifier comes from a file, not from standard input");
  }
  const size_t files = paths.size() - (flags.key.empty() ? 0 : 1);
  if (files == 1 && flags.policies.size() == 1) {
    return LoadOne(flags.policies.front(), flags.key);
  }
  if (paths.size() == 1 && !flags.allowlist.empty()) {
    return LoadOne(flags.allowlist, flags.key);
  }
  CUPEL_ASSIGN_OR_RETURN(const auto policies, LoadPolicies(flags));
  if (policies.size() != 1) {
    return absl::InvalidArgumentError(
        "one policy at a time: a file, or --allowlist with --exclude and "
        "--deny");
  }
  // What it is judged with has to compile here already.
  CUPEL_RETURN_IF_ERROR(Compile(policies).status());
  return policy::WritePolicyJson(*policies.front().policy);
}

absl::Status StorePolicy(Fleet& fleet, const std::string& name,
                         absl::string_view file, bool* created) {
  auto stored = fleet.PutPolicy(name, /*create=*/true, file);
  if (created != nullptr) *created = stored.ok();
  if (absl::IsAlreadyExists(stored.status())) {
    stored = fleet.PutPolicy(name, /*create=*/false, file);
  }
  if (stored.ok()) PrintWarnings(*stored);
  return stored.status();
}

void PrintWarnings(const StoredPolicy& policy) {
  for (const std::string& warning : policy.warnings) {
    PrintError(absl::StrCat("warning: ", EscapeForDisplay(warning)));
  }
}

}  // namespace cupel::tenant
