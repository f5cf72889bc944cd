#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/util/status_context.h"
#include "common/util/status_macros.h"
#include "tenant/commands/online.h"
#include "tenant/console.h"
#include "tenant/help_formatter.h"

namespace cupel::tenant {
namespace {

struct DeleteFlags {
  std::string agent;
  bool json = false;
};

absl::Status Delete(const Online& online, const AgentId& id) {
  CUPEL_ASSIGN_OR_RETURN(const auto fleet, online.Connect());
  CUPEL_RETURN_IF_ERROR(fleet->Delete(id));
  // Its own policy, which `add` and `update` have named after it.
  const absl::Status policy = fleet->DeletePolicy(id.ToString());
  return absl::IsNotFound(policy) ? absl::OkStatus()
                                  : WithContext(policy,
                                                "the agent is deleted, but its "
                                                "own policy is not");
}

}  // namespace

ExitCode RunDelete(const Online& online, const std::string& agent, bool json) {
  const auto id = ParseAgent(agent);
  if (!id.ok()) return Fail(id.status());
  if (const absl::Status status = Delete(online, *id); !status.ok()) {
    return Fail(status);
  }
  if (json) {
    PrintLine(DumpJson({{"agent", id->ToString()}, {"deleted", true}}, 2));
  } else {
    PrintLine(absl::StrCat("agent ", id->ToString(), " deleted"));
  }
  return ExitCode::kOk;
}

void RegisterDelete(CLI::App& parent, Online& online, ExitCode& exit_code) {
  const auto flags = std::make_shared<DeleteFlags>();
  CLI::App* command = parent.add_subcommand(
      "delete",
      "Forget an agent: its EK, its settings, its own policy and its history. "
      "It has to enrol and to be added anew.");
  command->add_option("agent", flags->agent, "The agent's id")
      ->required()
      ->type_name("UUID");
  command->add_flag("--json", flags->json, "Machine-readable output");
  online.Register(*command);
  AddExamples(*command,
              {"cupel-tenant delete d432fbb3-d2f1-4a97-9ef7-75bd81c00000"});
  command->callback([flags, &online, &exit_code] {
    exit_code = RunDelete(online, flags->agent, flags->json);
  });
}

}  // namespace cupel::tenant
