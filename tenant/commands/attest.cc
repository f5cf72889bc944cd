#include "tenant/commands/agent_command.h"
#include "tenant/commands/online.h"

namespace cupel::tenant {
namespace {

ExitCode RunAttest(const Online& online, const AgentFlags& flags) {
  return RunOnAgent(
      online, flags,
      {.member = "asked",
       .words = "was asked for a quote; status shows the result"},
      [](Fleet& fleet, const AgentId& id) { return fleet.AttestNow(id); });
}

}  // namespace

void RegisterAttest(CLI::App& parent, Online& online, ExitCode& exit_code) {
  RegisterAgentCommand(
      parent, online, exit_code,
      {.name = "attest",
       .description =
           "Have an agent attest now, and not when its next challenge is due. "
           "Several requests at a time become one.",
       .examples = {"cupel-tenant attest d432fbb3-d2f1-4a97-9ef7-75bd81c00000"},
       .run = RunAttest});
}

}  // namespace cupel::tenant
