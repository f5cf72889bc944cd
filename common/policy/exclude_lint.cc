#include "common/policy/exclude_lint.h"

#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/policy/exclude_list.h"
#include "common/policy/python_regex.h"
#include "common/policy/special_names.h"
#include "common/policy/warning_collector.h"

namespace cupel::policy {
namespace {

// Names that no pattern is written for: what matches them matches anything.
constexpr absl::string_view kProbe = "/0cupel-probe_7Q";

constexpr absl::string_view kProgramDirectories[] = {"/bin",
                                                     "/sbin",
                                                     "/lib",
                                                     "/lib64",
                                                     "/boot",
                                                     "/opt",
                                                     "/usr/bin",
                                                     "/usr/sbin",
                                                     "/usr/lib",
                                                     "/usr/lib64",
                                                     "/usr/libexec",
                                                     "/usr/local/bin",
                                                     "/usr/local/sbin",
                                                     "/usr/local/lib"};

void LintPattern(const ExcludePattern& pattern, WarningCollector& out) {
  const auto regex = TranslatePythonRegex(pattern.text);
  if (!regex.ok()) return;
  const auto set = ExcludeSet::Create({pattern});
  if (!set.ok()) return;
  const auto warn = [&](absl::string_view code, absl::string_view message) {
    out.Add(code, pattern.origin,
            absl::StrCat("\"", pattern.text, "\" ", message));
  };

  if (set->Matches(absl::StrCat(kProbe, "/", kProbe.substr(1), "."))) {
    warn("exclude.everything", "excludes every path: nothing is judged");
  } else {
    std::vector<absl::string_view> directories;
    for (const absl::string_view directory : kProgramDirectories) {
      if (set->Matches(absl::StrCat(directory, kProbe))) {
        directories.push_back(directory);
      }
    }
    if (!directories.empty()) {
      warn("exclude.executables",
           absl::StrCat("excludes all of ", absl::StrJoin(directories, ", "),
                        ", where programs are"));
    }
  }
  if (set->Matches(kBootAggregate) || set->Matches(kBootAggregateLate)) {
    warn("exclude.boot_aggregate",
         "takes the boot's measurement from judgement");
  }
  if (regex->branches.size() > 1) {
    warn("exclude.alternation",
         "has a | outside of any group: each side stands alone; write "
         "(?:...|...) around what belongs together");
  }
  bool has_dot = false;
  bool has_open_end = false;
  bool starts_with_any = false;
  bool has_no_slash = false;
  for (const RegexBranch& branch : regex->branches) {
    has_dot |= branch.has_bare_dot;
    has_open_end |= branch.has_open_end;
    starts_with_any |= branch.starts_with_any;
    has_no_slash |= !branch.starts_with_any && !branch.starts_with_slash &&
                    !IsSpecialName(branch.literal_prefix);
  }
  if (has_open_end) {
    warn("exclude.prefix",
         "also excludes every path that goes on after the last name (/tmp "
         "excludes /tmpfoo); end it with / or $");
  }
  if (has_dot) {
    warn("exclude.dot",
         "has a dot that stands for any character: put a backslash before it");
  }
  if (starts_with_any) {
    warn("exclude.leading_wildcard",
         "starts with a wildcard and matches in every directory");
  }
  if (has_no_slash) {
    warn("exclude.no_leading_slash",
         "does not start with /, and patterns are matched from the start of "
         "the path");
  }
  if (absl::StartsWith(pattern.text, "#")) {
    warn("exclude.comment", "is a pattern: there are no comments");
  }
  if (pattern.text.find_first_not_of(" \t") != 0 ||
      pattern.text.find_last_not_of(" \t") + 1 != pattern.text.size()) {
    warn("exclude.whitespace",
         "starts or ends with a blank, which is part of the pattern");
  }
}

}  // namespace

std::vector<PolicyWarning> LintExcludes(
    std::span<const ExcludePattern> patterns, absl::string_view file) {
  WarningCollector warnings;
  for (const ExcludePattern& pattern : patterns) {
    LintPattern(pattern, warnings);
  }
  return std::move(warnings).Take(file);
}

}  // namespace cupel::policy
