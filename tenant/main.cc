#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <memory>
#include <new>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/config/loader.h"
#include "common/util/escape.h"
#include "tenant/commands/commands.h"
#include "tenant/commands/online.h"
#include "tenant/connection.h"
#include "tenant/console.h"
#include "tenant/exit_code.h"
#include "tenant/help_formatter.h"
#include "tenant/keylime_form.h"
#include "tenant/rpc/fleet_client.h"

namespace cupel::tenant {
namespace {

constexpr char kDescription[] =
    "Operates Cupel, and judges a machine's evidence offline: its IMA "
    "measurement list, PCR values and quotes by its TPM.";
constexpr char kFooter[] =
    "Exit codes: 0, all that was asked for passed; 1, a check failed, and the "
    "findings say which; 2, bad input, or a check could not be made.";

// A standard stream that the caller has closed would be the next file opened,
// and what is meant for people would be written into that. In its place comes
// one that can't be used: reading or writing it is an error.
void OccupyStandardStreams() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(fd, F_GETFD) < 0 && errno == EBADF) {
      open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
    }
  }
}

// The command that the arguments have led to.
const CLI::App& ChosenCommand(const CLI::App& app) {
  const CLI::App* chosen = &app;
  while (!chosen->get_subcommands().empty()) {
    chosen = chosen->get_subcommands().front();
  }
  return *chosen;
}

std::string FullName(const CLI::App& command) {
  const CLI::App* parent = command.get_parent();
  return parent == nullptr
             ? command.get_name()
             : absl::StrCat(FullName(*parent), " ", command.get_name());
}

// Says what is wrong with the command line, and how to learn more.
void ExplainUsage(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App& chosen = ChosenCommand(app);
  const bool needs_command = chosen.get_require_subcommand_min() > 0;
  const std::vector<std::string> unknown = chosen.remaining();
  std::string message = EscapeForDisplay(error.what());
  if (needs_command && unknown.empty()) {
    PrintError(absl::StrCat("no command is given\n\n", app.help()));
    return;
  }
  if (needs_command) {
    message = absl::StrCat(
        "unknown ",
        absl::StartsWith(unknown.front(), "-") ? "option " : "command ",
        Quoted(unknown.front()));
  }
  PrintError(
      absl::StrCat(message, "\nRun ", FullName(chosen), " --help for more."));
}

void RegisterCommands(CLI::App& app, Online& online, ExitCode& exit_code) {
  RegisterAdd(app, online, exit_code);
  RegisterUpdate(app, online, exit_code);
  RegisterDelete(app, online, exit_code);
  RegisterStatus(app, online, exit_code);
  RegisterList(app, online, exit_code);
  RegisterEnrolled(app, online, exit_code);
  RegisterReactivate(app, online, exit_code);
  RegisterEk(app, online, exit_code);
  RegisterStop(app, online, exit_code);
  RegisterAttest(app, online, exit_code);
  RegisterExplain(app, online, exit_code);
  RegisterWatch(app, online, exit_code);

  CLI::App* token =
      app.add_subcommand("token", "Enrolment tokens: whose a machine is.");
  token->require_subcommand(1);
  RegisterTokenCreate(*token, online, exit_code);

  CLI::App* log =
      app.add_subcommand("log", "Look at a measurement list, binary or text.");
  log->require_subcommand(1);
  RegisterLogShow(*log, exit_code);
  RegisterLogReplay(*log, exit_code);

  RegisterAppraise(app, exit_code);

  CLI::App* allowlist = app.add_subcommand(
      "allowlist", "Make an allowlist of a machine's files.");
  allowlist->require_subcommand(1);
  RegisterAllowlistCreate(*allowlist, exit_code);

  CLI::App* policy = app.add_subcommand(
      "policy",
      "Make policies, look at them, check and convert them, hand them to the "
      "verifier.");
  policy->require_subcommand(1);
  RegisterPolicyCreate(*policy, exit_code);
  RegisterPolicyShow(*policy, online, exit_code);
  RegisterPolicyLint(*policy, exit_code);
  RegisterPolicyConvert(*policy, exit_code);
  RegisterPolicyStore(*policy, online, exit_code);
}

// An option that is given without a value, as by a script whose variable is
// empty, would be taken for one that is not given: a check that was asked for
// would not be made. Only a nonce may be empty.
void RefuseEmptyValues(CLI::App& app) {
  for (CLI::Option* option : app.get_options()) {
    if (option->get_items_expected_max() == 0 || option->check_lname("nonce")) {
      continue;
    }
    option->check([](const std::string& value) -> std::string {
      return value.empty() ? "the value is empty" : "";
    });
  }
  for (CLI::App* command : app.get_subcommands({})) RefuseEmptyValues(*command);
}

// Runs the command that the arguments name; its result is in `exit_code`.
void RunCommand(CLI::App& app, std::vector<std::string> arguments,
                ExitCode& exit_code) {
  std::ranges::reverse(arguments);  // CLI11 takes them so
  try {
    app.parse(std::move(arguments));
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() != 0) {
      ExplainUsage(app, error);
      exit_code = ExitCode::kUndecided;
      return;
    }
    // --help and --version come this way too.
    std::ostringstream text;
    app.exit(error, text, text);
    PrintText(text.str());
    exit_code = ExitCode::kOk;
  }
}

ExitCode Run(int argc, char** argv) {
  ExitCode exit_code = ExitCode::kUndecided;
  CLI::App app(kDescription, "cupel-tenant");
  app.formatter(std::make_shared<HelpFormatter>());
  app.footer(kFooter);
  app.set_help_flag("-h,--help", "Print this text");
  app.set_version_flag("--version",
                       std::string("cupel-tenant ") + CUPEL_VERSION,
                       "Print the version");
  Online online(config::DefaultSources("tenant"), FleetClient::Create);
  std::vector<std::string> arguments = ExpandKeylimeOptions(
      std::vector<std::string>(argv + std::min(argc, 1), argv + argc));
  if (IsKeylimeForm(arguments)) {
    RegisterKeylimeForm(app, online, exit_code);
  } else {
    app.require_subcommand(1);
    online.RegisterConfigFile(app);
    RegisterCommands(app, online, exit_code);
  }
  RefuseEmptyValues(app);
  RunCommand(app, std::move(arguments), exit_code);
  if (!FlushOutput()) {
    PrintError("could not write to standard output");
    return ExitCode::kUndecided;
  }
  return exit_code;
}

}  // namespace
}  // namespace cupel::tenant

int main(int argc, char** argv) {
  cupel::tenant::OccupyStandardStreams();
  // Nothing thrown, whatever threw it, may end in a code that means "passed".
  try {
    return static_cast<int>(cupel::tenant::Run(argc, argv));
  } catch (const std::bad_alloc&) {
    cupel::tenant::PrintError("out of memory");
  } catch (const std::exception& error) {
    cupel::tenant::PrintError(cupel::EscapeForDisplay(error.what()));
  } catch (...) {
    cupel::tenant::PrintError("unknown exception");
  }
  return static_cast<int>(cupel::tenant::ExitCode::kUndecided);
}
