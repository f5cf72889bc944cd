#include <algorithm>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/util/bytes.h"
#include "common/util/escape.h"
#include "common/util/file.h"
#include "common/util/status_macros.h"
#include "tenant/agent_file.h"
#include "tenant/commands/online.h"
#include "tenant/console.h"
#include "tenant/inputs.h"
#include "tenant/new_agent.h"

namespace cupel::tenant {
namespace {

constexpr size_t kShownErrors = 100;

// A row whose agent was not added, and why.
struct Failure {
  size_t line = 0;
  AgentId id;
  std::string reason;  // escaped
};

struct Outcome {
  size_t added_count = 0;
  size_t present_count = 0;  // had been added before, with the same EK
  size_t untried_count = 0;
  std::vector<Failure> failures;

  bool IsComplete() const { return untried_count == 0 && failures.empty(); }
};

// The tenant's agents by id, those that enrolled with a token among them.
absl::StatusOr<std::map<AgentId, ReportedAgent>> LoadAgents(Fleet& fleet) {
  Selector everybody;
  everybody.all = true;
  std::map<AgentId, ReportedAgent> agents;
  CUPEL_RETURN_IF_ERROR(fleet.List(everybody, [&](const ReportedAgent& agent) {
    const auto id = AgentId::Parse(agent.id);
    if (id.ok()) agents.emplace(*id, agent);
  }));
  return agents;
}

// Prints what is wrong with the file, by line; not more than people read.
void PrintErrors(const std::string& path, std::span<const std::string> errors) {
  for (const std::string& error :
       errors.first(std::min(errors.size(), kShownErrors))) {
    PrintError(absl::StrCat(InputName(path), ":", error));
  }
  if (errors.size() > kShownErrors) {
    PrintError(absl::StrCat(InputName(path), ": and ",
                            errors.size() - kShownErrors, " more"));
  }
}

absl::StatusOr<AgentFile> LoadRows(const AddFlags& flags) {
  CUPEL_ASSIGN_OR_RETURN(const auto bytes,
                         ReadFile(flags.from, kMaxAgentFileSize));
  AgentFile file = ParseAgentFile(AsText(bytes));
  if (file.errors.empty() && file.rows.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(InputName(flags.from), ": no agent is in it"));
  }
  return file;
}

// The agents of the rows, all alike but for what a row says. Rows that name no
// machine, and for which no flag does, are errors, added to `file`.
std::vector<NewAgent> MakeAgents(const AddFlags& flags,
                                 const config::TenantConfig& config,
                                 const AgentSettings& settings,
                                 const std::map<AgentId, ReportedAgent>& known,
                                 AgentFile& file) {
  std::vector<NewAgent> agents;
  agents.reserve(file.rows.size());
  for (const AgentRow& row : file.rows) {
    NewAgent& agent =
        agents.emplace_back(NewAgent{row.id, settings, row.ek_sha256, false});
    for (const auto& [key, value] : row.labels) {
      agent.settings.labels[key] = value;
    }
    if (!agent.ek_sha256.empty()) continue;
    const auto enrolled = known.find(row.id);
    if (flags.vouched) {
      agent.vouched = true;
    } else if (flags.token && enrolled != known.end()) {
      // Once it has been added as well: that is told when it is added again.
      agent.ek_sha256 = enrolled->second.ek_sha256;
    } else if (flags.token) {
      file.errors.push_back(
          absl::StrCat(row.line, ": no machine has enrolled as agent ",
                       row.id.ToString(), " with a token of yours"));
    } else if (flags.trust_on_first_use || config.trust_on_first_use) {
      agent.trust_on_first_use = true;
    } else {
      file.errors.push_back(absl::StrCat(
          row.line,
          ": no EK; give its SHA-256 in the second field, or say --token, "
          "--vouched or --trust-on-first-use for all that have none"));
    }
  }
  return agents;
}

// Nobody is told twice that the verifier is gone.
bool IsHopeless(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsUnauthenticated(status) ||
         absl::IsPermissionDenied(status) || absl::IsDeadlineExceeded(status);
}

absl::StatusOr<Outcome> Send(Fleet& fleet, std::span<const NewAgent> agents,
                             std::span<const AgentRow> rows) {
  Outcome outcome;
  std::vector<size_t> taken;  // indices of ids that were there
  ProgressMeter meter("agents added");
  size_t answered_count = 0;
  fleet.AddAll(
      agents, [&](size_t index, const absl::StatusOr<ReportedAgent>& added) {
        meter.Update(++answered_count);
        if (added.ok()) {
          ++outcome.added_count;
        } else if (absl::IsAlreadyExists(added.status())) {
          taken.push_back(index);
        } else {
          outcome.failures.push_back({rows[index].line, rows[index].id,
                                      std::string(added.status().message())});
        }
        return !IsHopeless(added.status());
      });
  meter.Clear();
  outcome.untried_count = agents.size() - answered_count;
  if (!taken.empty()) {
    CUPEL_ASSIGN_OR_RETURN(const auto known, LoadAgents(fleet));
    for (const size_t index : taken) {
      const auto agent = known.find(agents[index].id);
      const bool same = agent != known.end() &&
                        agent->second.state != AgentState::kEnrolled &&
                        (agents[index].ek_sha256.empty() ||
                         agent->second.ek_sha256 == agents[index].ek_sha256);
      if (same) {
        ++outcome.present_count;
      } else {
        outcome.failures.push_back(
            {rows[index].line, rows[index].id,
             "its id is taken, by another EK or by another tenant"});
      }
    }
  }
  std::ranges::sort(outcome.failures, {}, &Failure::line);
  return outcome;
}

absl::StatusOr<Outcome> AddMany(const Online& online, const AddFlags& flags) {
  if (!flags.agent.empty() || !flags.ek.empty()) {
    return absl::InvalidArgumentError(
        "--from names the agents and their EKs; leave UUID and --ek out");
  }
  if ((flags.token ? 1 : 0) + (flags.vouched ? 1 : 0) +
          (flags.trust_on_first_use ? 1 : 0) >
      1) {
    return absl::InvalidArgumentError(
        "--token, --vouched or --trust-on-first-use: one of them, not both");
  }
  if (flags.settings.HasOwnPolicy()) {
    return absl::InvalidArgumentError(
        "--allowlist, --exclude and --deny make one agent's own policy; for "
        "many, use `policy add` and --policy NAME");
  }
  CUPEL_ASSIGN_OR_RETURN(const config::TenantConfig config, online.Config());
  Missing missing;
  CUPEL_ASSIGN_OR_RETURN(const AgentSettings settings,
                         NewSettings(flags.settings, config, online, missing));
  CUPEL_RETURN_IF_ERROR(CheckNothingMissing(missing));
  CUPEL_ASSIGN_OR_RETURN(AgentFile file, LoadRows(flags));
  std::unique_ptr<Fleet> fleet;
  std::map<AgentId, ReportedAgent> known;
  if (flags.token && file.errors.empty()) {
    CUPEL_ASSIGN_OR_RETURN(fleet, online.Connect());
    CUPEL_ASSIGN_OR_RETURN(known, LoadAgents(*fleet));
  }
  const std::vector<NewAgent> agents =
      MakeAgents(flags, config, settings, known, file);
  if (!file.errors.empty()) {
    PrintErrors(flags.from, file.errors);
    return absl::InvalidArgumentError(absl::StrCat(
        "nothing was sent: ", file.errors.size(),
        file.errors.size() == 1 ? " line is" : " lines are", " wrong"));
  }
  if (fleet == nullptr) {
    CUPEL_ASSIGN_OR_RETURN(fleet, online.Connect());
  }
  CUPEL_ASSIGN_OR_RETURN(Outcome outcome, Send(*fleet, agents, file.rows));
  std::vector<std::string> errors;
  for (const Failure& failure : outcome.failures) {
    errors.push_back(absl::StrCat(failure.line, ": agent ",
                                  failure.id.ToString(), ": ", failure.reason));
  }
  PrintErrors(flags.from, errors);
  if (!outcome.IsComplete()) {
    PrintError(
        "not all were added; run the same again once that is cured: those that "
        "are there stay as they are");
  }
  return outcome;
}

nlohmann::ordered_json ToJson(const Outcome& outcome) {
  nlohmann::ordered_json json = {{"added", outcome.added_count},
                                 {"present", outcome.present_count},
                                 {"untried", outcome.untried_count}};
  json["failed"] = nlohmann::ordered_json::array();
  for (const Failure& failure : outcome.failures) {
    // Its reason is text: the escapes in it stay.
    json["failed"].push_back({{"line", failure.line},
                              {"agent", failure.id.ToString()},
                              {"reason", failure.reason}});
  }
  return json;
}

}  // namespace

ExitCode RunAddMany(const Online& online, const AddFlags& flags) {
  const auto outcome = AddMany(online, flags);
  if (!outcome.ok()) return Fail(outcome.status());
  if (flags.json) {
    PrintLine(DumpJson(ToJson(*outcome), 2));
  } else {
    PrintLine(absl::StrCat(outcome->added_count, " agents added, ",
                           outcome->present_count, " were there before, ",
                           outcome->failures.size(), " failed, ",
                           outcome->untried_count, " were not tried"));
  }
  return outcome->IsComplete() ? ExitCode::kOk : ExitCode::kUndecided;
}

}  // namespace cupel::tenant
