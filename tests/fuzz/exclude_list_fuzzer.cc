// An excludes file, a NUL, and a path. A list with a refused pattern excludes
// nothing; no list excludes the empty path, or boot_aggregate unless it names
// it; and the patterns alone say what they say together. As patterns of
// violations they match paths alone.
#include <cstdint>
#include <cstdlib>

#include "absl/strings/match.h"
#include "common/policy/exclude_list.h"
#include "common/policy/special_names.h"
#include "common/policy/violation_patterns.h"
#include "common/util/bytes.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using cupel::policy::ExcludeSet;
  const absl::string_view input = cupel::AsText({data, size});
  const size_t end = input.find('\0');
  const absl::string_view text = input.substr(0, end);
  const absl::string_view path =
      end == input.npos ? "/tmp/a" : input.substr(end + 1);

  const auto list = cupel::policy::ParseExcludeList(text, "fuzz");
  if (!list.ok()) return 0;
  const auto set = ExcludeSet::Create(list->patterns);
  if (!set.ok()) std::abort();
  if (set->Matches("")) std::abort();

  bool any = false;
  for (const auto& pattern : list->patterns) {
    const auto alone = ExcludeSet::Create({pattern});
    if (!alone.ok()) std::abort();
    const bool matches = alone->Matches(path);
    any = any || matches;
    if (matches && !absl::StartsWith(path, "/") &&
        absl::StartsWith(pattern.text, "/") &&
        !absl::StrContains(pattern.text, "|")) {
      std::abort();
    }
    // Some spelling of the whole name: at least as long as the name.
    for (const absl::string_view name :
         {cupel::policy::kBootAggregate, cupel::policy::kBootAggregateLate}) {
      if (alone->Matches(name) && pattern.text.size() < name.size()) {
        std::abort();
      }
    }
  }
  if (any != set->Matches(path)) std::abort();
  // Patterns of violations are stricter, and match no more.
  const auto violations =
      cupel::policy::CompileViolationPatterns(list->patterns);
  if (violations.ok() &&
      violations->Matches(path) != (any && absl::StartsWith(path, "/"))) {
    std::abort();
  }
  return 0;
}
