// The subcommands that talk to a verifier. Each Register function adds one to
// `parent`, as those of commands.h do.
#ifndef CUPEL_TENANT_COMMANDS_ONLINE_H_
#define CUPEL_TENANT_COMMANDS_ONLINE_H_

#include <string>
#include <vector>

#include "CLI/App.hpp"
#include "tenant/commands/agent_command.h"
#include "tenant/connection.h"
#include "tenant/exit_code.h"
#include "tenant/settings_flags.h"

namespace cupel::tenant {

struct AddFlags {
  std::string agent;  // empty with `from` only
  std::string from;   // a file of many
  // One of these says which machine it is; else a person is asked.
  std::string ek;
  bool token = false;
  bool trust_on_first_use = false;
  bool vouched = false;
  SettingsFlags settings;
  bool json = false;
};
ExitCode RunAdd(const Online& online, const AddFlags& flags);
// The agents of `flags.from`.
ExitCode RunAddMany(const Online& online, const AddFlags& flags);

struct UpdateFlags {
  // One of the three says which agents.
  std::string agent;
  std::vector<std::string> labels;
  bool all = false;
  SettingsFlags settings;
  bool json = false;
};
ExitCode RunUpdate(const Online& online, const UpdateFlags& flags);

ExitCode RunDelete(const Online& online, const AgentFlags& flags);
ExitCode RunStatus(const Online& online, const AgentFlags& flags);

struct ListFilter {
  std::vector<std::string> labels;
  std::string state;
  bool json = false;
};
ExitCode RunList(const Online& online, const ListFilter& filter);
ExitCode RunEnrolled(const Online& online, bool json);

// A policy of the verifier: what is sent to it, and under which name.
struct PutPolicyFlags {
  std::string name;
  PolicyFlags files;
  bool json = false;
};
// `create`: as a new one, else in place of one that is there.
ExitCode RunPutPolicy(const Online& online, const PutPolicyFlags& flags,
                      bool create);
ExitCode RunDeletePolicy(const Online& online, const std::string& name,
                         bool json);
ExitCode RunListPolicies(const Online& online, bool json);

struct ShowPolicyFlags {
  PolicyFlags policy;
  // Names at the verifier.
  std::vector<std::string> names;
  std::string path;
  bool digests = false;
  bool json = false;
};
ExitCode RunShowPolicies(const Online& online, const ShowPolicyFlags& flags);

struct ReactivateFlags {
  std::string agent;
  std::vector<std::string> accept;
  std::string reason;
  std::string approve_boot;
  bool reset_counters = false;
  bool json = false;
};
ExitCode RunReactivate(const Online& online, const ReactivateFlags& flags);

// `online` outlives `parent`.
void RegisterAdd(CLI::App& parent, Online& online, ExitCode& exit_code);
void RegisterUpdate(CLI::App& parent, Online& online, ExitCode& exit_code);
void RegisterDelete(CLI::App& parent, Online& online, ExitCode& exit_code);
void RegisterStatus(CLI::App& parent, Online& online, ExitCode& exit_code);
void RegisterList(CLI::App& parent, Online& online, ExitCode& exit_code);
void RegisterEnrolled(CLI::App& parent, Online& online, ExitCode& exit_code);
void RegisterReactivate(CLI::App& parent, Online& online, ExitCode& exit_code);
// allow, disallow and list of `ek`.
void RegisterEk(CLI::App& parent, Online& online, ExitCode& exit_code);
void RegisterStop(CLI::App& parent, Online& online, ExitCode& exit_code);
void RegisterAttest(CLI::App& parent, Online& online, ExitCode& exit_code);
void RegisterExplain(CLI::App& parent, Online& online, ExitCode& exit_code);
void RegisterWatch(CLI::App& parent, Online& online, ExitCode& exit_code);
void RegisterTokenCreate(CLI::App& parent, Online& online, ExitCode& exit_code);
// add, update, delete and list of `policy`.
void RegisterPolicyStore(CLI::App& parent, Online& online, ExitCode& exit_code);
// Policies in files, and those that the verifier has.
void RegisterPolicyShow(CLI::App& parent, Online& online, ExitCode& exit_code);

}  // namespace cupel::tenant

#endif  // CUPEL_TENANT_COMMANDS_ONLINE_H_
