#include "verifier/store/store.h"

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

// Copies: what thousands of records take over would be all over the heap.
void ApplyRenewal(const VerdictWrite& write, absl::Time time,
                  AgentRecord& record) {
  record.last_seen = time;
  if (write.decided) {
    record.last_attested = time;
    ++record.attestation_count;
  }
  record.progress = write.progress;
  record.counts = write.counts;
  if (!write.boot_composite.empty()) {
    record.boot_composite = write.boot_composite;
  }
  if (write.clock_info.has_value()) record.clock_info = write.clock_info;
  if (!write.policies.empty()) record.judged_policies = write.policies;
  const bool takes_reason =
      write.state.has_value() || record.state == AgentState::kPending;
  if (takes_reason && !write.reason.empty()) {
    record.state_reason = write.reason;
  }
  if (write.state.has_value()) record.valid_until = write.valid_until;
}

}  // namespace cupel::verifier
