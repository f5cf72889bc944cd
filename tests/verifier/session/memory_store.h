// A store in memory for the tests of sessions: it keeps the contract of
// verifier/store/store.h as far as sessions use it, epochs included.
#ifndef CUPEL_TESTS_VERIFIER_SESSION_MEMORY_STORE_H_
#define CUPEL_TESTS_VERIFIER_SESSION_MEMORY_STORE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/policy/policy_file.h"
#include "common/util/bytes.h"
#include "verifier/store/store.h"

namespace cupel::verifier {

// What sessions don't call is kUnimplemented.
class MemoryStore : public Store {
 public:
  // Set by tests.
  absl::Time now = absl::FromUnixSeconds(1'000'000);
  bool away = false;
  std::map<AgentId, AgentRecord> agents;
  std::map<std::pair<std::string, std::string>, PolicyRecord> policies;
  // Seen by tests.
  std::vector<VerdictWrite> writes;  // those that were taken
  int claims = 0;
  int seen = 0;
  int policy_reads = 0;

  // As PutPolicy of an operator, whose agents all use it.
  void Put(const std::string& tenant, const std::string& name,
           absl::string_view file) {
    PolicyRecord& record = policies[{tenant, name}];
    record.tenant = tenant;
    record.name = name;
    ++record.version;
    record.file = ToVector(AsBytes(file));
    record.content_id = policy::PolicyContentId(record.file);
    for (auto& [id, agent] : agents) ++agent.policy_epoch;
  }

  absl::Time Now() const override { return now; }
  absl::StatusOr<AgentRecord> FindAgent(const AgentId& id) override {
    if (away) return absl::UnavailableError("the disk is gone");
    const auto found = agents.find(id);
    if (found == agents.end() || !found->second.enrollment.has_value()) {
      return absl::NotFoundError("no such agent");
    }
    return found->second;
  }
  absl::StatusOr<AgentRecord> ClaimAgent(const AgentId& id,
                                         absl::string_view) override {
    auto found = FindAgent(id);
    if (!found.ok()) return found;
    ++claims;
    ++agents.at(id).owner_epoch;
    return agents.at(id);
  }
  absl::StatusOr<AgentRecord> RecordVerdict(
      const VerdictWrite& write) override {
    auto found = FindAgent(write.id);
    if (!found.ok()) return found;
    AgentRecord& record = agents.at(write.id);
    const bool is_final = record.state == AgentState::kFailed ||
                          record.state == AgentState::kStopped;
    if (write.owner_epoch != record.owner_epoch ||
        write.policy_epoch != record.policy_epoch ||
        (is_final && write.state.has_value())) {
      return absl::AbortedError("fenced");
    }
    writes.push_back(write);
    if (write.state.has_value()) record.state = *write.state;
    record.state_reason = write.reason;
    record.valid_until = write.valid_until;
    record.findings = write.findings;
    record.counts = write.counts;
    record.progress = write.progress;
    record.boot_composite = write.boot_composite;
    return record;
  }
  absl::Status RecordSeen(const AgentId&, absl::Time) override {
    ++seen;
    return away ? absl::UnavailableError("the disk is gone") : absl::OkStatus();
  }
  absl::StatusOr<uint32_t> ExpireVerdicts(absl::Time until) override {
    if (away) return absl::UnavailableError("the disk is gone");
    uint32_t count = 0;
    for (auto& [id, agent] : agents) {
      if (agent.state != AgentState::kTrusted &&
          agent.state != AgentState::kPending) {
        continue;
      }
      if (!agent.valid_until.has_value() || *agent.valid_until > until)
        continue;
      agent.state = AgentState::kPending;
      agent.valid_until.reset();
      ++count;
    }
    return count;
  }
  absl::StatusOr<PolicyRecord> GetPolicy(absl::string_view tenant,
                                         absl::string_view name) override {
    if (away) return absl::UnavailableError("the disk is gone");
    ++policy_reads;
    const auto found = policies.find({std::string(tenant), std::string(name)});
    if (found == policies.end()) return absl::NotFoundError("no such policy");
    return found->second;
  }
  absl::StatusOr<std::vector<PolicyRecord>> ListPolicies(
      absl::string_view tenant) override {
    if (away) return absl::UnavailableError("the disk is gone");
    std::vector<PolicyRecord> all;
    for (const auto& [key, record] : policies) {
      if (key.first != tenant) continue;
      all.push_back(record);
      all.back().file.clear();
    }
    return all;
  }

  absl::StatusOr<std::map<AgentState, uint64_t>> CountAgents() override {
    return No();
  }

  absl::StatusOr<AgentRecord> Enroll(const AgentId&, const Enrollment&,
                                     std::span<const uint8_t>, absl::Time,
                                     absl::string_view, uint32_t) override {
    return No();
  }
  absl::Status AddEnrollmentToken(absl::string_view, absl::string_view,
                                  absl::Time) override {
    return No();
  }
  absl::Status Expire(absl::Time) override { return No(); }
  absl::StatusOr<AgentRecord> AddAgent(absl::string_view, const AgentId&,
                                       const AgentSettings&, absl::string_view,
                                       absl::string_view) override {
    return No();
  }
  absl::Status UpdateAgent(absl::string_view, const AgentId&,
                           const AgentSettings&, absl::string_view) override {
    return No();
  }
  absl::Status DeleteAgent(absl::string_view, const AgentId&,
                           absl::string_view) override {
    return No();
  }
  absl::Status Reactivate(absl::string_view, const AgentId&,
                          std::vector<AcceptedFinding>, bool, absl::string_view,
                          absl::string_view) override {
    return No();
  }
  absl::Status StopAgent(absl::string_view, const AgentId&,
                         absl::string_view) override {
    return No();
  }
  absl::StatusOr<AgentRecord> GetAgent(absl::string_view,
                                       const AgentId&) override {
    return No();
  }
  absl::StatusOr<std::vector<AgentRecord>> ListAgents(
      const AgentFilter&) override {
    return No();
  }
  absl::StatusOr<std::vector<AgentRecord>> ListUnclaimed() override {
    return No();
  }
  absl::StatusOr<PolicyRecord> PutPolicy(absl::string_view, absl::string_view,
                                         std::span<const uint8_t>, bool,
                                         absl::string_view) override {
    return No();
  }
  absl::Status DeletePolicy(absl::string_view, absl::string_view,
                            absl::string_view) override {
    return No();
  }
  absl::StatusOr<uint64_t> CountAgentsWithPolicy(absl::string_view,
                                                 absl::string_view) override {
    return No();
  }
  absl::StatusOr<std::vector<AgentEvent>> EventsAfter(absl::string_view,
                                                      uint64_t,
                                                      uint32_t) override {
    return No();
  }
  absl::StatusOr<uint64_t> LastEventSequence() override { return No(); }
  void OnChange(std::function<void(std::optional<AgentId>)>) override {}
  absl::Status Backup(const std::string&) override { return No(); }

 private:
  static absl::Status No() { return absl::UnimplementedError("no session"); }
};

}  // namespace cupel::verifier

#endif  // CUPEL_TESTS_VERIFIER_SESSION_MEMORY_STORE_H_
