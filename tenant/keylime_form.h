// Keylime's command line, as scripts have it:
//
//   cupel-tenant -v IP -t IP -f FILE --uuid ID --allowlist FILE --exclude FILE
//                [-c add|update|delete|status|list|reactivate|...]
#ifndef CUPEL_TENANT_KEYLIME_FORM_H_
#define CUPEL_TENANT_KEYLIME_FORM_H_

#include <string>
#include <vector>

#include "CLI/App.hpp"
#include "tenant/connection.h"
#include "tenant/exit_code.h"

namespace cupel::tenant {

// True if `arguments`, without the program's name, are in that form: options
// come first, and one of them is -u, --uuid, -c or --command.
bool IsKeylimeForm(const std::vector<std::string>& arguments);

// Keylime's options of one dash and several letters (-vp, -tp, -rp, -vi, -nvc),
// which CLI11 does not know, as their long names; everything else as it is.
std::vector<std::string> ExpandKeylimeOptions(
    std::vector<std::string> arguments);

// Makes `app` take that form instead of subcommands. `online` outlives `app`.
void RegisterKeylimeForm(CLI::App& app, Online& online, ExitCode& exit_code);

}  // namespace cupel::tenant

#endif  // CUPEL_TENANT_KEYLIME_FORM_H_
