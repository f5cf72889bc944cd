#include "verifier/store/bounded_findings.h"

namespace cupel::verifier {

std::span<const appraisal::Finding> Bounded(
    std::span<const appraisal::Finding> findings, const FindingBounds& bounds) {
  size_t size = 0;
  size_t count = 0;
  for (const appraisal::Finding& finding : findings) {
    size += finding.path.size() + finding.expected.size() +
            finding.found.size() + finding.detail.size();
    if (count > 0 && (count == bounds.max_count || size > bounds.max_size)) {
      break;
    }
    ++count;
  }
  return findings.first(count);
}

}  // namespace cupel::verifier
