// Agents, events and policies as people and programs read them. All
// that is returned here is escaped.
#ifndef CUPEL_TENANT_AGENT_REPORT_H_
#define CUPEL_TENANT_AGENT_REPORT_H_

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "nlohmann/json.hpp"
#include "tenant/exit_code.h"
#include "tenant/fleet.h"

namespace cupel::tenant {

// "2026-01-31T10:00:00Z"; "-" for none.
std::string TimeText(const std::optional<absl::Time>& time);

// "site=x rack=7"; "-" for none.
std::string LabelsText(const std::map<std::string, std::string>& labels);

// One agent, a member a line.
std::string AgentText(const ReportedAgent& agent);
// A table of agents.
std::string AgentTable(const std::vector<ReportedAgent>& agents);

nlohmann::ordered_json ToJson(const ReportedAgent& agent);
nlohmann::ordered_json ToJson(const FleetEvent& event);
nlohmann::ordered_json ToJson(const PolicyInfo& info);

// kOk for an agent that is trusted now, else kFindings.
ExitCode ExitCodeFor(const ReportedAgent& agent);

}  // namespace cupel::tenant

#endif  // CUPEL_TENANT_AGENT_REPORT_H_
