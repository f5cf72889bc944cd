#include "tenant/settings_flags.h"

#include <cstdint>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/ima/entry.h"
#include "common/policy/tpm_policy.h"
#include "common/util/bytes.h"
#include "common/util/escape.h"
#include "common/util/file.h"
#include "common/util/status_context.h"
#include "common/util/status_macros.h"
#include "tenant/labels.h"

namespace cupel::tenant {
namespace {

// Replaces the word by the configuration's path.
absl::Status ResolveDefault(const char* option, const char* key,
                            const std::string& configured, std::string& path) {
  if (path != "default") return absl::OkStatus();
  if (configured.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(option, " default: the configuration names no file; set ",
                     key, " there"));
  }
  path = configured;
  return absl::OkStatus();
}

absl::StatusOr<std::string> BootRule(const std::string& text) {
  if (text == "any" || text == "pinned") return text;
  if (absl::StartsWith(text, "{")) {
    CUPEL_RETURN_IF_ERROR(policy::ParseTpmPolicy(text, "--boot").status());
    return text;
  }
  // A mistyped word should not be told as a missing file alone.
  constexpr char kTakes[] =
      "--boot takes any, pinned or a tpm_policy as a JSON file";
  // Read once: it may be a pipe.
  const auto bytes = ReadFile(text, policy::kMaxTpmPolicySize);
  if (!bytes.ok()) return WithContext(bytes.status(), kTakes);
  const auto policy = policy::ParseTpmPolicy(
      AsText(*bytes), text == "-" ? "standard input" : text);
  if (!policy.ok()) return WithContext(policy.status(), kTakes);
  return std::string(AsText(*bytes));
}

}  // namespace

void SettingsFlags::Register(CLI::App& command, const char* label_option) {
  constexpr char kGroup[] = "How it is judged";
  const auto option = [&](const char* name, auto& variable, const char* help,
                          const char* type) {
    return command.add_option(name, variable, help)
        ->group(kGroup)
        ->type_name(type);
  };
  option("--policy", policies,
         "A policy that the verifier has. May be given several times: together "
         "they count, in this order",
         "NAME")
      ->allow_extra_args(false);
  option(
      "--without-excludes", without_excludes,
      "One of its policies whose excludes do not count. May be given several "
      "times",
      "NAME")
      ->allow_extra_args(false);
  command
      .add_flag("--with-excludes", with_excludes,
                "The excludes of all its policies count: takes "
                "--without-excludes back")
      ->group(kGroup);
  option("--allowlist", allowlist,
         "Make a policy of the agent's own of this file: Keylime's JSON, or a "
         "digest and a path a line. default: the configuration's",
         "FILE");
  option("--exclude", excludes,
         "Its excludes, a Python regular expression a line. default: the "
         "configuration's",
         "FILE");
  option("--deny", deny, "Its denied digests, in the allowlist's form", "FILE");
  option("--boot", boot,
         "Which boot is allowed: pinned, the one that you approve (see "
         "reactivate --approve-boot); any; or the values in a tpm_policy "
         "(JSON), a file or the text itself",
         "RULE");
  option(label_option, labels, "A label. May be given several times",
         "KEY=VALUE")
      ->allow_extra_args(false);
  const auto flag = [&](const char* name, std::optional<bool>& variable,
                        const char* help) {
    // Given an optional<bool>, CLI11 would set it to false at once, and count
    // into it: --no-lab, -1, would be true.
    command
        .add_flag_function(
            name, [&variable](int64_t count) { variable = count > 0; }, help)
        ->group(kGroup);
  };
  flag("--lab,!--no-lab", lab,
       "A TPM emulator without firmware: accept banks that were never "
       "extended");
  flag("--allow-sha1-bank,!--no-allow-sha1-bank", allow_sha1_bank,
       "Accept a list that only SHA-1 vouches for");
  flag("--tolerate-violations,!--no-tolerate-violations", tolerate_violations,
       "Report violations without failing for them");
  option(
      "--tolerate-violations-of", tolerated_violations,
      "The same for violations at paths that a pattern of this file matches, "
      "a Python regular expression a line. An empty file takes it back",
      "FILE");
  RegisterPadSha1(command, padded_sha1_banks);
  command.get_option("--pad-sha1")->group(kGroup);
  option("--bank", bank,
         "The bank that is quoted: sha256, sha384, sha512, sha1. Otherwise "
         "sha256 where the machine has it",
         "BANK");
  option("--on-gap", on_gap,
         "What a boot means before which the machine was unseen: event, or "
         "failure until it is accepted. Otherwise event",
         "WHAT");
  RegisterImaPolicies(command, ima_policies);
  command.get_option("--ima-policy")->group(kGroup);
  RegisterListPcrs(command, list_pcrs);
  command.get_option("--list-pcr")->group(kGroup);
  option("--interval", interval,
         "How long an answer to a challenge may take: 10s; otherwise as the "
         "verifier is configured",
         "TIME");
}

