#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/util/status_macros.h"
#include "tenant/commands/online.h"
#include "tenant/console.h"
#include "tenant/help_formatter.h"
#include "tenant/labels.h"
#include "tenant/policy_upload.h"

namespace cupel::tenant {
namespace {

absl::StatusOr<Selector> WhichAgents(const UpdateFlags& flags) {
  const int ways = static_cast<int>(!flags.agent.empty()) +
                   static_cast<int>(!flags.labels.empty()) +
                   static_cast<int>(flags.all);
  if (ways != 1) {
    return absl::InvalidArgumentError(
        "which agents? Give one's id, or labels (-l KEY=VALUE), or --all");
  }
  Selector selector;
  selector.all = flags.all;
  if (!flags.agent.empty()) {
    CUPEL_ASSIGN_OR_RETURN(selector.id, ParseAgent(flags.agent));
  }
  CUPEL_ASSIGN_OR_RETURN(selector.labels, ParseLabels(flags.labels));
  return selector;
}

// Stores the agent's own policy and has the agent use it.
absl::Status UpdateOwnPolicy(Fleet& fleet, const AgentId& id,
                             const std::string& file, AgentSettings& settings,
                             std::vector<std::string>& changed) {
  CUPEL_ASSIGN_OR_RETURN(const ReportedAgent agent, fleet.Get(id));
  CUPEL_RETURN_IF_ERROR(StorePolicy(fleet, id.ToString(), file, nullptr));
  if (settings.policies.empty()) {
    settings.policies = agent.settings.policies;
    changed.emplace_back("policies");
  }
  if (std::ranges::find(settings.policies, id.ToString()) ==
      settings.policies.end()) {
    settings.policies.push_back(id.ToString());
  }
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> Update(const Online& online,
                                const UpdateFlags& flags) {
  CUPEL_ASSIGN_OR_RETURN(const Selector selector, WhichAgents(flags));
  std::vector<std::string> changed;
  CUPEL_ASSIGN_OR_RETURN(AgentSettings settings,
                         flags.settings.ToSettings(changed));
  std::string own_policy;
  if (flags.settings.HasOwnPolicy()) {
    if (!selector.id.has_value()) {
      return absl::InvalidArgumentError(
          "--allowlist, --exclude and --deny make one agent's own policy; for "
          "several, use `policy add` and --policy NAME");
    }
    CUPEL_ASSIGN_OR_RETURN(const config::TenantConfig config, online.Config());
    CUPEL_ASSIGN_OR_RETURN(const PolicyFlags files,
                           flags.settings.OwnPolicy(config));
    CUPEL_ASSIGN_OR_RETURN(own_policy, LoadUpload(files));
  } else if (changed.empty()) {
    return absl::InvalidArgumentError(
        "nothing to update; --help lists what can be");
  }
  CUPEL_ASSIGN_OR_RETURN(const auto fleet, online.Connect());
  if (!own_policy.empty()) {
    CUPEL_RETURN_IF_ERROR(
        UpdateOwnPolicy(*fleet, *selector.id, own_policy, settings, changed));
  }
  CUPEL_ASSIGN_OR_RETURN(const uint64_t count,
                         fleet->Update(selector, settings, changed));
  if (count == 0) return absl::NotFoundError("there is no such agent");
  return count;
}

}  // namespace

ExitCode RunUpdate(const Online& online, const UpdateFlags& flags) {
  const auto count = Update(online, flags);
  if (!count.ok()) return Fail(count.status());
  if (flags.json) {
    PrintLine(DumpJson({{"updated", *count}}, 2));
  } else {
    PrintLine(
        absl::StrCat(*count, *count == 1 ? " agent" : " agents", " updated"));
  }
  return ExitCode::kOk;
}

void RegisterUpdate(CLI::App& parent, Online& online, ExitCode& exit_code) {
  const auto flags = std::make_shared<UpdateFlags>();
  CLI::App* command = parent.add_subcommand(
      "update",
      "Change how agents are judged. What is not given stays as it is.");
  command->add_option("agent", flags->agent, "The agent's id")
      ->type_name("UUID");
  command
      ->add_option("-l,--label", flags->labels,
                   "All agents with this label. May be given several times")
      ->allow_extra_args(false)
      ->type_name("KEY=VALUE");
  command->add_flag("--all", flags->all, "All agents");
  command->add_flag("--json", flags->json, "Machine-readable output");
  flags->settings.Register(*command, "--set-label");
  online.Register(*command);
  AddExamples(
      *command,
      {"cupel-tenant update d432fbb3-d2f1-4a97-9ef7-75bd81c00000 --boot any",
       "cupel-tenant update -l site=x --policy base --policy site-x",
       "cupel-tenant update --all --interval 30s"});
  command->callback(
      [flags, &online, &exit_code] { exit_code = RunUpdate(online, *flags); });
}

}  // namespace cupel::tenant
