#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/util/status_macros.h"
#include "tenant/commands/online.h"
#include "tenant/console.h"
#include "tenant/help_formatter.h"

namespace cupel::tenant {
namespace {

struct StopFlags {
  std::string agent;
  bool json = false;
};

absl::Status Stop(const Online& online, const AgentId& id) {
  CUPEL_ASSIGN_OR_RETURN(const auto fleet, online.Connect());
  return fleet->Stop(id);
}

ExitCode Run(const Online& online, const StopFlags& flags) {
  const auto id = ParseAgent(flags.agent);
  if (!id.ok()) return Fail(id.status());
  if (const absl::Status status = Stop(online, *id); !status.ok()) {
    return Fail(status);
  }
  if (flags.json) {
    PrintLine(DumpJson({{"agent", id->ToString()}, {"stopped", true}}, 2));
  } else {
    PrintLine(
        absl::StrCat("agent ", id->ToString(),
                     " stopped: it is attested no more until reactivate"));
  }
  return ExitCode::kOk;
}

}  // namespace

void RegisterStop(CLI::App& parent, Online& online, ExitCode& exit_code) {
  const auto flags = std::make_shared<StopFlags>();
  CLI::App* command = parent.add_subcommand(
      "stop",
      "Stop attesting an agent. Its state is STOPPED until it is reactivated.");
  command->add_option("agent", flags->agent, "The agent's id")
      ->required()
      ->type_name("UUID");
  command->add_flag("--json", flags->json, "Machine-readable output");
  online.Register(*command);
  AddExamples(*command,
              {"cupel-tenant stop d432fbb3-d2f1-4a97-9ef7-75bd81c00000"});
  command->callback(
      [flags, &online, &exit_code] { exit_code = Run(online, *flags); });
}

}  // namespace cupel::tenant
