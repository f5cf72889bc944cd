#include "tenant/commands/agent_command.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/util/status_macros.h"
#include "tenant/console.h"
#include "tenant/help_formatter.h"

namespace cupel::tenant {
namespace {

absl::Status Act(const Online& online, const AgentId& id,
                 absl::FunctionRef<absl::Status(Fleet&, const AgentId&)> act) {
  CUPEL_ASSIGN_OR_RETURN(const auto fleet, online.Connect());
  return act(*fleet, id);
}

}  // namespace

CLI::App& RegisterAgentCommand(CLI::App& parent, Online& online,
                               ExitCode& exit_code, AgentCommand command) {
  const auto flags = std::make_shared<AgentFlags>();
  CLI::App& app = *parent.add_subcommand(command.name, command.description);
  app.add_option("agent", flags->agent, "The agent's id")
      ->required()
      ->type_name("UUID");
  app.add_flag("--json", flags->json, "Machine-readable output");
  online.Register(app);
  AddExamples(app, command.examples);
  app.callback([flags, run = std::move(command.run), &online, &exit_code] {
    exit_code = run(online, *flags);
  });
  return app;
}

ExitCode RunOnAgent(
    const Online& online, const AgentFlags& flags, const DoneText& done,
    absl::FunctionRef<absl::Status(Fleet&, const AgentId&)> act) {
  const auto id = ParseAgent(flags.agent);
  if (!id.ok()) return Fail(id.status());
  if (const absl::Status status = Act(online, *id, act); !status.ok()) {
    return Fail(status);
  }
  if (flags.json) {
    PrintLine(DumpJson({{"agent", id->ToString()}, {done.member, true}}, 2));
  } else {
    PrintLine(absl::StrCat("agent ", id->ToString(), " ", done.words));
  }
  return ExitCode::kOk;
}

}  // namespace cupel::tenant
