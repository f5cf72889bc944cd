#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/appraisal/finding.h"
#include "common/util/escape.h"
#include "common/util/hex.h"
#include "common/util/status_macros.h"
#include "tenant/agent_report.h"
#include "tenant/commands/agent_command.h"
#include "tenant/commands/online.h"
#include "tenant/console.h"
#include "tenant/cures.h"

namespace cupel::tenant {
namespace {

// A mistyped one would accept nothing, and the agent fail again.
absl::Status CheckAccepted(const std::string& finding) {
  const std::pair<std::string, std::string> parts =
      absl::StrSplit(finding, absl::MaxSplits('@', 1));
  if (FindHelp(parts.first) != nullptr &&
      !appraisal::IsAcceptable(parts.first)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--accept ", parts.first,
        ": it would vouch for evidence that nobody knows, so it can't be "
        "accepted; `explain` says what to do about it"));
  }
  if (FindHelp(parts.first) == nullptr || parts.second.size() != 32 ||
      !HexDecode(parts.second).ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--accept takes what `explain` prints beside a finding, "
                     "its id, @ and 32 hexadecimal digits, and not ",
                     Quoted(finding, 200)));
  }
  return absl::OkStatus();
}

absl::StatusOr<ReportedAgent> Reactivate(const Online& online,
                                         const ReactivateFlags& flags) {
  CUPEL_ASSIGN_OR_RETURN(const AgentId id, ParseAgent(flags.agent));
  for (const std::string& finding : flags.accept) {
    CUPEL_RETURN_IF_ERROR(CheckAccepted(finding));
  }
  if (!flags.accept.empty() && flags.reason.empty()) {
    return absl::InvalidArgumentError(
        "--accept needs --reason: both go on record");
  }
  CUPEL_ASSIGN_OR_RETURN(const auto fleet, online.Connect());
  return fleet->Reactivate({id, flags.accept, flags.reason,
                            flags.reset_counters, flags.approve_boot});
}

}  // namespace

ExitCode RunReactivate(const Online& online, const ReactivateFlags& flags) {
  const auto agent = Reactivate(online, flags);
  if (!agent.ok()) return Fail(agent.status());
  if (flags.json) {
    PrintLine(DumpJson(ToJson(*agent), 2));
  } else {
    PrintLine(absl::StrCat("agent ", EscapeForDisplay(agent->id), " is ",
                           agent->ShownState(),
                           "; its whole list is judged anew"));
  }
  return ExitCode::kOk;
}

void RegisterReactivate(CLI::App& parent, Online& online, ExitCode& exit_code) {
  const auto flags = std::make_shared<ReactivateFlags>();
  CLI::App& command = RegisterAgentCommand(
      parent, online, exit_code,
      {.name = "reactivate",
       .description =
           "Give an agent that failed or was stopped another chance: it is "
           "PENDING until its whole list has been judged. What made it fail "
           "makes it fail again, unless it is accepted here or its cause is "
           "gone.",
       .examples =
           {"cupel-tenant reactivate d432fbb3-d2f1-4a97-9ef7-75bd81c00000",
            "cupel-tenant reactivate d432fbb3-d2f1-4a97-9ef7-75bd81c00000 \\",
            "    --accept "
            "ima.not_in_policy@4f9a0c1e5b7d28363f1e9ab07c52d684 \\",
            "    --reason \"installed by hand\""},
       .run = [flags](const Online& verifier, const AgentFlags& agent) {
         flags->agent = agent.agent;
         flags->json = agent.json;
         return RunReactivate(verifier, *flags);
       }});
  command
      .add_option("--accept", flags->accept,
                  "A finding to be accepted in this boot, by what `explain` "
                  "prints beside it. It goes on record with your name. May be "
                  "given several times")
      ->type_name("FINDING");
  command.add_option("--reason", flags->reason, "Why, for the record")
      ->type_name("TEXT");
  command
      .add_option("--approve-boot", flags->approve_boot,
                  "For an agent whose boot is pinned: approves this boot, the "
                  "PCR 0-9 that status shows and you have looked at. An agent "
                  "that is PENDING may be given this alone")
      ->type_name("HEX");
  command.add_flag("--reset-counters", flags->reset_counters,
                   "Accept that the TPM's counters went back, as after a "
                   "virtual machine's snapshot");
}

}  // namespace cupel::tenant
