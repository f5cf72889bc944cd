// A store whose failures somebody hears of.
#ifndef CUPEL_VERIFIER_STORE_OBSERVED_STORE_H_
#define CUPEL_VERIFIER_STORE_OBSERVED_STORE_H_

#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "verifier/store/store.h"

namespace cupel::verifier {

// Passes every call on to another store. What that one refuses (an unknown
// agent, a stale epoch) is an answer; that it could not be asked, or doesn't
// hold what it should, is a failure: kUnavailable, kDataLoss, kInternal,
// kUnknown.
class ObservedStore final : public Store {
 public:
  // `call` is the name of the function that failed. Called by any thread; must
  // not call the store.
  using OnFailure =
      std::function<void(absl::string_view call, const absl::Status& status)>;

  // `store` must outlive it.
  ObservedStore(Store& store, OnFailure on_failure)
      : store_(store), on_failure_(std::move(on_failure)) {}

  absl::Time Now() const override { return store_.Now(); }

  absl::StatusOr<AgentRecord> Enroll(
      const AgentId& id, const Enrollment& enrollment,
      std::span<const uint8_t> nonce, absl::Time issued,
      absl::string_view token, uint32_t max_unclaimed_per_address) override {
    return Tell("Enroll", store_.Enroll(id, enrollment, nonce, issued, token,
                                        max_unclaimed_per_address));
  }
  absl::Status AddEnrollmentToken(absl::string_view tenant,
                                  absl::string_view token_sha256,
                                  absl::Time expires) override {
    return Tell("AddEnrollmentToken",
                store_.AddEnrollmentToken(tenant, token_sha256, expires));
  }
  absl::Status Expire(absl::Time before) override {
    return Tell("Expire", store_.Expire(before));
  }

  absl::StatusOr<AgentRecord> AddAgent(absl::string_view tenant,
                                       const AgentId& id,
                                       const AgentSettings& settings,
                                       absl::string_view ek_sha256,
                                       absl::string_view who) override {
    return Tell("AddAgent",
                store_.AddAgent(tenant, id, settings, ek_sha256, who));
  }
  absl::StatusOr<AgentRecord> AddVouchedAgent(absl::string_view tenant,
                                              const AgentId& id,
                                              const AgentSettings& settings,
                                              absl::string_view who) override {
    return Tell("AddVouchedAgent",
                store_.AddVouchedAgent(tenant, id, settings, who));
  }
  absl::Status UpdateAgent(absl::string_view tenant, const AgentId& id,
                           SettingsChange change,
                           absl::string_view who) override {
    return Tell("UpdateAgent", store_.UpdateAgent(tenant, id, change, who));
  }
  absl::Status DeleteAgent(absl::string_view tenant, const AgentId& id,
                           absl::string_view who) override {
    return Tell("DeleteAgent", store_.DeleteAgent(tenant, id, who));
  }
  absl::Status Reactivate(absl::string_view tenant, const AgentId& id,
                          const Reactivation& reactivation,
                          absl::string_view who) override {
    return Tell("Reactivate", store_.Reactivate(tenant, id, reactivation, who));
  }
  absl::Status StopAgent(absl::string_view tenant, const AgentId& id,
                         absl::string_view who) override {
    return Tell("StopAgent", store_.StopAgent(tenant, id, who));
  }
  absl::StatusOr<AgentRecord> GetAgent(absl::string_view tenant,
                                       const AgentId& id) override {
    return Tell("GetAgent", store_.GetAgent(tenant, id));
  }
  absl::StatusOr<std::vector<AgentRecord>> ListAgents(
      const AgentFilter& filter) override {
    return Tell("ListAgents", store_.ListAgents(filter));
  }
  absl::StatusOr<std::vector<AgentId>> ListAgentIds(
      const AgentFilter& filter) override {
    return Tell("ListAgentIds", store_.ListAgentIds(filter));
  }
  absl::StatusOr<std::vector<AgentRecord>> ListUnclaimed() override {
    return Tell("ListUnclaimed", store_.ListUnclaimed());
  }
  absl::StatusOr<std::map<AgentState, uint64_t>> CountAgents() override {
    return Tell("CountAgents", store_.CountAgents());
  }

  absl::Status AllowEks(absl::string_view tenant,
                        std::span<const std::string> ek_sha256,
                        absl::string_view who) override {
    return Tell("AllowEks", store_.AllowEks(tenant, ek_sha256, who));
  }
  absl::Status DisallowEks(absl::string_view tenant,
                           std::span<const std::string> ek_sha256,
                           absl::string_view who) override {
    return Tell("DisallowEks", store_.DisallowEks(tenant, ek_sha256, who));
  }
  absl::StatusOr<std::vector<AllowedEk>> ListAllowedEks(
      absl::string_view tenant, absl::string_view after,
      uint32_t limit) override {
    return Tell("ListAllowedEks", store_.ListAllowedEks(tenant, after, limit));
  }

