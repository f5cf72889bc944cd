// The part of a Store that enrolment calls, in memory: it keeps what the
// interface promises, and forgets everything with its end.
#ifndef CUPEL_TESTS_SUPPORT_ENROLLMENT_STORE_H_
#define CUPEL_TESTS_SUPPORT_ENROLLMENT_STORE_H_

#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "tests/support/certificate_builder.h"
#include "verifier/store/store.h"

namespace cupel::testing {

class EnrollmentStore : public verifier::Store {
 public:
  using AgentRecord = verifier::AgentRecord;
  using AgentState = verifier::AgentState;

  void SetNow(absl::Time now) { now_ = now; }
  void Advance(absl::Duration by) { now_ += by; }
  // How often anything was asked to change.
  int write_count() const { return write_count_; }
  size_t agent_count() const { return agents_.size(); }

  absl::Time Now() const override { return now_; }

  absl::StatusOr<AgentRecord> Enroll(
      const AgentId& id, const verifier::Enrollment& enrollment,
      std::span<const uint8_t> nonce, absl::Time issued,
      absl::string_view /*token*/,
      uint32_t max_unclaimed_per_address) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    ++write_count_;
    const std::vector<uint8_t> key(nonce.begin(), nonce.end());
    if (nonces_.count(key) > 0) {
      return absl::AlreadyExistsError("the cookie was used");
    }
    const auto deleted = deleted_.find(id);
    if (deleted != deleted_.end() && issued <= deleted->second) {
      return absl::FailedPreconditionError("begun before the last delete");
    }
    uint32_t unclaimed = 0;
    for (const auto& [other_id, other] : agents_) {
      if (!other.enrollment.has_value()) continue;
      const bool is_same_ek =
          other.enrollment->ek_sha256 == enrollment.ek_sha256 ||
          other.enrollment->ek_name == enrollment.ek_name;
      if (is_same_ek != (other_id == id)) {
        if (is_same_ek) return absl::AlreadyExistsError("the EK has an id");
        if (other_id == id) return absl::AlreadyExistsError("another EK");
      }
      if (other_id != id && other.tenant.empty() &&
          other.enrollment->address == enrollment.address) {
        ++unclaimed;
      }
    }
    const auto found = agents_.find(id);
    const bool is_known = found != agents_.end();
    if (is_known && !found->second.wanted_ek_sha256.empty() &&
        found->second.wanted_ek_sha256 != enrollment.ek_sha256) {
      return absl::AlreadyExistsError("the id is to have another EK");
    }
    if (!is_known && unclaimed >= max_unclaimed_per_address) {
      return absl::ResourceExhaustedError("too many unclaimed enrolments");
    }
    nonces_.insert(key);
    AgentRecord& agent = FindOrMake(id);
    if (agent.state == AgentState::kExpected) {
      agent.state = AgentState::kPending;
    }
    agent.enrollment = enrollment;
    ++agent.owner_epoch;
    return agent;
  }

