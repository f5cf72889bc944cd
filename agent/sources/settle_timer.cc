#include "agent/sources/settle_timer.h"

#include <algorithm>

namespace cupel::agent {

void SettleTimer::Observe(uint64_t entry_count, absl::Time now) {
  if (entry_count == observed_) return;
  if (!has_uncovered()) first_uncovered_ = now;
  observed_ = entry_count;
  last_change_ = now;
}

void SettleTimer::MarkCovered(uint64_t entry_count, absl::Time now) {
  covered_ = entry_count;
  // The quote may have seen entries that nobody has counted yet.
  observed_ = std::max(observed_, entry_count);
  first_uncovered_ = now;
}

absl::Time SettleTimer::due() const {
  if (!has_uncovered()) return absl::InfiniteFuture();
  return std::min(last_change_ + options_.settle,
                  first_uncovered_ + options_.cap);
}

}  // namespace cupel::agent
