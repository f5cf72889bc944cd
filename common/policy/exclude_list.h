// Excludes: patterns of paths that appraisal does not judge. They are the
// weakest rule of a policy, and an error in them must never widen it.
#ifndef CUPEL_COMMON_POLICY_EXCLUDE_LIST_H_
#define CUPEL_COMMON_POLICY_EXCLUDE_LIST_H_

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/policy/runtime_policy.h"

namespace cupel::policy {

inline constexpr size_t kMaxExcludePatternSize = 4096;
inline constexpr size_t kMaxExcludePatterns = 10000;
inline constexpr size_t kMaxExcludeBytes = size_t{1} << 20;  // of all patterns

// Patterns compiled to be asked for many paths. Immutable; may be used by any
// number of threads.
//
// Which paths a pattern can exclude:
//
// * Paths that start with "/": any pattern.
// * Other names ("memfd:x", ".ima"): an alternative of a pattern that starts
//   with the plain characters of such a name. `.*` excludes no keyring.
// * "boot_aggregate" and "boot_aggregate_late": only an alternative that starts
//   with all of this name.
//
// An alternative is one side of a `|` outside of all groups.
class ExcludeSet {
 public:
  // Excludes nothing.
  ExcludeSet();
  ExcludeSet(ExcludeSet&&) noexcept;
  ExcludeSet& operator=(ExcludeSet&&) noexcept;
  ~ExcludeSet();

  // kInvalidArgument lists every pattern that is refused, with its origin and
  // the reason (python_regex.h), that is empty, or that matches the empty path
  // and so all paths. kResourceExhausted past the limits above, or if RE2
  // would need more than 64 MiB for all of them.
  static absl::StatusOr<ExcludeSet> Create(
      std::vector<ExcludePattern> patterns);

  // True if a pattern matches the start of `path`. Never backtracks: at worst
  // the path's size times the patterns' size, usually the path's size alone.
  // A match that RE2 gives up for want of memory is no match.
  bool Matches(absl::string_view path) const;

  std::span<const ExcludePattern> patterns() const;

 private:
  struct State;
  std::unique_ptr<const State> state_;
};

struct ExcludeList {
  std::vector<ExcludePattern> patterns;
  std::vector<PolicyWarning> warnings;  // of the file and of exclude_lint.h
};

// Parses an excludes file: a pattern a line. Blank lines are skipped. A line
// that starts with `#` is a pattern, as it is for Keylime, and a warning.
//
// kInvalidArgument as from ExcludeSet::Create, for every bad line at once; the
// origin is "`origin`:LINE". kResourceExhausted past the limits above.
absl::StatusOr<ExcludeList> ParseExcludeList(absl::string_view text,
                                             absl::string_view origin);

}  // namespace cupel::policy

#endif  // CUPEL_COMMON_POLICY_EXCLUDE_LIST_H_
