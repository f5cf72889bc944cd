// The store of sessions' tests, with what sessions do with it counted.
#ifndef CUPEL_TESTS_VERIFIER_SESSION_RIG_STORE_H_
#define CUPEL_TESTS_VERIFIER_SESSION_RIG_STORE_H_

#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/util/bytes.h"
#include "tests/support/memory_store.h"

namespace cupel::verifier {

class RigStore final : public testing::MemoryStore {
 public:
  // Set by tests: gives out other bytes of policies than were put there.
  bool damages_policies = false;
  // Seen by tests: the verdicts that were taken, and how often the others were
  // called.
  std::vector<VerdictWrite> writes;
  int claims = 0;
  int seen = 0;
  int policy_reads = 0;
  int finds = 0;

  // As an operator does, whether there is such a policy or not.
  void Put(const std::string& tenant, const std::string& name,
           absl::string_view file) {
    auto put = PutPolicy(tenant, name, AsBytes(file), /*digest_count=*/0,
                         /*create=*/false, "ann");
    if (absl::IsNotFound(put.status())) {
      put = PutPolicy(tenant, name, AsBytes(file), /*digest_count=*/0,
                      /*create=*/true, "ann");
    }
    put.value();
  }

  absl::StatusOr<AgentRecord> FindAgent(const AgentId& id) override {
    ++finds;
    return MemoryStore::FindAgent(id);
  }
  absl::StatusOr<AgentRecord> ClaimAgent(const AgentId& id,
                                         absl::string_view owner) override {
    ++claims;
    return MemoryStore::ClaimAgent(id, owner);
  }
  absl::StatusOr<AgentRecord> RecordVerdict(
      const VerdictWrite& write) override {
    auto record = MemoryStore::RecordVerdict(write);
    if (record.ok()) writes.push_back(write);
    return record;
  }
  std::vector<absl::StatusOr<RecordedVerdict>> RecordVerdicts(
      std::span<const VerdictWrite> some) override {
    auto results = MemoryStore::RecordVerdicts(some);
    for (size_t i = 0; i < some.size(); ++i) {
      if (results[i].ok()) writes.push_back(some[i]);
    }
    return results;
  }
  absl::Status RecordSeen(const AgentId& id, absl::Time time) override {
    ++seen;
    return MemoryStore::RecordSeen(id, time);
  }
  absl::StatusOr<PolicyRecord> GetPolicy(absl::string_view tenant,
                                         absl::string_view name) override {
    ++policy_reads;
    auto record = MemoryStore::GetPolicy(tenant, name);
    if (record.ok() && damages_policies) record->file.push_back(' ');
    return record;
  }
};

}  // namespace cupel::verifier

#endif  // CUPEL_TESTS_VERIFIER_SESSION_RIG_STORE_H_
