#include <exception>
#include <iostream>

#include "CLI/CLI.hpp"
#include "common/util/escape.h"

namespace cupel::agent {
namespace {

// What every command exits with.
enum class ExitCode : int {
  kUndecided = 2,  // bad usage, or it could not be done
};

struct Command {
  const char* name;
  const char* help;
};
constexpr Command kCommandTable[] = {
    {"run", "Keep this machine attested until it is told to end."},
    {"identity", "Show the TPM's endorsement key and its fingerprint."},
    {"doctor", "Look for what would keep this machine from being attested."},
    {"selftest", "Replay this machine's list against its own PCRs."},
    {"ima-emulator",
     "Run a command, and measure what it executes, as the kernel would."},
};

int Main(int argc, char** argv) {
  CLI::App app("Has this machine's TPM prove what it runs.", "cupel-agent");
  app.set_version_flag("--version", CUPEL_VERSION);
  app.require_subcommand(1);
  for (const Command& command : kCommandTable) {
    app.add_subcommand(command.name, command.help)->allow_extras();
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& asked_for) {
    return app.exit(asked_for);
  } catch (const CLI::ParseError& error) {
    std::cerr << "cupel-agent: " << EscapeForDisplay(error.what())
              << "\nRun cupel-agent --help for more.\n";
    return static_cast<int>(ExitCode::kUndecided);
  }
  std::cerr << "cupel-agent " << app.get_subcommands().front()->get_name()
            << ": not built yet\n";
  return static_cast<int>(ExitCode::kUndecided);
}

}  // namespace
}  // namespace cupel::agent

int main(int argc, char** argv) {
  try {
    return cupel::agent::Main(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "cupel-agent: " << cupel::EscapeForDisplay(error.what())
              << '\n';
    return 2;
  }
}
