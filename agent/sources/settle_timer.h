#ifndef CUPEL_AGENT_SOURCES_SETTLE_TIMER_H_
#define CUPEL_AGENT_SOURCES_SETTLE_TIMER_H_

#include <cstdint>

#include "absl/time/time.h"

namespace cupel::agent {

// Decides when a list that grows is worth a quote: once it has been still for
// `settle`, and no later than `cap` after the first entry that no quote covers,
// so that steady growth can't put a quote off. Knows no clock: every method is
// told the time, which must not go back. Not thread-safe.
class SettleTimer {
 public:
  struct Options {
    absl::Duration settle = absl::Milliseconds(100);
    absl::Duration cap = absl::Seconds(1);
  };

  explicit SettleTimer(const Options& options) : options_(options) {}
  SettleTimer() : SettleTimer(Options{}) {}

  // The list has `entry_count` entries at `now`. Fewer than before is a change
  // as well.
  void Observe(uint64_t entry_count, absl::Time now);

  // A quote that covers `entry_count` entries was sent. Whatever was observed
  // beyond them counts as first seen at `now`.
  void MarkCovered(uint64_t entry_count, absl::Time now);

  // True if there are entries that no quote covers.
  bool has_uncovered() const { return observed_ != covered_; }

  // When a quote is due; InfiniteFuture while nothing is uncovered.
  absl::Time due() const;
  bool IsDue(absl::Time now) const { return now >= due(); }

 private:
  Options options_;
  uint64_t observed_ = 0;
  uint64_t covered_ = 0;
  absl::Time first_uncovered_;
  absl::Time last_change_;
};

}  // namespace cupel::agent

#endif  // CUPEL_AGENT_SOURCES_SETTLE_TIMER_H_
