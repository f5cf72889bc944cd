#include "verifier/store/merged_findings.h"

#include <algorithm>

namespace cupel::verifier {
namespace {

using ::cupel::appraisal::Finding;
using ::cupel::appraisal::Severity;

bool IsSame(const Finding& a, const Finding& b) {
  return a.id == b.id && a.path == b.path && a.found == b.found &&
         a.pcr == b.pcr;
}

}  // namespace

std::vector<Finding> FailuresFirst(const std::vector<Finding>& findings) {
  std::vector<Finding> sorted = findings;
  std::ranges::stable_sort(sorted, [](const Finding& a, const Finding& b) {
    return a.severity > b.severity;
  });
  return sorted;
}

std::vector<Finding> MergeFindings(const std::vector<Finding>& found,
                                   const std::vector<Finding>& on_record) {
  std::vector<Finding> merged = FailuresFirst(found);
  for (const Finding& old : on_record) {
    if (old.severity != Severity::kFailure) continue;
    const bool known = std::ranges::any_of(
        found, [&](const Finding& now) { return IsSame(now, old); });
    if (!known) merged.push_back(old);
  }
  return FailuresFirst(merged);
}

}  // namespace cupel::verifier
