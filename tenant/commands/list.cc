#include <memory>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/util/status_macros.h"
#include "tenant/agent_report.h"
#include "tenant/commands/online.h"
#include "tenant/console.h"
#include "tenant/help_formatter.h"
#include "tenant/labels.h"

namespace cupel::tenant {
namespace {

absl::StatusOr<std::vector<ReportedAgent>> Load(const Online& online,
                                                const ListFilter& filter) {
  Selector selector;
  CUPEL_ASSIGN_OR_RETURN(selector.labels, ParseLabels(filter.labels));
  selector.all = selector.labels.empty();
  const std::string state = absl::AsciiStrToUpper(filter.state);
  CUPEL_ASSIGN_OR_RETURN(const auto fleet, online.Connect());
  std::vector<ReportedAgent> agents;
  CUPEL_RETURN_IF_ERROR(fleet->List(selector, [&](const ReportedAgent& agent) {
    if (state.empty() || agent.ShownState() == state) {
      agents.push_back(agent);
    }
  }));
  return agents;
}

}  // namespace

ExitCode RunList(const Online& online, const ListFilter& filter) {
  const auto agents = Load(online, filter);
  if (!agents.ok()) return Fail(agents.status());
  if (filter.json) {
    nlohmann::ordered_json all = nlohmann::ordered_json::array();
    for (const ReportedAgent& agent : *agents) all.push_back(ToJson(agent));
    PrintLine(DumpJson(all, 2));
    return ExitCode::kOk;
  }
  PrintText(AgentTable(*agents));
  PrintLine(
      absl::StrCat(agents->size(), agents->size() == 1 ? " agent" : " agents"));
  return ExitCode::kOk;
}

void RegisterList(CLI::App& parent, Online& online, ExitCode& exit_code) {
  const auto filter = std::make_shared<ListFilter>();
  CLI::App* command = parent.add_subcommand(
      "list", "Print the agents that were added, a line each.");
  command
      ->add_option("-l,--label", filter->labels,
                   "Agents with this label only. May be given several times")
      ->allow_extra_args(false)
      ->type_name("KEY=VALUE");
  command
      ->add_option("--state", filter->state,
                   "Agents in this state only: trusted, pending, failed, "
                   "unreachable, expected, stopped")
      ->check(CLI::IsMember({"trusted", "pending", "failed", "unreachable",
                             "expected", "enrolled", "stopped"},
                            CLI::ignore_case))
      ->type_name("STATE");
  command->add_flag("--json", filter->json, "Machine-readable output");
  online.Register(*command);
  AddExamples(*command, {"cupel-tenant list",
                         "cupel-tenant list -l site=x --state failed --json"});
  command->callback(
      [filter, &online, &exit_code] { exit_code = RunList(online, *filter); });
}

}  // namespace cupel::tenant
