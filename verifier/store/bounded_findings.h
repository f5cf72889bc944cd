// How much of what was found is kept: a machine's users can cause as many
// findings as they like, each with a path of 8 KiB [A15].
#ifndef CUPEL_VERIFIER_STORE_BOUNDED_FINDINGS_H_
#define CUPEL_VERIFIER_STORE_BOUNDED_FINDINGS_H_

#include <cstddef>
#include <span>

#include "common/appraisal/finding.h"

namespace cupel::verifier {

// `max_size` in bytes, of all texts of the findings.
struct FindingBounds {
  size_t max_count = 0;
  size_t max_size = 0;
};

// What an agent's record keeps, and what an event does.
inline constexpr FindingBounds kRecordBounds = {1000, size_t{512} << 10};
inline constexpr FindingBounds kEventBounds = {20, size_t{16} << 10};

// The first of `findings` as far as the bounds allow, and at least one if there
// is one.
std::span<const appraisal::Finding> Bounded(
    std::span<const appraisal::Finding> findings, const FindingBounds& bounds);

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_STORE_BOUNDED_FINDINGS_H_
