#include <memory>
#include <string>
#include <vector>

#include "CLI/App.hpp"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/policy/policy_writer.h"
#include "common/util/file.h"
#include "tenant/commands/commands.h"
#include "tenant/console.h"
#include "tenant/help_formatter.h"
#include "tenant/inputs.h"

namespace cupel::tenant {
namespace {

struct ConvertFlags {
  PolicyFlags policy;
  std::string output = "-";
  std::string format = "json";
};

absl::StatusOr<std::string> Write(const policy::RuntimePolicy& policy,
                                  const std::string& format) {
  if (format == "allowlist") return policy::WriteAllowlist(policy.digests);
  if (format == "excludes") return policy::WriteExcludeList(policy.excludes);
  return policy::WritePolicyJson(policy);
}

// Says what no text form can hold.
void PrintLosses(const policy::RuntimePolicy& policy,
                 const std::string& format) {
  if (format == "json") return;
  std::vector<std::string> lost;
  const auto add = [&](size_t count, absl::string_view what) {
    if (count != 0) lost.push_back(absl::StrCat(what, " (", count, ")"));
  };
  add(policy.deny.size(), "denied digests");
  add(policy.keyrings.size(), "keyrings");
  add(policy.buffers.size(), "ima-buf entries");
  add(policy.ignored_keyrings.size(), "ignored keyrings");
  if (!policy.verification_keys.empty()) lost.push_back("verification keys");
  if (!policy.dm_policy_json.empty()) lost.push_back("dm_policy");
  if (lost.empty()) return;
  PrintError(
      absl::StrCat("warning: left out, since only --to json can hold "
                   "it: ",
                   absl::StrJoin(lost, ", ")));
}

ExitCode Convert(const ConvertFlags& flags) {
  if (const auto status = CheckStandardInput(flags.policy.Paths());
      !status.ok()) {
    return Fail(status);
  }
  const auto policies = LoadPolicies(flags.policy);
  if (!policies.ok()) return Fail(policies.status());
  if (policies->size() != 1) {
    PrintError(
        "one policy at a time: a JSON file, or --allowlist with --exclude and "
        "--deny");
    return ExitCode::kUndecided;
  }
  const policy::RuntimePolicy& policy = *policies->front().policy;
  const auto text = Write(policy, flags.format);
  if (!text.ok()) return Fail(text.status());
  if (const absl::Status status = WriteFile(flags.output, *text);
      !status.ok()) {
    return Fail(status);
  }
  PrintLosses(policy, flags.format);
  return ExitCode::kOk;
}

}  // namespace

void RegisterPolicyConvert(CLI::App& parent, ExitCode& exit_code) {
  const auto flags = std::make_shared<ConvertFlags>();
  CLI::App* command = parent.add_subcommand(
      "convert",
      "Write a policy in another form: text lists as Keylime's JSON, or JSON "
      "as a text allowlist or exclude list.");
  flags->policy.Register(*command, /*positional=*/true);
  command
      ->add_option("-o,--output", flags->output,
                   "Where to write; - (the default) for standard output")
      ->type_name("FILE");
  command
      ->add_option("--to", flags->format,
                   "json (the default), allowlist or excludes")
      ->check(CLI::IsMember({"json", "allowlist", "excludes"}))
      ->type_name("FORM");
  AddExamples(*command,
              {"cupel-tenant policy convert --allowlist allowlist.txt \\",
               "    --exclude exclude.txt -o policy.json",
               "cupel-tenant policy convert policy.json --to allowlist"});
  command->callback([flags, &exit_code] { exit_code = Convert(*flags); });
}

}  // namespace cupel::tenant
