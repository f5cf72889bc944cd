#include "verifier/session/deadline_sweep.h"

namespace cupel::verifier {

absl::StatusOr<uint32_t> DeadlineSweep::Run() {
  const absl::Time now = store_.Now();
  if (!not_before_.has_value()) not_before_ = now + grace_;
  // Asked even during grace, for nothing: this is how a store that is away is
  // noticed before grace ends.
  const bool in_grace = now < *not_before_;
  absl::StatusOr<uint32_t> swept =
      store_.ExpireVerdicts(in_grace ? absl::InfinitePast() : now);
  if (!swept.ok()) not_before_.reset();
  return swept;
}

}  // namespace cupel::verifier
