// A store of which a test sees each call before it is made.
#ifndef CUPEL_TESTS_SUPPORT_WATCHED_STORE_H_
#define CUPEL_TESTS_SUPPORT_WATCHED_STORE_H_

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "verifier/store/store.h"

namespace cupel::testing {

// Hands every call on to `store`, which must outlive it, after `before` was
// called with the function's name ("RecordVerdict"). What `before` throws goes
// to the caller, and what it returns but OK is the result; it may block. Called
// by any thread. OnChange and Now are not watched.
class WatchedStore : public verifier::Store {
 public:
  using Before = std::function<absl::Status(absl::string_view call)>;
  using AgentRecord = verifier::AgentRecord;
  using AgentSettings = verifier::AgentSettings;
  using PolicyRecord = verifier::PolicyRecord;

  WatchedStore(verifier::Store& store, Before before)
      : store_(store), before_(std::move(before)) {}

  absl::Time Now() const override { return store_.Now(); }
  void OnChange(std::function<void(std::optional<AgentId>)> changed) override {
    store_.OnChange(std::move(changed));
  }

  absl::StatusOr<AgentRecord> Enroll(
      const AgentId& id, const verifier::Enrollment& enrollment,
      std::span<const uint8_t> nonce, absl::Time issued,
      absl::string_view token, uint32_t max_unclaimed_per_address) override {
    return Then("Enroll", [&] {
      return store_.Enroll(id, enrollment, nonce, issued, token,
                           max_unclaimed_per_address);
    });
  }
  absl::Status AddEnrollmentToken(absl::string_view tenant,
                                  absl::string_view token_sha256,
                                  absl::Time expires) override {
    return Then("AddEnrollmentToken", [&] {
      return store_.AddEnrollmentToken(tenant, token_sha256, expires);
    });
  }
  absl::Status Expire(absl::Time before) override {
    return Then("Expire", [&] { return store_.Expire(before); });
  }
  absl::StatusOr<AgentRecord> AddAgent(absl::string_view tenant,
                                       const AgentId& id,
                                       const AgentSettings& settings,
                                       absl::string_view ek_sha256,
                                       absl::string_view who) override {
    return Then("AddAgent", [&] {
      return store_.AddAgent(tenant, id, settings, ek_sha256, who);
    });
  }
  absl::StatusOr<AgentRecord> AddVouchedAgent(absl::string_view tenant,
                                              const AgentId& id,
                                              const AgentSettings& settings,
                                              absl::string_view who) override {
    return Then("AddVouchedAgent", [&] {
      return store_.AddVouchedAgent(tenant, id, settings, who);
    });
  }
  absl::Status UpdateAgent(absl::string_view tenant, const AgentId& id,
                           SettingsChange change,
                           absl::string_view who) override {
    return Then("UpdateAgent",
                [&] { return store_.UpdateAgent(tenant, id, change, who); });
  }
  absl::Status DeleteAgent(absl::string_view tenant, const AgentId& id,
                           absl::string_view who) override {
    return Then("DeleteAgent",
                [&] { return store_.DeleteAgent(tenant, id, who); });
  }
  absl::Status Reactivate(absl::string_view tenant, const AgentId& id,
                          const verifier::Reactivation& reactivation,
                          absl::string_view who) override {
    return Then("Reactivate", [&] {
      return store_.Reactivate(tenant, id, reactivation, who);
    });
  }
  absl::Status StopAgent(absl::string_view tenant, const AgentId& id,
                         absl::string_view who) override {
    return Then("StopAgent", [&] { return store_.StopAgent(tenant, id, who); });
  }
  absl::StatusOr<AgentRecord> GetAgent(absl::string_view tenant,
                                       const AgentId& id) override {
    return Then("GetAgent", [&] { return store_.GetAgent(tenant, id); });
  }
  absl::StatusOr<std::vector<AgentRecord>> ListAgents(
      const verifier::AgentFilter& filter) override {
    return Then("ListAgents", [&] { return store_.ListAgents(filter); });
  }
  absl::StatusOr<std::vector<AgentId>> ListAgentIds(
      const verifier::AgentFilter& filter) override {
    return Then("ListAgentIds", [&] { return store_.ListAgentIds(filter); });
  }
  absl::StatusOr<std::vector<AgentRecord>> ListUnclaimed() override {
    return Then("ListUnclaimed", [&] { return store_.ListUnclaimed(); });
  }
  absl::StatusOr<std::map<verifier::AgentState, uint64_t>> CountAgents()
      override {
    return Then("CountAgents", [&] { return store_.CountAgents(); });
  }
  absl::Status AllowEks(absl::string_view tenant,
                        std::span<const std::string> ek_sha256,
                        absl::string_view who) override {
    return Then("AllowEks",
                [&] { return store_.AllowEks(tenant, ek_sha256, who); });
  }
  absl::Status DisallowEks(absl::string_view tenant,
                           std::span<const std::string> ek_sha256,
                           absl::string_view who) override {
    return Then("DisallowEks",
                [&] { return store_.DisallowEks(tenant, ek_sha256, who); });
  }
  absl::StatusOr<std::vector<verifier::AllowedEk>> ListAllowedEks(
      absl::string_view tenant, absl::string_view after,
      uint32_t limit) override {
    return Then("ListAllowedEks",
                [&] { return store_.ListAllowedEks(tenant, after, limit); });
  }
  absl::StatusOr<PolicyRecord> PutPolicy(absl::string_view tenant,
                                         absl::string_view name,
                                         std::span<const uint8_t> file,
                                         uint64_t digest_count, bool create,
                                         absl::string_view who) override {
    return Then("PutPolicy", [&] {
      return store_.PutPolicy(tenant, name, file, digest_count, create, who);
    });
  }
  absl::Status DeletePolicy(absl::string_view tenant, absl::string_view name,
                            absl::string_view who) override {
    return Then("DeletePolicy",
                [&] { return store_.DeletePolicy(tenant, name, who); });
  }
  absl::StatusOr<PolicyRecord> GetPolicy(absl::string_view tenant,
                                         absl::string_view name) override {
    return Then("GetPolicy", [&] { return store_.GetPolicy(tenant, name); });
  }
  absl::StatusOr<std::string> PolicyContentId(absl::string_view tenant,
                                              absl::string_view name) override {
    return Then("PolicyContentId",
                [&] { return store_.PolicyContentId(tenant, name); });
  }
  absl::StatusOr<std::vector<PolicyRecord>> ListPolicies(
      absl::string_view tenant) override {
    return Then("ListPolicies", [&] { return store_.ListPolicies(tenant); });
  }
  absl::StatusOr<uint64_t> CountAgentsWithPolicy(
      absl::string_view tenant, absl::string_view name) override {
    return Then("CountAgentsWithPolicy",
                [&] { return store_.CountAgentsWithPolicy(tenant, name); });
  }
  absl::StatusOr<AgentRecord> FindAgent(const AgentId& id) override {
    return Then("FindAgent", [&] { return store_.FindAgent(id); });
  }
  absl::StatusOr<AgentRecord> ClaimAgent(const AgentId& id,
                                         absl::string_view owner) override {
    return Then("ClaimAgent", [&] { return store_.ClaimAgent(id, owner); });
  }
  absl::StatusOr<AgentRecord> RecordVerdict(
      const verifier::VerdictWrite& write) override {
    return Then("RecordVerdict", [&] { return store_.RecordVerdict(write); });
  }
  // A call of RecordVerdict for each of them.
  std::vector<absl::StatusOr<verifier::RecordedVerdict>> RecordVerdicts(
      std::span<const verifier::VerdictWrite> writes) override {
    std::vector<absl::Status> refused;
    std::vector<verifier::VerdictWrite> passed;
    for (const verifier::VerdictWrite& write : writes) {
      refused.push_back(before_("RecordVerdict"));
      if (refused.back().ok()) passed.push_back(write);
    }
    auto recorded = store_.RecordVerdicts(passed);
    std::vector<absl::StatusOr<verifier::RecordedVerdict>> results;
    auto next = recorded.begin();
    for (absl::Status& status : refused) {
      if (status.ok()) {
        results.push_back(std::move(*next++));
      } else {
        results.emplace_back(std::move(status));
      }
    }
    return results;
  }
  absl::StatusOr<verifier::RecordedVerdict> RecordLateFailure(
      const verifier::VerdictWrite& write,
      const verifier::LateFailure& late) override {
    return Then("RecordLateFailure",
                [&] { return store_.RecordLateFailure(write, late); });
  }
  absl::Status RecordSeen(const AgentId& id, absl::Time time) override {
    return Then("RecordSeen", [&] { return store_.RecordSeen(id, time); });
  }
  absl::StatusOr<uint32_t> ExpireVerdicts(absl::Time now) override {
    return Then("ExpireVerdicts", [&] { return store_.ExpireVerdicts(now); });
  }
  absl::StatusOr<std::vector<verifier::AgentEvent>> EventsAfter(
      absl::string_view tenant, uint64_t sequence, uint32_t limit) override {
    return Then("EventsAfter",
                [&] { return store_.EventsAfter(tenant, sequence, limit); });
  }
  absl::StatusOr<uint64_t> LastEventSequence() override {
    return Then("LastEventSequence",
                [&] { return store_.LastEventSequence(); });
  }
  absl::Status ExpireEvents(absl::Time before) override {
    return Then("ExpireEvents", [&] { return store_.ExpireEvents(before); });
  }
  absl::Status Backup(const std::string& path) override {
    return Then("Backup", [&] { return store_.Backup(path); });
  }

 private:
  template <typename Call>
  auto Then(absl::string_view name, Call call) -> decltype(call()) {
    if (absl::Status status = before_(name); !status.ok()) return status;
    return call();
  }

  verifier::Store& store_;
  const Before before_;
};

}  // namespace cupel::testing

#endif  // CUPEL_TESTS_SUPPORT_WATCHED_STORE_H_
