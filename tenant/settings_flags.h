// How an agent is to be judged, on the command line.
#ifndef CUPEL_TENANT_SETTINGS_FLAGS_H_
#define CUPEL_TENANT_SETTINGS_FLAGS_H_

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "CLI/App.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/config/tenant_config.h"
#include "tenant/fleet.h"
#include "tenant/inputs.h"

namespace cupel::tenant {

struct SettingsFlags {
  std::vector<std::string> policies;  // names at the verifier
  std::string allowlist;              // files, or "default"
  std::string excludes;
  std::string deny;
  std::vector<std::string> labels;
  std::string boot;
  std::optional<bool> lab;
  std::optional<bool> allow_sha1_bank;
  std::optional<bool> tolerate_violations;
  std::vector<std::string> padded_sha1_banks;
  std::string interval;
  std::string bank;
  std::string on_gap;
  std::vector<uint32_t> list_pcrs;
  std::vector<std::string> without_excludes;
  bool with_excludes = false;
  std::string tolerated_violations;       // a file
  std::vector<std::string> ima_policies;  // paths, or "none"

  // `label_option`: what sets labels, "-l,--label" for instance.
  void Register(CLI::App& command, const char* label_option);
  // True if files are given that make a policy of the agent's own.
  bool HasOwnPolicy() const;
  // Its files, "default" replaced by the configuration's. kInvalidArgument
  // where the configuration names none.
  absl::StatusOr<PolicyFlags> OwnPolicy(
      const config::TenantConfig& config) const;
  // The settings that the flags say, and in `changed` the names of those that
  // were given. Errors name the option.
  absl::StatusOr<AgentSettings> ToSettings(
      std::vector<std::string>& changed) const;
};

}  // namespace cupel::tenant

#endif  // CUPEL_TENANT_SETTINGS_FLAGS_H_