bool SettingsFlags::HasOwnPolicy() const {
  return !allowlist.empty() || !excludes.empty() || !deny.empty();
}

absl::StatusOr<PolicyFlags> SettingsFlags::OwnPolicy(
    const config::TenantConfig& config) const {
  PolicyFlags files;
  files.allowlist = allowlist;
  files.excludes = excludes;
  files.deny = deny;
  CUPEL_RETURN_IF_ERROR(ResolveDefault("--allowlist", "allowlist",
                                       config.allowlist, files.allowlist));
  CUPEL_RETURN_IF_ERROR(ResolveDefault("--exclude", "ima_excludelist",
                                       config.ima_excludelist, files.excludes));
  return files;
}

absl::StatusOr<AgentSettings> SettingsFlags::ToSettings(
    std::vector<std::string>& changed) const {
  AgentSettings settings;
  if (!policies.empty()) {
    settings.policies = policies;
    changed.emplace_back("policies");
  }
  if (!without_excludes.empty() || with_excludes) {
    if (!without_excludes.empty() && with_excludes) {
      return absl::InvalidArgumentError(
          "--with-excludes takes back what --without-excludes says: give one "
          "of them");
    }
    settings.without_excludes = without_excludes;
    changed.emplace_back("without_excludes");
  }
  if (!labels.empty()) {
    CUPEL_ASSIGN_OR_RETURN(settings.labels, ParseLabels(labels));
    changed.emplace_back("labels");
  }
  if (!boot.empty()) {
    CUPEL_ASSIGN_OR_RETURN(settings.boot, BootRule(boot));
    changed.emplace_back("boot");
  }
  const auto flag = [&](const char* name, const std::optional<bool>& given,
                        bool& member) {
    if (!given.has_value()) return;
    member = *given;
    changed.emplace_back(name);
  };
  flag("lab", lab, settings.lab);
  flag("allow_sha1_bank", allow_sha1_bank, settings.allow_sha1_bank);
  flag("tolerate_violations", tolerate_violations,
       settings.tolerate_violations);
  if (!tolerated_violations.empty()) {
    CUPEL_ASSIGN_OR_RETURN(const policy::ExcludeList list,
                           LoadViolationPatterns(tolerated_violations));
    tenant::PrintWarnings(list.warnings);
    for (const policy::ExcludePattern& pattern : list.patterns) {
      settings.tolerated_violations.push_back(pattern.text);
    }
    changed.emplace_back("tolerated_violations");
  }
  if (!padded_sha1_banks.empty()) {
    CUPEL_RETURN_IF_ERROR(PaddedBanks(padded_sha1_banks).status());
    settings.padded_sha1_banks = padded_sha1_banks;
    changed.emplace_back("padded_sha1_banks");
  }
  const auto text = [&](const char* name, const std::string& given,
                        std::string& member) {
    if (given.empty()) return;
    member = given;
    changed.emplace_back(name);
  };
  text("bank", bank, settings.bank);
  text("on_gap", on_gap, settings.on_gap);
  if (!ima_policies.empty()) {
    CUPEL_ASSIGN_OR_RETURN(settings.ima_policies, ImaPolicies(ima_policies));
    changed.emplace_back("ima_policies");
  }
  if (!list_pcrs.empty()) {
    settings.list_pcrs = list_pcrs;
    std::erase(settings.list_pcrs, ima::kImaPcr);
    changed.emplace_back("list_pcrs");
  }
  if (!interval.empty()) {
    absl::Duration duration;
    if (!absl::ParseDuration(interval, &duration) ||
        duration < absl::Milliseconds(500) || duration > absl::Hours(24)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "--interval takes 500ms to 24h, not ", Quoted(interval, 100)));
    }
    settings.interval = duration;
    changed.emplace_back("interval");
  }
  return settings;
}

}  // namespace cupel::tenant
