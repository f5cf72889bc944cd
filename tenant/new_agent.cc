#include "tenant/new_agent.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/util/status_macros.h"

namespace cupel::tenant {

absl::StatusOr<AgentSettings> NewSettings(const SettingsFlags& flags,
                                          const config::TenantConfig& config,
                                          const Online& online,
                                          Missing& missing) {
  SettingsFlags all = flags;
  if (all.boot.empty()) all.boot = config.boot;
  if (!all.lab.has_value() && config.lab) all.lab = true;
  if (all.policies.empty() && !all.HasOwnPolicy()) {
    all.policies = config.default_policies;
  }
  if (all.policies.empty() && !all.HasOwnPolicy()) {
    missing.push_back(absl::StrCat(
        "which files may run there: --policy NAME, or --allowlist FILE (or "
        "default_policies: [NAME] in ",
        online.config_file(), ")"));
  }
  if (all.boot.empty()) {
    missing.push_back(absl::StrCat(
        "which boot is allowed: --boot pinned (the one that you approve), "
        "--boot FILE (a tpm_policy), or --boot any (or boot: pinned in ",
        online.config_file(), ")"));
  }
  std::vector<std::string> changed;
  return all.ToSettings(changed);
}

void AddMissingEk(const Online& online, Missing& missing) {
  missing.push_back(absl::StrCat(
      "which machine it is: --ek SHA256, the fingerprint that `cupel-agent "
      "identity` prints there; --token, if it enrolled with a token of yours; "
      "--vouched, if it will, or its EK is on your list; or "
      "--trust-on-first-use, whatever EK has the id (or trust_on_first_use: "
      "true in ",
      online.config_file(),
      "). On a terminal, add shows the enrolled EK and asks"));
}

absl::Status CheckNothingMissing(const Missing& missing) {
  if (missing.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "not added, since it is not said\n  ", absl::StrJoin(missing, "\n  ")));
}

}  // namespace cupel::tenant
