#ifndef CUPEL_TESTS_BENCH_PERCENTILE_H_
#define CUPEL_TESTS_BENCH_PERCENTILE_H_

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "absl/time/time.h"

namespace cupel::bench {

// The least of `values` that a part `part` of them does not exceed: 0.5 is
// their median. Zero without values.
inline absl::Duration Percentile(std::vector<absl::Duration> values,
                                 double part) {
  if (values.empty()) return absl::ZeroDuration();
  std::ranges::sort(values);
  const auto count = static_cast<double>(values.size());
  const auto rank = static_cast<size_t>(std::ceil(part * count));
  return values[std::clamp(rank, size_t{1}, values.size()) - 1];
}

}  // namespace cupel::bench

#endif  // CUPEL_TESTS_BENCH_PERCENTILE_H_
