#include "absl/status/status.h"
#include "common/util/status_context.h"
#include "common/util/status_macros.h"
#include "tenant/commands/agent_command.h"
#include "tenant/commands/online.h"

namespace cupel::tenant {
namespace {

absl::Status Delete(Fleet& fleet, const AgentId& id) {
  CUPEL_RETURN_IF_ERROR(fleet.Delete(id));
  // Its own policy, which `add` and `update` have named after it.
  const absl::Status policy = fleet.DeletePolicy(id.ToString());
  return absl::IsNotFound(policy) ? absl::OkStatus()
                                  : WithContext(policy,
                                                "the agent is deleted, but its "
                                                "own policy is not");
}

}  // namespace

ExitCode RunDelete(const Online& online, const AgentFlags& flags) {
  return RunOnAgent(online, flags, {.member = "deleted", .words = "deleted"},
                    Delete);
}

void RegisterDelete(CLI::App& parent, Online& online, ExitCode& exit_code) {
  RegisterAgentCommand(
      parent, online, exit_code,
      {.name = "delete",
       .description =
           "Forget an agent: its EK, its settings, its own policy and its "
           "history. It has to enrol and to be added anew.",
       .examples = {"cupel-tenant delete d432fbb3-d2f1-4a97-9ef7-75bd81c00000"},
       .run = RunDelete});
}

}  // namespace cupel::tenant
