#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/util/status_macros.h"
#include "tenant/commands/online.h"
#include "tenant/console.h"
#include "tenant/help_formatter.h"

namespace cupel::tenant {
namespace {

struct AttestFlags {
  std::string agent;
  bool json = false;
};

absl::Status Attest(const Online& online, const AgentId& id) {
  CUPEL_ASSIGN_OR_RETURN(const auto fleet, online.Connect());
  return fleet->AttestNow(id);
}

ExitCode Run(const Online& online, const AttestFlags& flags) {
  const auto id = ParseAgent(flags.agent);
  if (!id.ok()) return Fail(id.status());
  if (const absl::Status status = Attest(online, *id); !status.ok()) {
    return Fail(status);
  }
  if (flags.json) {
    PrintLine(DumpJson({{"agent", id->ToString()}, {"asked", true}}, 2));
  } else {
    PrintLine(absl::StrCat("agent ", id->ToString(),
                           " was asked for a quote; status shows the result"));
  }
  return ExitCode::kOk;
}

}  // namespace

void RegisterAttest(CLI::App& parent, Online& online, ExitCode& exit_code) {
  const auto flags = std::make_shared<AttestFlags>();
  CLI::App* command = parent.add_subcommand(
      "attest",
      "Have an agent attest now, and not when its next challenge is due. "
      "Several requests at a time become one.");
  command->add_option("agent", flags->agent, "The agent's id")
      ->required()
      ->type_name("UUID");
  command->add_flag("--json", flags->json, "Machine-readable output");
  online.Register(*command);
  AddExamples(*command,
              {"cupel-tenant attest d432fbb3-d2f1-4a97-9ef7-75bd81c00000"});
  command->callback(
      [flags, &online, &exit_code] { exit_code = Run(online, *flags); });
}

}  // namespace cupel::tenant
