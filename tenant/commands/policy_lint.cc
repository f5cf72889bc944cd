#include <algorithm>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "CLI/App.hpp"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "common/policy/compiled_policy.h"
#include "common/policy/tpm_policy.h"
#include "common/util/escape.h"
#include "common/util/status_macros.h"
#include "nlohmann/json.hpp"
#include "tenant/commands/commands.h"
#include "tenant/console.h"
#include "tenant/help_formatter.h"
#include "tenant/inputs.h"

namespace cupel::tenant {
namespace {

using Json = nlohmann::ordered_json;

struct LintFlags {
  PolicyFlags policy;
  std::string tpm_policy;
  bool json = false;
};

// The warnings of every file that the flags name.
absl::StatusOr<std::vector<policy::PolicyWarning>> LoadWarnings(
    const LintFlags& flags) {
  std::vector<std::string> paths = flags.policy.Paths();
  paths.push_back(flags.tpm_policy);
  CUPEL_RETURN_IF_ERROR(CheckStandardInput(paths));
  std::vector<policy::PolicyWarning> warnings;
  if (!flags.tpm_policy.empty()) {
    CUPEL_ASSIGN_OR_RETURN(policy::TpmPolicy tpm_policy,
                           LoadTpmPolicy(flags.tpm_policy));
    warnings = std::move(tpm_policy.warnings);
    if (flags.policy.Paths().empty()) return warnings;
  }
  CUPEL_ASSIGN_OR_RETURN(const auto policies, LoadPolicies(flags.policy));
  // What one file allows may be too much for all of them together.
  CUPEL_RETURN_IF_ERROR(Compile(policies).status());
  std::ranges::move(WarningsOf(policies), std::back_inserter(warnings));
  return warnings;
}

ExitCode Lint(const LintFlags& flags) {
  const auto warnings = LoadWarnings(flags);
  if (!warnings.ok()) return Fail(warnings.status());
  size_t count = 0;
  Json all = Json::array();
  for (const policy::PolicyWarning& warning : *warnings) {
    count += warning.count;
    if (flags.json) {
      all.push_back({{"code", warning.code},
                     {"origin", EscapeForJson(warning.origin)},
                     {"message", EscapeForJson(warning.message)},
                     {"count", warning.count}});
    } else {
      PrintLine(absl::StrCat(EscapeForDisplay(warning.origin), ": ",
                             EscapeForDisplay(warning.message), " [",
                             warning.code, "]"));
    }
  }
  if (flags.json) {
    PrintLine(DumpJson(all, 2));
  } else {
    PrintLine(absl::StrCat(count, count == 1 ? " warning" : " warnings"));
  }
  return count == 0 ? ExitCode::kOk : ExitCode::kFindings;
}

}  // namespace

void RegisterPolicyLint(CLI::App& parent, ExitCode& exit_code) {
  const auto flags = std::make_shared<LintFlags>();
  CLI::App* command = parent.add_subcommand(
      "lint",
      "Print what looks wrong in policy files: patterns that exclude more than "
      "they seem to, weak digests, members that Keylime would miss. Exit code "
      "1 if there is anything, 2 if a file can't be loaded at all.");
  flags->policy.Register(*command, /*positional=*/true);
  command
      ->add_option("--tpm-policy", flags->tpm_policy,
                   "Allowed PCR values: Keylime's tpm_policy, as JSON")
      ->type_name("FILE");
  command->add_flag("--json", flags->json, "Machine-readable output");
  AddExamples(*command,
              {"cupel-tenant policy lint policy.json --exclude exclude.txt"});
  command->callback([flags, &exit_code] { exit_code = Lint(*flags); });
}

}  // namespace cupel::tenant
