#include <unistd.h>

#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/util/escape.h"
#include "common/util/status_macros.h"
#include "tenant/agent_report.h"
#include "tenant/commands/online.h"
#include "tenant/console.h"
#include "tenant/policy_upload.h"

namespace cupel::tenant {
namespace {

// The EK that the machine has enrolled under this id.
absl::StatusOr<std::string> EnrolledEk(Fleet& fleet, const AgentId& id) {
  CUPEL_ASSIGN_OR_RETURN(const auto enrolled, fleet.ListEnrolled());
  std::string ek;
  for (const ReportedAgent& agent : enrolled) {
    const auto known = AgentId::Parse(agent.id);
    if (!known.ok() || *known != id) continue;
    if (!ek.empty()) {
      return absl::FailedPreconditionError(absl::StrCat(
          "several machines claim to be agent ", id.ToString(),
          "; give --ek with the fingerprint that `cupel-agent identity` "
          "prints on the right one"));
    }
    CUPEL_ASSIGN_OR_RETURN(ek, ParseFingerprint(agent.ek_sha256));
  }
  if (!ek.empty()) return ek;
  return absl::FailedPreconditionError(absl::StrCat(
      "agent ", id.ToString(),
      " has not enrolled, so there is no EK to show: start cupel-agent there, "
      "or give --ek with the fingerprint that `cupel-agent identity` prints"));
}

// As ssh does with a host's key. Both streams are the terminal's, so that
// nothing but a person answers.
absl::Status Ask(const AgentId& id, const std::string& ek) {
  std::cerr << "The TPM of agent " << id.ToString()
            << " has this EK certificate:\n  SHA256:" << ek
            << "\nDoes `cupel-agent identity` print the same on the machine "
               "itself? Type yes to trust it: "
            << std::flush;
  std::string answer;
  std::getline(std::cin, answer);
  const std::string word =
      absl::AsciiStrToLower(absl::StripAsciiWhitespace(answer));
  if (std::cin && word == "yes") return absl::OkStatus();
  return absl::CancelledError("not added: its EK was not confirmed");
}

absl::Status ChooseEk(Fleet& fleet, NewAgent& agent) {
  if (!agent.ek_sha256.empty() || agent.trust_on_first_use) {
    return absl::OkStatus();
  }
  CUPEL_ASSIGN_OR_RETURN(const std::string ek, EnrolledEk(fleet, agent.id));
  CUPEL_RETURN_IF_ERROR(Ask(agent.id, ek));
  agent.ek_sha256 = ek;
  return absl::OkStatus();
}

// What the flags and the configuration say, without asking anybody.
absl::StatusOr<NewAgent> Prepare(const TenantDefaults& defaults,
                                 const AddFlags& flags) {
  CUPEL_ASSIGN_OR_RETURN(const AgentId id, ParseAgent(flags.agent));
  SettingsFlags settings = flags.settings;
  if (settings.boot.empty()) settings.boot = defaults.boot;
  if (settings.policies.empty() && !settings.HasOwnPolicy()) {
    settings.policies = defaults.default_policies;
  }
  if (settings.policies.empty() && !settings.HasOwnPolicy()) {
    return absl::InvalidArgumentError(
        "nothing says which files may run there: give --policy NAME, or "
        "--allowlist FILE");
  }
  if (settings.boot.empty()) {
    return absl::InvalidArgumentError(
        "nothing says which boot is allowed: give --boot pinned (the one that "
        "it shows first), --boot FILE (a tpm_policy), or --boot any");
  }
  NewAgent agent{id, {}, "", false};
  std::vector<std::string> changed;
  CUPEL_ASSIGN_OR_RETURN(agent.settings, settings.ToSettings(changed));
  if (!flags.ek.empty()) {
    if (flags.trust_on_first_use) {
      return absl::InvalidArgumentError(
          "--ek or --trust-on-first-use, not both");
    }
    CUPEL_ASSIGN_OR_RETURN(agent.ek_sha256, ParseFingerprint(flags.ek));
  } else if (flags.trust_on_first_use || defaults.trust_on_first_use) {
    agent.trust_on_first_use = true;
  } else if (isatty(STDIN_FILENO) == 0 || isatty(STDERR_FILENO) == 0) {
    return absl::InvalidArgumentError(
        "which machine is it? Give --ek with the fingerprint that `cupel-agent "
        "identity` prints there. (On a terminal, add shows the enrolled EK and "
        "asks; --trust-on-first-use takes whatever EK has the id)");
  }
  return agent;
}

absl::StatusOr<ReportedAgent> Add(const Online& online, const AddFlags& flags) {
  CUPEL_ASSIGN_OR_RETURN(const TenantDefaults defaults, online.defaults());
  CUPEL_ASSIGN_OR_RETURN(NewAgent agent, Prepare(defaults, flags));
  std::string own_policy;
  if (flags.settings.HasOwnPolicy()) {
    CUPEL_ASSIGN_OR_RETURN(const PolicyFlags files,
                           flags.settings.OwnPolicy(defaults));
    CUPEL_ASSIGN_OR_RETURN(own_policy, LoadUpload(files));
    agent.settings.policies.push_back(agent.id.ToString());
  }
  CUPEL_ASSIGN_OR_RETURN(const auto fleet, online.Connect());
  // Before its policy is replaced.
  const auto present = fleet->Get(agent.id);
  if (present.ok() && present->state != AgentState::kEnrolled) {
    return absl::AlreadyExistsError(
        absl::StrCat("agent ", agent.id.ToString(),
                     " was added before; use update, or delete it first"));
  }
  if (!present.ok() && !absl::IsNotFound(present.status())) {
    return present.status();
  }
  CUPEL_RETURN_IF_ERROR(ChooseEk(*fleet, agent));
  bool created = false;
  if (!own_policy.empty()) {
    CUPEL_RETURN_IF_ERROR(
        StorePolicy(*fleet, agent.id.ToString(), own_policy, &created));
  }
  auto added = fleet->Add(agent);
  // Nobody would look for a policy of an agent that does not exist.
  if (!added.ok() && created) {
    fleet->DeletePolicy(agent.id.ToString()).IgnoreError();
  }
  return added;
}

}  // namespace

ExitCode RunAdd(const Online& online, const AddFlags& flags) {
  const auto agent = Add(online, flags);
  if (!agent.ok()) return Fail(agent.status());
  if (flags.json) {
    PrintLine(DumpJson(ToJson(*agent), 2));
    return ExitCode::kOk;
  }
  PrintLine(absl::StrCat(
      "agent ", EscapeForDisplay(agent->id), " added; it is ",
      agent->ShownState(),
      agent->state == AgentState::kExpected ? " until it enrols" : ""));
  return ExitCode::kOk;
}

void RegisterAdd(CLI::App& parent, Online& online, ExitCode& exit_code) {
  const auto flags = std::make_shared<AddFlags>();
  CLI::App* command = parent.add_subcommand(
      "add",
      "Add an agent: from now on it is attested. Which TPM it has is pinned by "
      "--ek; without it, on a terminal, the EK that has enrolled is shown and "
      "you are asked.");
  command->add_option("agent", flags->agent, "The agent's id")
      ->required()
      ->type_name("UUID");
  command
      ->add_option("--ek", flags->ek,
                   "The SHA-256 of its EK certificate; `cupel-agent identity` "
                   "prints it on the machine")
      ->type_name("SHA256");
  command->add_flag("--trust-on-first-use", flags->trust_on_first_use,
                    "Trust whatever EK has the id, or first takes it");
  command->add_flag("--json", flags->json, "Machine-readable output");
  flags->settings.Register(*command, "-l,--label");
  online.Register(*command);
  command->callback(
      [flags, &online, &exit_code] { exit_code = RunAdd(online, *flags); });
}

}  // namespace cupel::tenant
