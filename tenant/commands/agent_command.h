// What the commands about one agent share.
#ifndef CUPEL_TENANT_COMMANDS_AGENT_COMMAND_H_
#define CUPEL_TENANT_COMMANDS_AGENT_COMMAND_H_

#include <functional>
#include <string>
#include <vector>

#include "CLI/App.hpp"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "tenant/connection.h"
#include "tenant/exit_code.h"
#include "tenant/fleet.h"

namespace cupel::tenant {

struct AgentFlags {
  std::string agent;
  bool json = false;
};

struct AgentCommand {
  std::string name;
  std::string description;
  std::vector<std::string> examples;  // a command line each
  std::function<ExitCode(const Online&, const AgentFlags&)> run;
};

// Adds `command` to `parent`: with the agent's id, --json and the options of
// the verifier; what it returns becomes `exit_code`. Options may be added to
// what is returned. `online` and `exit_code` outlive `parent`.
CLI::App& RegisterAgentCommand(CLI::App& parent, Online& online,
                               ExitCode& exit_code, AgentCommand command);

// How a command that does one thing to an agent says so.
struct DoneText {
  std::string member;  // true in JSON
  std::string words;   // after "agent ID "
};

// Does it, and prints that, or why not.
ExitCode RunOnAgent(
    const Online& online, const AgentFlags& flags, const DoneText& done,
    absl::FunctionRef<absl::Status(Fleet&, const AgentId&)> act);

}  // namespace cupel::tenant

#endif  // CUPEL_TENANT_COMMANDS_AGENT_COMMAND_H_
