#include <string>

#include "absl/strings/str_cat.h"
#include "common/appraisal/finding.h"
#include "common/util/escape.h"
#include "common/util/status_macros.h"
#include "tenant/agent_report.h"
#include "tenant/commands/agent_command.h"
#include "tenant/commands/online.h"
#include "tenant/console.h"
#include "tenant/cures.h"
#include "tenant/finding_report.h"

namespace cupel::tenant {
namespace {

absl::StatusOr<ReportedAgent> Get(const Online& online,
                                  const std::string& agent) {
  CUPEL_ASSIGN_OR_RETURN(const AgentId id, ParseAgent(agent));
  CUPEL_ASSIGN_OR_RETURN(const auto fleet, online.Connect());
  return fleet->Get(id);
}

void Explain(const ReportedFinding& finding, const std::string& agent) {
  PrintLine("");
  PrintLine(FindingLine(finding));
  const auto line = [](absl::string_view name, absl::string_view value) {
    if (!value.empty()) PrintLine(absl::StrCat("  ", name, value));
  };
  line("finding:         ", absl::StrCat(EscapeForDisplay(finding.id), ", ",
                                         EscapeForDisplay(finding.severity)));
  const FindingHelp* const help = FindHelp(finding.id);
  line("meaning:         ",
       help == nullptr ? "this program doesn't know it; it is older than the "
                         "verifier"
                       : EscapeForDisplay(help->meaning));
  line("detail:          ", EscapeForDisplay(finding.detail));
  line("file:            ", EscapeForDisplay(finding.path));
  const bool not_listed = finding.id == "ima.not_in_policy";
  line("the policy had:  ", not_listed && finding.expected.empty()
                                ? "nothing about this file"
                                : EscapeForDisplay(finding.expected));
  line("the machine had: ", EscapeForDisplay(finding.found));
  if (finding.entry.has_value()) {
    line("where:           ", absl::StrCat("entry ", *finding.entry));
  }
  if (!finding.authenticated) {
    line("beware:          ",
         "no PCR covers this, so the machine may have "
         "written it freely");
  }
  if (help != nullptr) {
    line("what to do:      ", EscapeForDisplay(help->cure));
  }
  if (!finding.accept_as.empty()) {
    line("to accept it:    ",
         absl::StrCat("cupel-tenant reactivate ", agent, " --accept ",
                      EscapeForDisplay(finding.accept_as), " --reason WHY"));
  }
}

ExitCode RunExplain(const Online& online, const AgentFlags& flags) {
  const auto agent = Get(online, flags.agent);
  if (!agent.ok()) return Fail(agent.status());
  if (flags.json) {
    nlohmann::ordered_json json = ToJson(*agent);
    for (auto& finding : json["findings"]) {
      const FindingHelp* const help =
          FindHelp(finding["id"].get<std::string>());
      if (help == nullptr) continue;
      finding["meaning"] = std::string(help->meaning);
      finding["cure"] = std::string(help->cure);
    }
    PrintLine(DumpJson(json, 2));
    return ExitCodeFor(*agent);
  }
  const std::string id = EscapeForDisplay(agent->id);
  PrintLine(absl::StrCat("agent ", id, " is ", agent->ShownState(),
                         agent->state_reason.empty() ? "" : ": ",
                         EscapeForDisplay(agent->state_reason)));
  if (agent->findings.empty()) PrintLine("no findings");
  for (const ReportedFinding& finding : agent->findings) Explain(finding, id);
  return ExitCodeFor(*agent);
}

}  // namespace

void RegisterExplain(CLI::App& parent, Online& online, ExitCode& exit_code) {
  RegisterAgentCommand(
      parent, online, exit_code,
      {.name = "explain",
       .description =
           "Explain each of an agent's findings: what the policy had, what the "
           "machine ran, what to do. Exit codes as those of status.",
       .examples =
           {"cupel-tenant explain d432fbb3-d2f1-4a97-9ef7-75bd81c00000"},
       .run = RunExplain});
}

}  // namespace cupel::tenant
