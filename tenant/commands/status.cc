#include <string>

#include "common/util/status_macros.h"
#include "tenant/agent_report.h"
#include "tenant/commands/agent_command.h"
#include "tenant/commands/online.h"
#include "tenant/console.h"

namespace cupel::tenant {
namespace {

absl::StatusOr<ReportedAgent> Get(const Online& online,
                                  const std::string& agent) {
  CUPEL_ASSIGN_OR_RETURN(const AgentId id, ParseAgent(agent));
  CUPEL_ASSIGN_OR_RETURN(const auto fleet, online.Connect());
  auto reported = fleet->Get(id);
  if (!absl::IsNotFound(reported.status())) return reported;
  // It may have enrolled, and wait to be added.
  CUPEL_ASSIGN_OR_RETURN(const auto enrolled, fleet->ListEnrolled());
  for (const ReportedAgent& machine : enrolled) {
    if (machine.id != id.ToString()) continue;
    reported = machine;
    reported->state_reason = "nobody has added it yet";
  }
  return reported;
}

}  // namespace

ExitCode RunStatus(const Online& online, const AgentFlags& flags) {
  const auto reported = Get(online, flags.agent);
  if (!reported.ok()) return Fail(reported.status());
  if (flags.json) {
    PrintLine(DumpJson(ToJson(*reported), 2));
  } else {
    PrintText(AgentText(*reported));
  }
  return ExitCodeFor(*reported);
}

void RegisterStatus(CLI::App& parent, Online& online, ExitCode& exit_code) {
  RegisterAgentCommand(
      parent, online, exit_code,
      {.name = "status",
       .description =
           "Print how an agent stands. Exit code 0 only if it is trusted now, "
           "and not silent; 1 for any other state.",
       .examples = {"cupel-tenant status d432fbb3-d2f1-4a97-9ef7-75bd81c00000",
                    "cupel-tenant status d432fbb3-d2f1-4a97-9ef7-75bd81c00000 "
                    "--json"},
       .run = RunStatus});
}

}  // namespace cupel::tenant
