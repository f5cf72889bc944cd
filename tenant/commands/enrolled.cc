#include <memory>
#include <string>
#include <vector>

#include "common/util/escape.h"
#include "common/util/status_macros.h"
#include "tenant/agent_report.h"
#include "tenant/commands/online.h"
#include "tenant/console.h"
#include "tenant/help_formatter.h"
#include "tenant/table.h"

namespace cupel::tenant {
namespace {

absl::StatusOr<std::vector<ReportedAgent>> Load(const Online& online) {
  CUPEL_ASSIGN_OR_RETURN(const auto fleet, online.Connect());
  return fleet->ListEnrolled();
}

}  // namespace

ExitCode RunEnrolled(const Online& online, bool json) {
  const auto agents = Load(online);
  if (!agents.ok()) return Fail(agents.status());
  if (json) {
    nlohmann::ordered_json all = nlohmann::ordered_json::array();
    for (const ReportedAgent& agent : *agents) all.push_back(ToJson(agent));
    PrintLine(DumpJson(all, 2));
    return ExitCode::kOk;
  }
  std::vector<std::vector<std::string>> rows = {
      {"AGENT", "LAST SEEN", "EK SHA-256"}};
  for (const ReportedAgent& agent : *agents) {
    rows.push_back({EscapeForDisplay(agent.id), TimeText(agent.last_seen),
                    EscapeForDisplay(agent.ek_sha256)});
  }
  PrintText(FormatTable(rows));
  return ExitCode::kOk;
}

void RegisterEnrolled(CLI::App& parent, Online& online, ExitCode& exit_code) {
  const auto json = std::make_shared<bool>(false);
  CLI::App* command = parent.add_subcommand(
      "enrolled",
      "Print the machines that have enrolled and that nobody has added yet. "
      "Their ids are what they say of themselves.");
  command->add_flag("--json", *json, "Machine-readable output");
  online.Register(*command);
  AddExamples(*command, {"cupel-tenant enrolled"});
  command->callback(
      [json, &online, &exit_code] { exit_code = RunEnrolled(online, *json); });
}

}  // namespace cupel::tenant
