#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/util/escape.h"
#include "common/util/status_macros.h"
#include "tenant/agent_report.h"
#include "tenant/commands/online.h"
#include "tenant/console.h"
#include "tenant/finding_report.h"
#include "tenant/help_formatter.h"
#include "tenant/labels.h"

namespace cupel::tenant {
namespace {

// Linux takes no single string above 128 KiB.
constexpr size_t kMaxVariable = size_t{100} << 10;

struct WatchFlags {
  std::string agent;
  std::vector<std::string> labels;
  std::string exec;
  bool json = false;
};

std::string EventLine(const FleetEvent& event) {
  std::string line =
      absl::StrCat(TimeText(event.time), "  ", EscapeForDisplay(event.id), "  ",
                   AgentStateName(event.state));
  if (event.previous != AgentState::kUnknown) {
    absl::StrAppend(&line, " (was ", AgentStateName(event.previous), ")");
  }
  if (!event.text.empty()) {
    absl::StrAppend(&line, "  ", EscapeForDisplay(event.text));
  }
  for (const ReportedFinding& finding : event.findings) {
    absl::StrAppend(&line, "\n  ", FindingLine(finding));
  }
  for (const JudgedPolicy& policy : event.judged_policies) {
    absl::StrAppend(&line, "\n  judged by ", EscapeForDisplay(policy.name), " ",
                    EscapeForDisplay(policy.content_id));
  }
  return line;
}

// The event for the command. Values are escaped: they hold neither newlines nor
// other control characters, but what a shell takes as its own is for the
// command to quote.
std::map<std::string, std::string> EventVariables(const FleetEvent& event) {
  std::map<std::string, std::string> variables = {
      {"CUPEL_AGENT", EscapeForDisplay(event.id)},
      {"CUPEL_STATE", std::string(AgentStateName(event.state))},
      {"CUPEL_TIME", TimeText(event.time)},
      {"CUPEL_TEXT", EscapeForDisplay(event.text)},
      {"CUPEL_FINDING_COUNT", absl::StrCat(event.findings.size())},
      {"CUPEL_EVENT", DumpJson(ToJson(event))},
  };
  variables["CUPEL_PREVIOUS"] =
      event.previous == AgentState::kUnknown
          ? ""
          : std::string(AgentStateName(event.previous));
  const ReportedFinding first =
      event.findings.empty() ? ReportedFinding() : event.findings.front();
  variables["CUPEL_FINDING"] = EscapeForDisplay(first.id);
  variables["CUPEL_PATH"] = EscapeForDisplay(first.path);
  // A machine must not keep its own alarm from being started. Half a JSON
  // object is worse than none.
  if (variables["CUPEL_EVENT"].size() > kMaxVariable) {
    variables["CUPEL_EVENT"].clear();
  }
  for (auto& [name, value] : variables) {
    if (value.size() > kMaxVariable) value.resize(kMaxVariable);
  }
  return variables;
}

// Runs `command` by the shell and waits for its end.
absl::Status RunHook(const std::string& command, const FleetEvent& event) {
  std::vector<std::string> lines;
  const auto variables = EventVariables(event);
  for (char** line = environ; *line != nullptr; ++line) {
    if (!variables.contains(std::string(*line, std::strcspn(*line, "=")))) {
      lines.emplace_back(*line);
    }
  }
  for (const auto& [name, value] : variables) {
    lines.push_back(absl::StrCat(name, "=", value));
  }
  std::vector<char*> environment;
  environment.reserve(lines.size() + 1);
  for (std::string& line : lines) environment.push_back(line.data());
  environment.push_back(nullptr);
  std::vector<std::string> arguments = {"sh", "-c", command};
  char* const argv[] = {arguments[0].data(), arguments[1].data(),
                        arguments[2].data(), nullptr};
  pid_t pid = 0;
  const int error =
      posix_spawn(&pid, "/bin/sh", nullptr, nullptr, argv, environment.data());
  if (error != 0) {
    return absl::InternalError(
        absl::StrCat("--exec: /bin/sh: ", std::strerror(error)));
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) {
      return absl::InternalError(
          absl::StrCat("--exec: waitpid: ", std::strerror(errno)));
    }
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return absl::OkStatus();
  return absl::InternalError(
      WIFEXITED(status)
          ? absl::StrCat("--exec: exit code ", WEXITSTATUS(status))
          : absl::StrCat("--exec: ended by signal ", WTERMSIG(status)));
}

// Shows the event; false if nobody reads on.
bool Show(const FleetEvent& event, const WatchFlags& flags) {
  PrintLine(flags.json ? DumpJson(ToJson(event)) : EventLine(event));
  const bool shown = FlushOutput();
  if (flags.exec.empty() || event.state != AgentState::kFailed) return shown;
  // An alarm that can't be raised is said, and the next one tried.
  if (const absl::Status status = RunHook(flags.exec, event); !status.ok()) {
    PrintError(status.message());
  }
  return shown;
}

absl::Status Watch(const Online& online, const WatchFlags& flags) {
  Selector selector;
  if (!flags.agent.empty()) {
    CUPEL_ASSIGN_OR_RETURN(selector.id, ParseAgent(flags.agent));
  }
  CUPEL_ASSIGN_OR_RETURN(selector.labels, ParseLabels(flags.labels));
  selector.all = !selector.id.has_value() && selector.labels.empty();
  CUPEL_ASSIGN_OR_RETURN(const auto fleet, online.Connect());
  return fleet->Watch(
      selector, /*with_present=*/true,
      [&](const FleetEvent& event) { return Show(event, flags); });
}

ExitCode Run(const Online& online, const WatchFlags& flags) {
  const absl::Status status = Watch(online, flags);
  // OK: the output could not be written, which main tells.
  return status.ok() ? ExitCode::kUndecided : Fail(status);
}

}  // namespace

void RegisterWatch(CLI::App& parent, Online& online, ExitCode& exit_code) {
  const auto flags = std::make_shared<WatchFlags>();
  CLI::App* command = parent.add_subcommand(
      "watch",
      "Print how agents stand, and then each change as it happens. It ends, "
      "with exit code 2, when the verifier can't be reached any more.");
  command->add_option("agent", flags->agent, "This agent only")
      ->type_name("UUID");
  command
      ->add_option("-l,--label", flags->labels,
                   "Agents with this label only. May be given several times")
      ->allow_extra_args(false)
      ->type_name("KEY=VALUE");
  command
      ->add_option("--exec", flags->exec,
                   "A shell command to be run for each agent that is FAILED, "
                   "at the start too, one after another. CUPEL_AGENT, "
                   "CUPEL_STATE, CUPEL_PREVIOUS, CUPEL_TIME, CUPEL_TEXT, "
                   "CUPEL_FINDING, CUPEL_PATH, CUPEL_FINDING_COUNT and "
                   "CUPEL_EVENT (JSON) say what happened; quote them")
      ->type_name("CMD");
  command->add_flag("--json", flags->json, "An event a line, as JSON");
  online.Register(*command);
  AddExamples(*command, {"cupel-tenant watch -l site=x",
                         "cupel-tenant watch --exec 'mail -s \"$CUPEL_AGENT "
                         "$CUPEL_PATH\" root </dev/null'"});
  command->callback(
      [flags, &online, &exit_code] { exit_code = Run(online, *flags); });
}

}  // namespace cupel::tenant
