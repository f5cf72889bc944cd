// Warnings for patterns that exclude more than they seem to.
#ifndef CUPEL_COMMON_POLICY_EXCLUDE_LINT_H_
#define CUPEL_COMMON_POLICY_EXCLUDE_LINT_H_

#include <span>
#include <vector>

#include "absl/strings/string_view.h"
#include "common/policy/runtime_policy.h"

namespace cupel::policy {

// Codes (docs/formats/policy.md says more about each):
//
//   exclude.everything         matches every path that starts with "/"
//   exclude.executables        covers a directory of programs
//   exclude.boot_aggregate     takes the boot from judgement
//   exclude.prefix             goes on past the last name (/tmp: /tmpfoo)
//   exclude.dot                an unescaped dot
//   exclude.leading_wildcard   starts with .* and so matches anywhere
//   exclude.no_leading_slash   can match no path, or not only paths
//   exclude.alternation        a | outside of any group
//   exclude.comment            starts with #, which comments nothing out
//   exclude.whitespace         starts or ends with a space or tab
//
// A pattern that ExcludeSet::Create refuses gets none. `file` is the origin,
// raw, of the warning that stands for those left out of a long list.
std::vector<PolicyWarning> LintExcludes(
    std::span<const ExcludePattern> patterns, absl::string_view file);

}  // namespace cupel::policy

#endif  // CUPEL_COMMON_POLICY_EXCLUDE_LINT_H_
