// Ends what has run out: verdicts whose valid_until has passed.
#ifndef CUPEL_VERIFIER_SESSION_DEADLINE_SWEEP_H_
#define CUPEL_VERIFIER_SESSION_DEADLINE_SWEEP_H_

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "verifier/store/store.h"

namespace cupel::verifier {

// TRUSTED past its end is PENDING whoever reads it (AgentRecord::StateAt); the
// sweep writes it down, so that there is an event and people hear of it. A
// silent agent does not fail by it, and a FAILED one is not touched [A31].
//
// For one grace period after the first sweep, and after the store came back,
// nothing is swept: a backlog is the verifier's condition and not the agents'.
// Not thread-safe.
class DeadlineSweep {
 public:
  // `store` must outlive it.
  DeadlineSweep(Store& store, absl::Duration grace)
      : store_(store), grace_(grace) {}

  // Sweeps by the store's clock; call it now and then, every second or so. The
  // number of agents whose state changed. The store's errors; after one of them
  // grace begins anew.
  absl::StatusOr<uint32_t> Run();

 private:
  Store& store_;
  const absl::Duration grace_;
  // Nothing is swept before; nullopt: not started, or the store was away.
  std::optional<absl::Time> not_before_;
};

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_SESSION_DEADLINE_SWEEP_H_
