#include "tenant/fleet.h"

namespace cupel::tenant {

absl::string_view AgentStateName(AgentState state) {
  switch (state) {
    case AgentState::kUnknown:
      break;
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
  return "UNKNOWN";
}

absl::string_view ReportedAgent::ShownState() const {
  const bool needs_life =
      state == AgentState::kTrusted || state == AgentState::kPending;
  return needs_life && !live ? "UNREACHABLE" : AgentStateName(state);
}

bool ReportedAgent::IsTrusted() const {
  return state == AgentState::kTrusted && live;
}

}  // namespace cupel::tenant
