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

void ApplyVerdict(VerdictWrite write, AgentState state, AgentRecord& record) {
  record.progress = std::move(write.progress);
  record.counts = write.counts;
  if (!write.boot_composite.empty()) {
    record.boot_composite = std::move(write.boot_composite);
  }
  if (!write.findings.empty() || write.state == AgentState::kFailed) {
    record.findings = std::move(write.findings);
  }
  if (write.state.has_value()) {
    record.state_reason = std::move(write.reason);
    record.valid_until = write.valid_until;
    if (write.state == AgentState::kFailed) record.valid_until.reset();
  }
  record.state = state;
}

std::vector<absl::StatusOr<AgentState>> Store::RecordVerdicts(
    std::span<const VerdictWrite> writes) {
  std::vector<absl::StatusOr<AgentState>> results;
  for (const VerdictWrite& write : writes) {
    const auto agent = RecordVerdict(write);
    if (agent.ok()) {
      results.emplace_back(agent->state);
    } else {
      results.emplace_back(agent.status());
    }
  }
  return results;
}

}  // namespace cupel::verifier
