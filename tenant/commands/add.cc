#include <unistd.h>

#include <iostream>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/crypto/fingerprint.h"
#include "common/util/escape.h"
#include "common/util/status_macros.h"
#include "tenant/agent_report.h"
#include "tenant/commands/online.h"
#include "tenant/console.h"
#include "tenant/help_formatter.h"
#include "tenant/new_agent.h"
#include "tenant/policy_upload.h"

namespace cupel::tenant {
namespace {

// Which machine an agent is.
enum class EkSource {
  kGiven,
  kToken,       // the one that enrolled with a token of the operator's tenant
  kVouched,     // one that the tenant vouches for, as the verifier knows
  kFirstUse,    // whichever has the id, or first takes it
  kAsk,         // the enrolled one, shown to somebody at a terminal
  kUnanswered,  // nobody said, and nobody is there to be asked
};

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
    CUPEL_ASSIGN_OR_RETURN(ek, crypto::ParseFingerprint(agent.ek_sha256));
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
               "itself? Type yes to trust it, or its fingerprint to have it "
               "compared: "
            << std::flush;
  std::string answer;
  std::getline(std::cin, answer);
  absl::StripAsciiWhitespace(&answer);
  if (std::cin) {
    if (absl::AsciiStrToLower(answer) == "yes") return absl::OkStatus();
    const auto fingerprint = crypto::ParseFingerprint(answer);
    if (fingerprint.ok() && *fingerprint == ek) return absl::OkStatus();
    if (fingerprint.ok()) {
      return absl::CancelledError(
          "not added: another machine claims this id; that is not its EK");
    }
  }
  return absl::CancelledError("not added: its EK was not confirmed");
}

absl::StatusOr<EkSource> SourceOf(const AddFlags& flags,
                                  const config::TenantConfig& config) {
  const int ways = (flags.ek.empty() ? 0 : 1) + (flags.token ? 1 : 0) +
                   (flags.vouched ? 1 : 0) + (flags.trust_on_first_use ? 1 : 0);
  if (ways > 1) {
    return absl::InvalidArgumentError(
        "--ek, --token, --vouched or --trust-on-first-use: one of them, not "
        "both");
  }
  if (!flags.ek.empty()) return EkSource::kGiven;
  if (flags.vouched) return EkSource::kVouched;
  if (flags.token) return EkSource::kToken;
  if (flags.trust_on_first_use || config.trust_on_first_use) {
    return EkSource::kFirstUse;
  }
  return isatty(STDIN_FILENO) == 1 && isatty(STDERR_FILENO) == 1
             ? EkSource::kAsk
             : EkSource::kUnanswered;
}

// `present` is the agent as the verifier has it, if it is one of the tenant's.
absl::Status ChooseEk(Fleet& fleet, EkSource source,
                      const absl::StatusOr<ReportedAgent>& present,
                      NewAgent& agent) {
  if (source == EkSource::kFirstUse) agent.trust_on_first_use = true;
  if (source == EkSource::kVouched) agent.vouched = true;
  if (source == EkSource::kToken) {
    // Enrolled, and of this tenant before it was added: only a token does that.
    if (!present.ok()) {
      return absl::FailedPreconditionError(absl::StrCat(
          "no machine has enrolled as agent ", agent.id.ToString(),
          " with a token of yours: write one (`token create`) into the file "
          "that enrollment_token_file names in its agent.yaml and start "
          "cupel-agent there; or give --vouched, and it is expected until it "
          "enrols with one"));
    }
    CUPEL_ASSIGN_OR_RETURN(agent.ek_sha256,
                           crypto::ParseFingerprint(present->ek_sha256));
  }
  if (source == EkSource::kAsk) {
    CUPEL_ASSIGN_OR_RETURN(agent.ek_sha256, EnrolledEk(fleet, agent.id));
    CUPEL_RETURN_IF_ERROR(Ask(agent.id, agent.ek_sha256));
  }
  return absl::OkStatus();
}

absl::StatusOr<ReportedAgent> Add(const Online& online, const AddFlags& flags) {
  CUPEL_ASSIGN_OR_RETURN(const AgentId id, ParseAgent(flags.agent));
  CUPEL_ASSIGN_OR_RETURN(const config::TenantConfig config, online.Config());
  CUPEL_ASSIGN_OR_RETURN(const EkSource source, SourceOf(flags, config));
  NewAgent agent{id, {}, "", false};
  Missing missing;
  if (source == EkSource::kUnanswered) AddMissingEk(online, missing);
  CUPEL_ASSIGN_OR_RETURN(agent.settings,
                         NewSettings(flags.settings, config, online, missing));
  CUPEL_RETURN_IF_ERROR(CheckNothingMissing(missing));
  if (source == EkSource::kGiven) {
    CUPEL_ASSIGN_OR_RETURN(agent.ek_sha256, crypto::ParseFingerprint(flags.ek));
  }
  std::string own_policy;
  if (flags.settings.HasOwnPolicy()) {
    CUPEL_ASSIGN_OR_RETURN(const PolicyFlags files,
                           flags.settings.OwnPolicy(config));
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
  CUPEL_RETURN_IF_ERROR(ChooseEk(*fleet, source, present, agent));
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
  if (!flags.from.empty()) return RunAddMany(online, flags);
  if (flags.agent.empty()) {
    return Fail(absl::InvalidArgumentError(
        "which agent? Give its id, or --from FILE for many"));
  }
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
  if (!agent->ek_sha256.empty()) {
    PrintLine(absl::StrCat("EK SHA-256: ", EscapeForDisplay(agent->ek_sha256)));
  }
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
      ->type_name("UUID");
  command
      ->add_option("--from", flags->from,
                   "Add every agent in this file, - for standard input: its "
                   "id, its EK's SHA-256 and labels KEY=VALUE a line, parted "
                   "by commas or blanks. The options say how all of them are "
                   "judged")
      ->type_name("FILE");
  command
      ->add_option("--ek", flags->ek,
                   "The SHA-256 of its EK certificate; `cupel-agent identity` "
                   "prints it on the machine")
      ->type_name("SHA256");
  command->add_flag("--token", flags->token,
                    "The machine that enrolled with a token of yours (see "
                    "token create): its EK is taken");
  command->add_flag("--trust-on-first-use", flags->trust_on_first_use,
                    "Trust whatever EK has the id, or first takes it");
  command->add_flag("--vouched", flags->vouched,
                    "Its EK is on your list (see ek), or the agent enrols with "
                    "an enrolment token of yours");
  command->add_flag("--json", flags->json, "Machine-readable output");
  flags->settings.Register(*command, "-l,--label");
  online.Register(*command);
  AddExamples(
      *command,
      {"cupel-tenant add d432fbb3-d2f1-4a97-9ef7-75bd81c00000 --ek SHA256 \\",
       "    --policy base --boot pinned -l site=x",
       "cupel-tenant add d432fbb3-d2f1-4a97-9ef7-75bd81c00000 --token \\",
       "    --allowlist allowlist.txt --exclude exclude.txt --boot any",
       "cupel-tenant add --from machines.csv --policy base --boot pinned"});
  command->callback(
      [flags, &online, &exit_code] { exit_code = RunAdd(online, *flags); });
}

}  // namespace cupel::tenant
