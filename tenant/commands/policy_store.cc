// The policies that the verifier has: policy add, update, delete, list.

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/util/escape.h"
#include "common/util/status_macros.h"
#include "nlohmann/json.hpp"
#include "tenant/agent_report.h"
#include "tenant/commands/online.h"
#include "tenant/console.h"
#include "tenant/help_formatter.h"
#include "tenant/policy_upload.h"
#include "tenant/table.h"

namespace cupel::tenant {
namespace {

using Json = nlohmann::ordered_json;

absl::StatusOr<StoredPolicy> Put(const Online& online,
                                 const PutPolicyFlags& flags, bool create) {
  CUPEL_ASSIGN_OR_RETURN(const std::string file, LoadUpload(flags.files));
  CUPEL_ASSIGN_OR_RETURN(const auto fleet, online.Connect());
  return fleet->PutPolicy(flags.name, create, file);
}

absl::Status Delete(const Online& online, const std::string& name) {
  CUPEL_ASSIGN_OR_RETURN(const auto fleet, online.Connect());
  return fleet->DeletePolicy(name);
}

absl::StatusOr<std::vector<PolicyInfo>> List(const Online& online) {
  CUPEL_ASSIGN_OR_RETURN(const auto fleet, online.Connect());
  return fleet->ListPolicies();
}

void RegisterPut(CLI::App& parent, Online& online, ExitCode& exit_code,
                 bool create) {
  const auto flags = std::make_shared<PutPolicyFlags>();
  CLI::App* command =
      create ? parent.add_subcommand("add", "Store a policy at the verifier.")
             : parent.add_subcommand(
                   "update",
                   "Replace a policy that the verifier has. Every agent that "
                   "uses it is judged anew.");
  command->add_option("name", flags->name, "What agents call it by")
      ->required()
      ->type_name("NAME");
  flags->files.Register(*command, /*positional=*/true);
  command->add_flag("--json", flags->json, "Machine-readable output");
  online.Register(*command);
  const std::string verb = create ? "add" : "update";
  AddExamples(*command,
              {absl::StrCat("cupel-tenant policy ", verb, " base policy.json"),
               absl::StrCat("cupel-tenant policy ", verb,
                            " base --allowlist allowlist.txt \\"),
               "    --exclude exclude.txt"});
  command->callback([flags, &online, &exit_code, create] {
    exit_code = RunPutPolicy(online, *flags, create);
  });
}

}  // namespace

ExitCode RunPutPolicy(const Online& online, const PutPolicyFlags& flags,
                      bool create) {
  const auto stored = Put(online, flags, create);
  if (!stored.ok()) return Fail(stored.status());
  PrintWarnings(*stored);
  const PolicyInfo& info = stored->info;
  if (flags.json) {
    PrintLine(DumpJson(ToJson(info), 2));
  } else {
    PrintLine(absl::StrCat(
        "policy ", EscapeForDisplay(info.name), create ? " added" : " updated",
        ": version ", info.version, ", ", info.digest_count, " digests, ",
        info.agent_count, info.agent_count == 1 ? " agent" : " agents"));
  }
  return ExitCode::kOk;
}

ExitCode RunDeletePolicy(const Online& online, const std::string& name,
                         bool json) {
  if (const absl::Status status = Delete(online, name); !status.ok()) {
    return Fail(status);
  }
  if (json) {
    PrintLine(
        DumpJson({{"policy", EscapeForJson(name)}, {"deleted", true}}, 2));
  } else {
    PrintLine(absl::StrCat("policy ", EscapeForDisplay(name), " deleted"));
  }
  return ExitCode::kOk;
}

ExitCode RunListPolicies(const Online& online, bool json) {
  const auto policies = List(online);
  if (!policies.ok()) return Fail(policies.status());
  if (json) {
    Json all = Json::array();
    for (const PolicyInfo& info : *policies) all.push_back(ToJson(info));
    PrintLine(DumpJson(all, 2));
    return ExitCode::kOk;
  }
  std::vector<std::vector<std::string>> rows = {
      {"POLICY", "VERSION", "DIGESTS", "AGENTS", "BYTES", "STORED"}};
  for (const PolicyInfo& info : *policies) {
    rows.push_back({EscapeForDisplay(info.name), absl::StrCat(info.version),
                    absl::StrCat(info.digest_count),
                    absl::StrCat(info.agent_count), absl::StrCat(info.size),
                    TimeText(info.created)});
  }
  PrintText(FormatTable(rows));
  return ExitCode::kOk;
}

void RegisterPolicyStore(CLI::App& parent, Online& online,
                         ExitCode& exit_code) {
  RegisterPut(parent, online, exit_code, /*create=*/true);
  RegisterPut(parent, online, exit_code, /*create=*/false);

  const auto flags = std::make_shared<PutPolicyFlags>();
  CLI::App* remove = parent.add_subcommand(
      "delete", "Delete a policy that the verifier has and no agent uses.");
  remove->add_option("name", flags->name, "The policy's name")
      ->required()
      ->type_name("NAME");
  remove->add_flag("--json", flags->json, "Machine-readable output");
  online.Register(*remove);
  remove->callback([flags, &online, &exit_code] {
    exit_code = RunDeletePolicy(online, flags->name, flags->json);
  });

  const auto json = std::make_shared<bool>(false);
  CLI::App* list = parent.add_subcommand(
      "list", "Print the policies that the verifier has.");
  list->add_flag("--json", *json, "Machine-readable output");
  online.Register(*list);
  list->callback([json, &online, &exit_code] {
    exit_code = RunListPolicies(online, *json);
  });
}

}  // namespace cupel::tenant
