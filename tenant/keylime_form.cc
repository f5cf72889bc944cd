#include "tenant/keylime_form.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/util/escape.h"
#include "common/util/status_macros.h"
#include "tenant/commands/online.h"
#include "tenant/console.h"

namespace cupel::tenant {
namespace {

struct KeylimeFlags {
  std::string command = "add";
  // Of options that mean nothing here.
  std::string ignored;
  bool ignored_flag = false;
  std::string payload;
  std::string policy_name;
  std::string tpm_policy;
  AddFlags add;  // what all commands take their part of
};

ExitCode Refuse(absl::string_view what) {
  return Fail(absl::InvalidArgumentError(what));
}

// -f: the file has to be there, so that a script's mistake shows today, but
// nothing reads it.
absl::Status CheckPayload(const std::string& path) {
  if (path.empty()) return absl::OkStatus();
  if (access(path.c_str(), R_OK) != 0) {
    return absl::NotFoundError(absl::StrCat("-f ", EscapeForDisplay(path), ": ",
                                            std::strerror(errno)));
  }
  PrintError(absl::StrCat(
      "note: -f ", EscapeForDisplay(path),
      ": it is there, and stays there: the delivery of payloads to machines "
      "comes later, and no secret goes to the verifier"));
  return absl::OkStatus();
}

ExitCode Add(const Online& online, const KeylimeFlags& flags) {
  if (const auto status = CheckPayload(flags.payload); !status.ok()) {
    return Fail(status);
  }
  return RunAdd(online, flags.add);
}

// True if the agent was added before. Keylime's update adds one that was not.
absl::StatusOr<bool> WasAdded(const Online& online, const std::string& agent) {
  CUPEL_ASSIGN_OR_RETURN(const AgentId id, ParseAgent(agent));
  CUPEL_ASSIGN_OR_RETURN(const auto fleet, online.Connect());
  const auto reported = fleet->Get(id);
  if (absl::IsNotFound(reported.status())) return false;
  CUPEL_RETURN_IF_ERROR(reported.status());
  return reported->state != AgentState::kEnrolled;
}

// Keylime's update registers the agent anew; Cupel's changes what is given and
// keeps the agent's EK and history.
ExitCode Update(const Online& online, const KeylimeFlags& flags) {
  const auto added = WasAdded(online, flags.add.agent);
  if (!added.ok()) return Fail(added.status());
  if (!*added) return Add(online, flags);
  if (const auto status = CheckPayload(flags.payload); !status.ok()) {
    return Fail(status);
  }
  if (!flags.add.ek.empty()) {
    return Refuse(
        "--ek: the agent keeps the EK that it was added with; for another one, "
        "delete it and add it anew");
  }
  UpdateFlags update;
  update.agent = flags.add.agent;
  update.settings = flags.add.settings;
  update.json = flags.add.json;
  return RunUpdate(online, update);
}

ExitCode Delete(const Online& online, const KeylimeFlags& flags) {
  return RunDelete(online, {flags.add.agent, flags.add.json});
}

ExitCode Status(const Online& online, const KeylimeFlags& flags) {
  return RunStatus(online, {flags.add.agent, flags.add.json});
}

ExitCode Reactivate(const Online& online, const KeylimeFlags& flags) {
  ReactivateFlags reactivate;
  reactivate.agent = flags.add.agent;
  reactivate.json = flags.add.json;
  return RunReactivate(online, reactivate);
}

ExitCode List(const Online& online, const KeylimeFlags& flags) {
  ListFilter filter;
  filter.json = flags.add.json;
  return RunList(online, filter);
}

ExitCode BulkInfo(const Online& online, const KeylimeFlags& /*flags*/) {
  ListFilter filter;
  filter.json = true;
  return RunList(online, filter);
}

ExitCode Enrolled(const Online& online, const KeylimeFlags& flags) {
  return RunEnrolled(online, flags.add.json);
}

ExitCode PutPolicy(const Online& online, const KeylimeFlags& flags,
                   bool create) {
  PutPolicyFlags put;
  put.name = flags.policy_name;
  put.json = flags.add.json;
  const auto config = online.Config();
  if (!config.ok()) return Fail(config.status());
  const auto files = flags.add.settings.OwnPolicy(*config);
  if (!files.ok()) return Fail(files.status());
  put.files = *files;
  return RunPutPolicy(online, put, create);
}

ExitCode AddPolicy(const Online& online, const KeylimeFlags& flags) {
  return PutPolicy(online, flags, /*create=*/true);
}

ExitCode UpdatePolicy(const Online& online, const KeylimeFlags& flags) {
  return PutPolicy(online, flags, /*create=*/false);
}

ExitCode ShowPolicy(const Online& online, const KeylimeFlags& flags) {
  ShowPolicyFlags show;
  show.names = {flags.policy_name};
  show.json = flags.add.json;
  return RunShowPolicies(online, show);
}

ExitCode DeletePolicy(const Online& online, const KeylimeFlags& flags) {
  return RunDeletePolicy(online, flags.policy_name, flags.add.json);
}

ExitCode ListPolicies(const Online& online, const KeylimeFlags& flags) {
  return RunListPolicies(online, flags.add.json);
}

// What a command is about, which has to be named.
enum class Subject { kAgent, kPolicy, kNothing };

struct Command {
  const char* name;
  Subject subject;
  ExitCode (*run)(const Online& online, const KeylimeFlags& flags);
};
constexpr Command kCommands[] = {
    {"add", Subject::kAgent, Add},
    {"update", Subject::kAgent, Update},
    {"delete", Subject::kAgent, Delete},
    {"status", Subject::kAgent, Status},
    {"list", Subject::kNothing, List},
    {"reactivate", Subject::kAgent, Reactivate},
    // There is one program in place of verifier and registrar.
    {"cvstatus", Subject::kAgent, Status},
    {"cvlist", Subject::kNothing, List},
    {"bulkinfo", Subject::kNothing, BulkInfo},
    {"regstatus", Subject::kAgent, Status},
    {"reglist", Subject::kNothing, Enrolled},
    {"regdelete", Subject::kAgent, Delete},
    {"addruntimepolicy", Subject::kPolicy, AddPolicy},
    {"updateruntimepolicy", Subject::kPolicy, UpdatePolicy},
    {"showruntimepolicy", Subject::kPolicy, ShowPolicy},
    {"deleteruntimepolicy", Subject::kPolicy, DeletePolicy},
    {"listruntimepolicy", Subject::kNothing, ListPolicies},
    {"addallowlist", Subject::kPolicy, AddPolicy},
    {"showallowlist", Subject::kPolicy, ShowPolicy},
    {"deleteallowlist", Subject::kPolicy, DeletePolicy},
};

ExitCode Run(const Online& online, KeylimeFlags flags) {
  const auto* const command =
      std::ranges::find(kCommands, flags.command, &Command::name);
  if (command == std::end(kCommands)) {
    return Refuse(absl::StrCat(
        "-c ", Quoted(flags.command, 100),
        absl::EndsWith(flags.command, "mbpolicy")
            ? ": policies over the boot's event log come later; --boot says "
              "which boot is allowed"
            : ": no such command; cupel-tenant -c list --help names them"));
  }
  if (command->subject == Subject::kAgent && flags.add.agent.empty()) {
    return Refuse(absl::StrCat("-c ", flags.command, " needs --uuid UUID"));
  }
  if (command->subject == Subject::kPolicy && flags.policy_name.empty()) {
    return Refuse(absl::StrCat("-c ", flags.command,
                               " needs --runtime-policy-name NAME"));
  }
  SettingsFlags& settings = flags.add.settings;
  if (!flags.tpm_policy.empty()) {
    if (!settings.boot.empty()) {
      return Refuse("--boot or --tpm_policy, not both");
    }
    settings.boot = flags.tpm_policy;
  }
  if (command->subject == Subject::kAgent && !flags.policy_name.empty()) {
    if (settings.HasOwnPolicy()) {
      return Refuse(
          "--runtime-policy-name is one that the verifier has: leave "
          "--runtime-policy, --allowlist and --exclude out, or store them "
          "first by -c addruntimepolicy");
    }
    settings.policies.push_back(flags.policy_name);
  }
  return command->run(online, flags);
}

std::string CommandNames() {
  std::string names;
  for (const Command& command : kCommands) {
    absl::StrAppend(&names, names.empty() ? "" : ", ", command.name);
  }
  return names;
}

// What Keylime has to be told and Cupel does not.
void RegisterIgnored(CLI::App& app, KeylimeFlags& flags) {
  const auto ignore = [&](const char* name, const char* help,
                          const char* type) {
    app.add_option(name, flags.ignored, help)
        ->group("Accepted, and of no effect")
        ->type_name(type);
  };
  ignore("-t,--targethost", "The machine: agents call the verifier", "HOST");
  ignore("--targetport", "The same, also -tp", "PORT");
  ignore("--cv_targethost", "The same", "HOST");
  ignore("-r,--registrarhost", "The registrar is the verifier", "HOST");
  ignore("--registrarport", "The same, also -rp", "PORT");
  ignore("--cvid", "The verifier's name, also -vi", "ID");
  app.add_flag("--no-verifier-check", flags.ignored_flag, "Also -nvc")
      ->group("Accepted, and of no effect");
}

}  // namespace

bool IsKeylimeForm(const std::vector<std::string>& arguments) {
  if (arguments.empty() || !absl::StartsWith(arguments.front(), "-")) {
    return false;
  }
  return std::ranges::any_of(arguments, [](const std::string& argument) {
    return argument == "-u" || argument == "--uuid" || argument == "-c" ||
           argument == "--command" || absl::StartsWith(argument, "--uuid=") ||
           absl::StartsWith(argument, "--command=");
  });
}

std::vector<std::string> ExpandKeylimeOptions(
    std::vector<std::string> arguments) {
  constexpr std::pair<const char*, const char*> kLongNames[] = {
      {"-vp", "--verifier-port"},
      {"-tp", "--targetport"},
      {"-rp", "--registrarport"},
      {"-vi", "--cvid"},
      {"-nvc", "--no-verifier-check"}};
  for (std::string& argument : arguments) {
    for (const auto& [option, long_name] : kLongNames) {
      if (argument == option) argument = long_name;
    }
  }
  return arguments;
}

void RegisterKeylimeForm(CLI::App& app, Online& online, ExitCode& exit_code) {
  const auto flags = std::make_shared<KeylimeFlags>();
  app.add_option("-c,--command", flags->command,
                 absl::StrCat("What to do, add unless given: ", CommandNames()))
      ->type_name("COMMAND");
  app.add_option("-u,--uuid", flags->add.agent, "The agent's id")
      ->type_name("UUID");
  app.add_option("-f,--file", flags->payload,
                 "A payload: it has to be there, and is not sent yet")
      ->type_name("FILE");
  app.add_option("--ek", flags->add.ek, "The SHA-256 of its EK certificate")
      ->type_name("SHA256");
  app.add_flag("--token", flags->add.token,
               "The machine that enrolled with a token of yours");
  app.add_flag(
      "--vouched", flags->add.vouched,
      "One whose EK is on your list, or that enrols with such a token");
  app.add_flag("--trust-on-first-use", flags->add.trust_on_first_use,
               "Trust whatever EK has the id, or first takes it");
  app.add_option("--runtime-policy", flags->add.settings.allowlist,
                 "The same as --allowlist: a runtime policy (JSON), or lines")
      ->type_name("FILE");
  app.add_option("--runtime-policy-name,--allowlist-name", flags->policy_name,
                 "A policy by the name that the verifier has it by")
      ->type_name("NAME");
  app.add_option("--tpm_policy", flags->tpm_policy,
                 "The same as --boot: PCR values as JSON, or a file")
      ->type_name("JSON");
  app.add_flag("--json", flags->add.json, "Machine-readable output");
  RegisterIgnored(app, *flags);
  flags->add.settings.Register(app, "-l,--label");
  online.Register(app);
  app.callback(
      [flags, &online, &exit_code] { exit_code = Run(online, *flags); });
}

}  // namespace cupel::tenant
