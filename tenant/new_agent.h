// What has to be said of a new agent, and where it can be said.
#ifndef CUPEL_TENANT_NEW_AGENT_H_
#define CUPEL_TENANT_NEW_AGENT_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/config/tenant_config.h"
#include "tenant/connection.h"
#include "tenant/fleet.h"
#include "tenant/settings_flags.h"

namespace cupel::tenant {

// What nothing says yet, each with the ways to say it, for people.
using Missing = std::vector<std::string>;

// A new agent's settings: those of the flags, and the configuration's where
// they say nothing. Its own policy, of files that the flags name, is not among
// the policies yet. Errors of SettingsFlags::ToSettings.
absl::StatusOr<AgentSettings> NewSettings(const SettingsFlags& flags,
                                          const config::TenantConfig& config,
                                          const Online& online,
                                          Missing& missing);

// Adds that it is not said which machine the agent is.
void AddMissingEk(const Online& online, Missing& missing);

// OK if nothing is missing; else kInvalidArgument with all of it, a line each.
absl::Status CheckNothingMissing(const Missing& missing);

}  // namespace cupel::tenant

#endif  // CUPEL_TENANT_NEW_AGENT_H_
