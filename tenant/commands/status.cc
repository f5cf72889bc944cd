#include <memory>
#include <string>

#include "common/util/status_macros.h"
#include "tenant/agent_report.h"
#include "tenant/commands/online.h"
#include "tenant/console.h"
#include "tenant/help_formatter.h"

namespace cupel::tenant {
namespace {

struct StatusFlags {
  std::string agent;
  bool json = false;
};

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

ExitCode RunStatus(const Online& online, const std::string& agent, bool json) {
  const auto reported = Get(online, agent);
  if (!reported.ok()) return Fail(reported.status());
  if (json) {
    PrintLine(DumpJson(ToJson(*reported), 2));
  } else {
    PrintText(AgentText(*reported));
  }
  return ExitCodeFor(*reported);
}

void RegisterStatus(CLI::App& parent, Online& online, ExitCode& exit_code) {
  const auto flags = std::make_shared<StatusFlags>();
  CLI::App* command = parent.add_subcommand(
      "status",
      "Print how an agent stands. Exit code 0 only if it is trusted now, and "
      "not silent; 1 for any other state.");
  command->add_option("agent", flags->agent, "The agent's id")
      ->required()
      ->type_name("UUID");
  command->add_flag("--json", flags->json, "Machine-readable output");
  online.Register(*command);
  AddExamples(
      *command,
      {"cupel-tenant status d432fbb3-d2f1-4a97-9ef7-75bd81c00000",
       "cupel-tenant status d432fbb3-d2f1-4a97-9ef7-75bd81c00000 --json"});
  command->callback([flags, &online, &exit_code] {
    exit_code = RunStatus(online, flags->agent, flags->json);
  });
}

}  // namespace cupel::tenant
