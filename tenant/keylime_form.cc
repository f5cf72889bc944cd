#include "tenant/keylime_form.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/util/escape.h"
#include "tenant/commands/online.h"
#include "tenant/console.h"

namespace cupel::tenant {
namespace {

struct KeylimeFlags {
  std::string command = "add";
  std::string agent;
  std::string machine;
  std::string file;
  std::string ek;
  bool trust_on_first_use = false;
  SettingsFlags settings;
};

// Keylime's update registers the agent anew; Cupel's changes what is given and
// keeps the agent's history.
ExitCode Run(const Online& online, const KeylimeFlags& flags) {
  if (flags.command == "list") return RunList(online, {});
  if (flags.agent.empty()) {
    return Fail(absl::InvalidArgumentError(
        absl::StrCat("-c ", flags.command, " needs --uuid UUID")));
  }
  if (flags.command == "delete") return RunDelete(online, flags.agent, false);
  if (flags.command == "status") return RunStatus(online, flags.agent, false);
  if (flags.command == "reactivate") {
    ReactivateFlags reactivate;
    reactivate.agent = flags.agent;
    return RunReactivate(online, reactivate);
  }
  if (!flags.file.empty()) {
    PrintError(absl::StrCat("warning: -f ", EscapeForDisplay(flags.file),
                            ": payloads are not sent yet; the file stays "
                            "here"));
  }
  if (flags.command == "update") {
    UpdateFlags update;
    update.agent = flags.agent;
    update.settings = flags.settings;
    return RunUpdate(online, update);
  }
  AddFlags add;
  add.agent = flags.agent;
  add.ek = flags.ek;
  add.trust_on_first_use = flags.trust_on_first_use;
  add.settings = flags.settings;
  return RunAdd(online, add);
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
  for (std::string& argument : arguments) {
    if (argument == "-vp") argument = "--verifier-port";
    if (argument == "-tp") argument = "--targetport";
  }
  return arguments;
}

void RegisterKeylimeForm(CLI::App& app, Online& online, ExitCode& exit_code) {
  const auto flags = std::make_shared<KeylimeFlags>();
  app.add_option("-c,--command", flags->command, "What to do; otherwise add")
      ->check(CLI::IsMember(
          {"add", "update", "delete", "status", "list", "reactivate"}))
      ->type_name("COMMAND");
  app.add_option("-u,--uuid", flags->agent, "The agent's id")
      ->type_name("UUID");
  app.add_option("-t,--targethost", flags->machine,
                 "Not used: agents call the verifier")
      ->type_name("HOST");
  app.add_option("--targetport", flags->machine, "Not used, as -t")
      ->type_name("PORT");
  app.add_option("-f,--file", flags->file, "Not sent yet")->type_name("FILE");
  app.add_option("--ek", flags->ek, "The SHA-256 of its EK certificate")
      ->type_name("SHA256");
  app.add_flag("--trust-on-first-use", flags->trust_on_first_use,
               "Trust whatever EK has the id, or first takes it");
  flags->settings.Register(app, "-l,--label");
  online.Register(app);
  app.callback(
      [flags, &online, &exit_code] { exit_code = Run(online, *flags); });
}

}  // namespace cupel::tenant
