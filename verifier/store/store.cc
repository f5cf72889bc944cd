#include "verifier/store/store.h"

#include <utility>

namespace cupel::verifier {

absl::string_view AgentStateName(AgentState state) {
  switch (state) {
    case AgentState::kExpected:
      return "EXPECTED";
    case AgentState::kEnrolled:
      return "ENROLLED";
    case AgentState::kPending:
      return "PENDING";
    case AgentState::kTrusted:
      return "TRUSTED";
    case AgentState::kFailed:
      return "FAILED";
    case AgentState::kStopped:
      return "STOPPED";
  }
  return "?";
}

AgentState AgentRecord::StateAt(absl::Time now) const {
  if (state != AgentState::kTrusted) return state;
  return valid_until.has_value() && now < *valid_until ? AgentState::kTrusted
                                                       : AgentState::kPending;
}

void ApplyRenewal(VerdictWrite write, absl::Time time, AgentRecord& record) {
  record.last_seen = time;
  if (write.decided) {
    record.last_attested = time;
    ++record.attestation_count;
  }
  record.progress = std::move(write.progress);
  record.counts = write.counts;
  if (!write.boot_composite.empty()) {
    record.boot_composite = std::move(write.boot_composite);
  }
  if (write.clock_info.has_value()) record.clock_info = write.clock_info;
  const bool takes_reason =
      write.state.has_value() || record.state == AgentState::kPending;
  if (takes_reason && !write.reason.empty()) {
    record.state_reason = std::move(write.reason);
  }
  if (write.state.has_value()) record.valid_until = write.valid_until;
}

}  // namespace cupel::verifier
