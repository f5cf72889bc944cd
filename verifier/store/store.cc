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

}  // namespace cupel::verifier
