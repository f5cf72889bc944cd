#include <unistd.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "CLI/App.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/crypto/digest.h"
#include "common/policy/runtime_policy.h"
#include "common/util/escape.h"
#include "common/util/status_context.h"
#include "common/util/status_macros.h"
#include "nlohmann/json.hpp"
#include "tenant/agent_report.h"
#include "tenant/commands/online.h"
#include "tenant/console.h"
#include "tenant/help_formatter.h"
#include "tenant/inputs.h"

namespace cupel::tenant {
namespace {

using ::cupel::crypto::Digest;
using ::cupel::policy::RuntimePolicy;
using Json = nlohmann::ordered_json;

// A policy of a file, or of the verifier.
struct ShownPolicy {
  NamedPolicy policy;
  std::optional<PolicyInfo> info;  // nullopt: of a file
};

std::string DigestText(const Digest& digest) {
  return absl::StrCat(HashAlgorithmName(digest.algorithm()), ":", digest.Hex());
}

// The paths that the flags ask for, each with its digests.
template <typename Visit>
void ForEachWanted(const RuntimePolicy& policy, const ShowPolicyFlags& flags,
                   Visit visit) {
  if (!flags.path.empty()) {
    const std::vector<Digest> digests = policy.digests.Find(flags.path);
    if (!digests.empty()) visit(flags.path, digests);
  } else if (flags.digests) {
    policy.digests.ForEach(visit);
  }
}

void PrintSummary(const ShownPolicy& shown, const ShowPolicyFlags& flags) {
  const RuntimePolicy& policy = *shown.policy.policy;
  PrintLine(absl::StrCat("policy: ", shown.policy.name));
  const auto line = [](absl::string_view name, absl::string_view value) {
    PrintLine(absl::StrCat(name, ": ", EscapeForDisplay(value)));
  };
  if (shown.info.has_value()) {
    line("version", absl::StrCat(shown.info->version));
    line("content", shown.info->content_id);
    line("stored", TimeText(shown.info->created));
  }
  line("paths", absl::StrCat(policy.digests.path_count()));
  line("digests", absl::StrCat(policy.digests.digest_count()));
  line("excludes", absl::StrCat(policy.excludes.size()));
  for (const auto& pattern : policy.excludes) {
    PrintLine(absl::StrCat("  ", EscapeForDisplay(pattern.text)));
  }
  line("denied digests", absl::StrCat(policy.deny.size()));
  line("keyrings", absl::StrCat(policy.keyrings.size()));
  line("buffers", absl::StrCat(policy.buffers.size()));
  if (!policy.log_hash_alg.empty()) line("log hash", policy.log_hash_alg);
  if (!policy.meta_timestamp.empty()) line("made", policy.meta_timestamp);
  line("warnings", absl::StrCat(policy.warnings.size()));
  ForEachWanted(policy, flags,
                [](absl::string_view path, std::span<const Digest> digests) {
                  for (const Digest& digest : digests) {
                    PrintLine(absl::StrCat(DigestText(digest), "  ",
                                           EscapeForDisplay(path)));
                  }
                });
}

Json ToJson(const ShownPolicy& shown, const ShowPolicyFlags& flags) {
  const RuntimePolicy& policy = *shown.policy.policy;
  Json json;
  json["policy"] = shown.policy.name;
  if (shown.info.has_value()) json["stored"] = tenant::ToJson(*shown.info);
  json["paths"] = policy.digests.path_count();
  json["digest_count"] = policy.digests.digest_count();
  json["excludes"] = Json::array();
  for (const auto& pattern : policy.excludes) {
    json["excludes"].push_back(EscapeForJson(pattern.text));
  }
  json["deny"] = Json::array();
  for (const auto& rule : policy.deny) {
    json["deny"].push_back({{"digest", DigestText(rule.digest)},
                            {"path", EscapeForJson(rule.path)}});
  }
  json["keyrings"] = policy.keyrings.size();
  json["buffers"] = policy.buffers.size();
  if (!flags.path.empty() || flags.digests) {
    Json digests = Json::object();
    ForEachWanted(policy, flags,
                  [&](absl::string_view path, std::span<const Digest> list) {
                    Json& entry = digests[EscapeForJson(path)];
                    for (const Digest& digest : list) {
                      entry.push_back(DigestText(digest));
                    }
                  });
    json["digests"] = std::move(digests);
  }
  return json;
}

absl::StatusOr<std::vector<ShownPolicy>> Load(const Online& online,
                                              const ShowPolicyFlags& flags) {
  CUPEL_RETURN_IF_ERROR(CheckStandardInput(flags.policy.Paths()));
  std::vector<ShownPolicy> all;
  if (flags.names.empty() || !flags.policy.policies.empty() ||
      !flags.policy.allowlist.empty() || !flags.policy.excludes.empty() ||
      !flags.policy.deny.empty()) {
    CUPEL_ASSIGN_OR_RETURN(auto files, LoadPolicies(flags.policy));
    for (NamedPolicy& named : files) {
      all.push_back({std::move(named), std::nullopt});
    }
  }
  if (flags.names.empty()) return all;
  CUPEL_ASSIGN_OR_RETURN(const auto fleet, online.Connect());
  for (const std::string& name : flags.names) {
    CUPEL_ASSIGN_OR_RETURN(PolicyFile stored, fleet->GetPolicy(name));
    CUPEL_ASSIGN_OR_RETURN(
        RuntimePolicy policy,
        ParsePolicy(std::move(stored.file), name, flags.policy.key));
    all.push_back({{EscapeForDisplay(name),
                    std::make_shared<const RuntimePolicy>(std::move(policy))},
                   std::move(stored.info)});
  }
  return all;
}

// True if `text` could be a policy's name at the verifier; what all tenants
// share has a slash in it.
bool IsName(absl::string_view text) {
  absl::ConsumePrefix(&text, "shared/");
  return !text.empty() && text != "-" &&
         text.find('/') == absl::string_view::npos;
}

// A name that no file has is one of the verifier's policies.
void SortOut(const std::vector<std::string>& arguments,
             ShowPolicyFlags& flags) {
  for (const std::string& argument : arguments) {
    const bool is_name =
        IsName(argument) && access(argument.c_str(), F_OK) != 0;
    (is_name ? flags.names : flags.policy.policies).push_back(argument);
  }
}

}  // namespace

ExitCode RunShowPolicies(const Online& online, const ShowPolicyFlags& flags) {
  const auto policies = Load(online, flags);
  if (!policies.ok()) {
    return Fail(
        flags.names.empty()
            ? policies.status()
            : WithContext(policies.status(),
                          absl::StrCat("no file, so the verifier's policy ",
                                       Quoted(flags.names.front(), 100))));
  }
  bool listed = flags.path.empty();
  Json all = Json::array();
  for (const ShownPolicy& shown : *policies) {
    listed |= !shown.policy.policy->digests.Find(flags.path).empty();
    if (flags.json) {
      all.push_back(ToJson(shown, flags));
    } else {
      PrintSummary(shown, flags);
    }
  }
  if (flags.json) PrintLine(DumpJson(all, 2));
  if (listed) return ExitCode::kOk;
  PrintError(absl::StrCat("not listed: ", Quoted(flags.path)));
  return ExitCode::kFindings;
}

void RegisterPolicyShow(CLI::App& parent, Online& online, ExitCode& exit_code) {
  const auto flags = std::make_shared<ShowPolicyFlags>();
  const auto arguments = std::make_shared<std::vector<std::string>>();
  CLI::App* command = parent.add_subcommand(
      "show",
      "Print what policies hold: files, or those that the verifier has.");
  command
      ->add_option(
          "policy", *arguments,
          "A file, or the name of one of the verifier's policies where "
          "there is no such file")
      ->type_name("FILE|NAME");
  flags->policy.Register(*command, /*positional=*/false);
  command
      ->add_option("--path", flags->path,
                   "Print this path's digests; exit code 1 if it is not listed")
      ->type_name("PATH");
  command->add_flag("--digests", flags->digests, "Print every digest");
  command->add_flag("--json", flags->json, "Machine-readable output");
  online.Register(*command);
  AddExamples(*command,
              {"cupel-tenant policy show policy.json --path /usr/bin/ls",
               "cupel-tenant policy show base --json"});
  command->callback([flags, arguments, &online, &exit_code] {
    SortOut(*arguments, *flags);
    exit_code = RunShowPolicies(online, *flags);
  });
}

}  // namespace cupel::tenant
