// Agents by state, for who may ask as often as they like.
#ifndef CUPEL_VERIFIER_RPC_AGENT_COUNTS_H_
#define CUPEL_VERIFIER_RPC_AGENT_COUNTS_H_

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>

#include "absl/time/time.h"
#include "common/util/steady_clock.h"
#include "verifier/store/store.h"

namespace cupel::verifier {

// Thread-safe.
class AgentCounts {
 public:
  // `store` must outlive it.
  explicit AgentCounts(Store& store) : store_(store) {}

  // As Store::CountAgents, at most a second old; nullopt where that fails.
  std::optional<std::map<AgentState, uint64_t>> Get() {
    constexpr absl::Duration kFresh = absl::Seconds(1);
    const std::lock_guard<std::mutex> lock(mutex_);
    const absl::Time now = SteadyNow();
    if (now - counted_ < kFresh) return counts_;
    counted_ = now;
    auto counts = store_.CountAgents();
    counts_.reset();
    if (counts.ok()) counts_ = *std::move(counts);
    return counts_;
  }

 private:
  Store& store_;
  std::mutex mutex_;  // guards all below
  absl::Time counted_ = absl::InfinitePast();
  std::optional<std::map<AgentState, uint64_t>> counts_;
};

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_RPC_AGENT_COUNTS_H_
