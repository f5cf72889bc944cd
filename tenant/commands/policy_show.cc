#include <memory>
#include <string>
#include <vector>

#include "CLI/App.hpp"
#include "absl/strings/str_cat.h"
#include "common/crypto/digest.h"
#include "common/policy/runtime_policy.h"
#include "common/util/escape.h"
#include "nlohmann/json.hpp"
#include "tenant/commands/commands.h"
#include "tenant/console.h"
#include "tenant/inputs.h"

namespace cupel::tenant {
namespace {

using ::cupel::crypto::Digest;
using ::cupel::policy::RuntimePolicy;
using Json = nlohmann::ordered_json;

struct ShowFlags {
  PolicyFlags policy;
  std::string path;
  bool digests = false;
  bool json = false;
};

std::string DigestText(const Digest& digest) {
  return absl::StrCat(HashAlgorithmName(digest.algorithm()), ":", digest.Hex());
}

// The paths that the flags ask for, each with its digests.
template <typename Visit>
void ForEachWanted(const RuntimePolicy& policy, const ShowFlags& flags,
                   Visit visit) {
  if (!flags.path.empty()) {
    const std::vector<Digest> digests = policy.digests.Find(flags.path);
    if (!digests.empty()) visit(flags.path, digests);
  } else if (flags.digests) {
    policy.digests.ForEach(visit);
  }
}

void PrintSummary(const NamedPolicy& named, const ShowFlags& flags) {
  const RuntimePolicy& policy = *named.policy;
  PrintLine(absl::StrCat("policy: ", named.name));
  const auto line = [](absl::string_view name, absl::string_view value) {
    PrintLine(absl::StrCat(name, ": ", EscapeForDisplay(value)));
  };
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

Json ToJson(const NamedPolicy& named, const ShowFlags& flags) {
  const RuntimePolicy& policy = *named.policy;
  Json json;
  json["policy"] = named.name;
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

ExitCode Show(const ShowFlags& flags) {
  if (const auto status = CheckStandardInput(flags.policy.Paths());
      !status.ok()) {
    return Fail(status);
  }
  const auto policies = LoadPolicies(flags.policy);
  if (!policies.ok()) return Fail(policies.status());
  bool listed = flags.path.empty();
  Json all = Json::array();
  for (const NamedPolicy& named : *policies) {
    listed |= !named.policy->digests.Find(flags.path).empty();
    if (flags.json) {
      all.push_back(ToJson(named, flags));
    } else {
      PrintSummary(named, flags);
    }
  }
  if (flags.json) PrintLine(DumpJson(all, 2));
  if (listed) return ExitCode::kOk;
  PrintError(absl::StrCat("not listed: ", Quoted(flags.path)));
  return ExitCode::kFindings;
}

}  // namespace

void RegisterPolicyShow(CLI::App& parent, ExitCode& exit_code) {
  const auto flags = std::make_shared<ShowFlags>();
  CLI::App* command =
      parent.add_subcommand("show", "Print what policy files hold.");
  flags->policy.Register(*command, /*positional=*/true);
  command
      ->add_option("--path", flags->path,
                   "Print this path's digests; exit code 1 if it is not listed")
      ->type_name("PATH");
  command->add_flag("--digests", flags->digests, "Print every digest");
  command->add_flag("--json", flags->json, "Machine-readable output");
  command->callback([flags, &exit_code] { exit_code = Show(*flags); });
}

}  // namespace cupel::tenant
