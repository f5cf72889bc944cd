#include "verifier/rpc/store_errors.h"

#include <utility>

#include "common/util/steady_clock.h"

namespace cupel::verifier {
namespace {

constexpr absl::Duration kLogInterval = absl::Minutes(1);

}  // namespace

void StoreErrors::Take(absl::string_view call, const absl::Status& status) {
  metrics_.CountStoreError(call);
  const absl::Time now = SteadyNow();
  uint64_t unlogged = 0;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    Kept& kept = kept_[call];
    if (now - kept.logged < kLogInterval) {
      ++kept.since;
      return;
    }
    kept.logged = now;
    unlogged = std::exchange(kept.since, 0);
  }
  log_.Error("the store fails: nothing is trusted on account of it",
             {{"call", call}, {"error", status}, {"unlogged", unlogged}});
}

}  // namespace cupel::verifier
