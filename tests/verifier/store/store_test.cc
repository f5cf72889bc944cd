#include "verifier/store/store.h"

#include "catch2/catch.hpp"
#include "tests/support/status_matchers.h"

namespace cupel::verifier {
namespace {

AgentRecord RecordIn(AgentState state, std::optional<absl::Time> valid_until) {
  return {.id = *AgentId::Parse("d432fbb3-d2f1-4a97-9ef7-75bd81c00000"),
          .tenant = "acme",
          .state = state,
          .valid_until = valid_until};
}

TEST_CASE("each state has its name", "[store]") {
  CHECK(AgentStateName(AgentState::kExpected) == "EXPECTED");
  CHECK(AgentStateName(AgentState::kEnrolled) == "ENROLLED");
  CHECK(AgentStateName(AgentState::kPending) == "PENDING");
  CHECK(AgentStateName(AgentState::kTrusted) == "TRUSTED");
  CHECK(AgentStateName(AgentState::kFailed) == "FAILED");
  CHECK(AgentStateName(AgentState::kStopped) == "STOPPED");
}

TEST_CASE("trust has an end, and nothing else has", "[store]") {
  const absl::Time end = absl::FromUnixSeconds(1000);
  const AgentRecord trusted = RecordIn(AgentState::kTrusted, end);
  CHECK(trusted.StateAt(end - absl::Nanoseconds(1)) == AgentState::kTrusted);
  CHECK(trusted.StateAt(end) == AgentState::kPending);
  CHECK(RecordIn(AgentState::kTrusted, std::nullopt).StateAt(end) ==
        AgentState::kPending);
  for (const AgentState state :
       {AgentState::kExpected, AgentState::kEnrolled, AgentState::kPending,
        AgentState::kFailed, AgentState::kStopped}) {
    CHECK(RecordIn(state, end).StateAt(end + absl::Hours(1)) == state);
  }
}

}  // namespace
}  // namespace cupel::verifier