  absl::StatusOr<PolicyRecord> PutPolicy(absl::string_view tenant,
                                         absl::string_view name,
                                         std::span<const uint8_t> file,
                                         uint64_t digest_count, bool create,
                                         absl::string_view who) override {
    return Tell("PutPolicy", store_.PutPolicy(tenant, name, file, digest_count,
                                              create, who));
  }
  absl::Status DeletePolicy(absl::string_view tenant, absl::string_view name,
                            absl::string_view who) override {
    return Tell("DeletePolicy", store_.DeletePolicy(tenant, name, who));
  }
  absl::StatusOr<PolicyRecord> GetPolicy(absl::string_view tenant,
                                         absl::string_view name) override {
    return Tell("GetPolicy", store_.GetPolicy(tenant, name));
  }
  absl::StatusOr<std::string> PolicyContentId(absl::string_view tenant,
                                              absl::string_view name) override {
    return Tell("PolicyContentId", store_.PolicyContentId(tenant, name));
  }
  absl::StatusOr<std::vector<PolicyRecord>> ListPolicies(
      absl::string_view tenant) override {
    return Tell("ListPolicies", store_.ListPolicies(tenant));
  }
  absl::StatusOr<uint64_t> CountAgentsWithPolicy(
      absl::string_view tenant, absl::string_view name) override {
    return Tell("CountAgentsWithPolicy",
                store_.CountAgentsWithPolicy(tenant, name));
  }

  absl::StatusOr<AgentRecord> FindAgent(const AgentId& id) override {
    return Tell("FindAgent", store_.FindAgent(id));
  }
  absl::StatusOr<AgentRecord> ClaimAgent(const AgentId& id,
                                         absl::string_view owner) override {
    return Tell("ClaimAgent", store_.ClaimAgent(id, owner));
  }
  absl::StatusOr<AgentRecord> RecordVerdict(
      const VerdictWrite& write) override {
    return Tell("RecordVerdict", store_.RecordVerdict(write));
  }
  std::vector<absl::StatusOr<RecordedVerdict>> RecordVerdicts(
      std::span<const VerdictWrite> writes) override {
    auto results = store_.RecordVerdicts(writes);
    for (const auto& result : results) TellOf("RecordVerdict", result.status());
    return results;
  }
  absl::StatusOr<RecordedVerdict> RecordLateFailure(
      const VerdictWrite& write, const LateFailure& late) override {
    return Tell("RecordLateFailure", store_.RecordLateFailure(write, late));
  }
  absl::Status RecordSeen(const AgentId& id, absl::Time time) override {
    return Tell("RecordSeen", store_.RecordSeen(id, time));
  }
  absl::StatusOr<uint32_t> ExpireVerdicts(absl::Time now) override {
    return Tell("ExpireVerdicts", store_.ExpireVerdicts(now));
  }

  absl::StatusOr<std::vector<AgentEvent>> EventsAfter(absl::string_view tenant,
                                                      uint64_t sequence,
                                                      uint32_t limit) override {
    return Tell("EventsAfter", store_.EventsAfter(tenant, sequence, limit));
  }
  absl::StatusOr<uint64_t> LastEventSequence() override {
    return Tell("LastEventSequence", store_.LastEventSequence());
  }
  absl::Status ExpireEvents(absl::Time before) override {
    return Tell("ExpireEvents", store_.ExpireEvents(before));
  }
  void OnChange(std::function<void(std::optional<AgentId>)> changed) override {
    store_.OnChange(std::move(changed));
  }

  absl::Status Backup(const std::string& path) override {
    return Tell("Backup", store_.Backup(path));
  }

 private:
  static const absl::Status& StatusOf(const absl::Status& status) {
    return status;
  }
  template <typename T>
  static const absl::Status& StatusOf(const absl::StatusOr<T>& result) {
    return result.status();
  }

  template <typename Result>
  Result Tell(absl::string_view call, Result result) {
    TellOf(call, StatusOf(result));
    return result;
  }

  void TellOf(absl::string_view call, const absl::Status& status) {
    if (absl::IsUnavailable(status) || absl::IsDataLoss(status) ||
        absl::IsInternal(status) || absl::IsUnknown(status)) {
      on_failure_(call, status);
    }
  }

  Store& store_;
  const OnFailure on_failure_;
};

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_STORE_OBSERVED_STORE_H_
