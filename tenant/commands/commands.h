// The subcommands. Each Register function adds one to `parent` with its
// options; when it is the one chosen, its result is stored in `exit_code`.
#ifndef CUPEL_TENANT_COMMANDS_COMMANDS_H_
#define CUPEL_TENANT_COMMANDS_COMMANDS_H_

#include "CLI/App.hpp"
#include "tenant/exit_code.h"

namespace cupel::tenant {

void RegisterLogShow(CLI::App& parent, ExitCode& exit_code);
void RegisterLogReplay(CLI::App& parent, ExitCode& exit_code);
void RegisterAppraise(CLI::App& parent, ExitCode& exit_code);
void RegisterAllowlistCreate(CLI::App& parent, ExitCode& exit_code);
void RegisterPolicyCreate(CLI::App& parent, ExitCode& exit_code);
void RegisterPolicyLint(CLI::App& parent, ExitCode& exit_code);
void RegisterPolicyConvert(CLI::App& parent, ExitCode& exit_code);

}  // namespace cupel::tenant

#endif  // CUPEL_TENANT_COMMANDS_COMMANDS_H_
