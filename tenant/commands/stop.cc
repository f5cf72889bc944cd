#include "tenant/commands/agent_command.h"
#include "tenant/commands/online.h"

namespace cupel::tenant {
namespace {

ExitCode RunStop(const Online& online, const AgentFlags& flags) {
  return RunOnAgent(
      online, flags,
      {.member = "stopped",
       .words = "stopped: it is attested no more until reactivate"},
      [](Fleet& fleet, const AgentId& id) { return fleet.Stop(id); });
}

}  // namespace

void RegisterStop(CLI::App& parent, Online& online, ExitCode& exit_code) {
  RegisterAgentCommand(
      parent, online, exit_code,
      {.name = "stop",
       .description = "Stop attesting an agent. Its state is STOPPED until it "
                      "is reactivated.",
       .examples = {"cupel-tenant stop d432fbb3-d2f1-4a97-9ef7-75bd81c00000"},
       .run = RunStop});
}

}  // namespace cupel::tenant