  absl::StatusOr<AgentRecord> AddAgent(absl::string_view tenant,
                                       const AgentId& id,
                                       const verifier::AgentSettings& settings,
                                       absl::string_view ek_sha256,
                                       absl::string_view /*who*/) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    ++write_count_;
    AgentRecord& agent = FindOrMake(id);
    if (!agent.tenant.empty()) return absl::AlreadyExistsError("added");
    if (agent.enrollment.has_value() && !ek_sha256.empty() &&
        agent.enrollment->ek_sha256 != ek_sha256) {
      return absl::FailedPreconditionError("enrolled with another EK");
    }
    agent.tenant = std::string(tenant);
    agent.settings = settings;
    agent.wanted_ek_sha256 = std::string(ek_sha256);
    agent.state = agent.enrollment.has_value() ? AgentState::kPending
                                               : AgentState::kExpected;
    return agent;
  }

  absl::Status DeleteAgent(absl::string_view /*tenant*/, const AgentId& id,
                           absl::string_view /*who*/) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    ++write_count_;
    if (agents_.erase(id) == 0) return absl::NotFoundError("no such agent");
    deleted_[id] = now_;
    return absl::OkStatus();
  }

  absl::StatusOr<AgentRecord> FindAgent(const AgentId& id) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = agents_.find(id);
    if (found == agents_.end()) return absl::NotFoundError("no such agent");
    return found->second;
  }

  // What enrolment never calls.
  absl::Status AddEnrollmentToken(absl::string_view, absl::string_view,
                                  absl::Time) override {
    return NotHere();
  }
  absl::Status Expire(absl::Time) override { return NotHere(); }
  absl::Status UpdateAgent(absl::string_view, const AgentId&,
                           const verifier::AgentSettings&,
                           absl::string_view) override {
    return NotHere();
  }
  absl::Status Reactivate(absl::string_view, const AgentId&,
                          std::vector<verifier::AcceptedFinding>, bool,
                          absl::string_view, absl::string_view) override {
    return NotHere();
  }
  absl::Status StopAgent(absl::string_view, const AgentId&,
                         absl::string_view) override {
    return NotHere();
  }
  absl::StatusOr<AgentRecord> GetAgent(absl::string_view,
                                       const AgentId&) override {
    return NotHere();
  }
  absl::StatusOr<std::vector<AgentRecord>> ListAgents(
      const verifier::AgentFilter&) override {
    return NotHere();
  }
  absl::StatusOr<std::vector<AgentRecord>> ListUnclaimed() override {
    return NotHere();
  }
  absl::StatusOr<std::map<AgentState, uint64_t>> CountAgents() override {
    return NotHere();
  }
  absl::StatusOr<verifier::PolicyRecord> PutPolicy(absl::string_view,
                                                   absl::string_view,
                                                   std::span<const uint8_t>,
                                                   bool,
                                                   absl::string_view) override {
    return NotHere();
  }
  absl::Status DeletePolicy(absl::string_view, absl::string_view,
                            absl::string_view) override {
    return NotHere();
  }
  absl::StatusOr<verifier::PolicyRecord> GetPolicy(absl::string_view,
                                                   absl::string_view) override {
    return NotHere();
  }
  absl::StatusOr<std::vector<verifier::PolicyRecord>> ListPolicies(
      absl::string_view) override {
    return NotHere();
  }
  absl::StatusOr<uint64_t> CountAgentsWithPolicy(absl::string_view,
                                                 absl::string_view) override {
    return NotHere();
  }
  absl::StatusOr<AgentRecord> ClaimAgent(const AgentId&,
                                         absl::string_view) override {
    return NotHere();
  }
  absl::StatusOr<AgentRecord> RecordVerdict(
      const verifier::VerdictWrite&) override {
    return NotHere();
  }
  absl::Status RecordSeen(const AgentId&, absl::Time) override {
    return NotHere();
  }
  absl::StatusOr<uint32_t> ExpireVerdicts(absl::Time) override {
    return NotHere();
  }
  absl::StatusOr<std::vector<verifier::AgentEvent>> EventsAfter(
      absl::string_view, uint64_t, uint32_t) override {
    return NotHere();
  }
  absl::StatusOr<uint64_t> LastEventSequence() override { return NotHere(); }
  void OnChange(std::function<void(std::optional<AgentId>)>) override {}
  absl::Status Backup(const std::string&) override { return NotHere(); }

 private:
  AgentRecord& FindOrMake(const AgentId& id) {
    const auto found = agents_.find(id);
    if (found != agents_.end()) return found->second;
    AgentRecord fresh{.id = id,
                      .tenant = "",
                      .state_reason = "",
                      .wanted_ek_sha256 = "",
                      .enrollment = {},
                      .settings = {},
                      .valid_until = {},
                      .last_attested = {},
                      .last_seen = {},
                      .counts = {},
                      .findings = {},
                      .accepted = {},
                      .boot_composite = "",
                      .pinned_boot_composite = "",
                      .progress = {}};
    return agents_.emplace(id, std::move(fresh)).first->second;
  }

  static absl::Status NotHere() {
    return absl::UnimplementedError("not in the enrolment's store");
  }

  std::mutex mutex_;
  absl::Time now_ = TestTime();
  int write_count_ = 0;
  std::map<AgentId, AgentRecord> agents_;
  std::map<AgentId, absl::Time> deleted_;
  std::set<std::vector<uint8_t>> nonces_;
};

}  // namespace cupel::testing

#endif  // CUPEL_TESTS_SUPPORT_ENROLLMENT_STORE_H_
