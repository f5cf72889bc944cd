#include "common/policy/violation_patterns.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/policy/python_regex.h"
#include "common/util/escape.h"
#include "common/util/status_macros.h"

namespace cupel::policy {
namespace {

absl::Status CheckStart(const ExcludePattern& pattern) {
  CUPEL_ASSIGN_OR_RETURN(const TranslatedRegex regex,
                         TranslatePythonRegex(pattern.text));
  if (std::ranges::all_of(regex.branches, [](const RegexBranch& branch) {
        return absl::StartsWith(branch.literal_prefix, "/");
      })) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      EscapeForDisplay(pattern.origin), ": ", Quoted(pattern.text, kShownSize),
      ": begin it, and each of its alternatives, with \"/\""));
}

}  // namespace

absl::StatusOr<ExcludeSet> CompileViolationPatterns(
    std::vector<ExcludePattern> patterns) {
  size_t total_size = 0;
  for (const ExcludePattern& pattern : patterns) {
    total_size += pattern.text.size();
  }
  if (patterns.size() > kMaxViolationPatterns ||
      total_size > kMaxViolationPatternBytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat(patterns.size(), " patterns of violations with ",
                     total_size, " bytes, limits ", kMaxViolationPatterns,
                     " and ", kMaxViolationPatternBytes));
  }
  // It has the better words for what can't be translated.
  CUPEL_ASSIGN_OR_RETURN(ExcludeSet set, ExcludeSet::Create(patterns));
  for (const ExcludePattern& pattern : patterns) {
    CUPEL_RETURN_IF_ERROR(CheckStart(pattern));
  }
  return set;
}

}  // namespace cupel::policy
