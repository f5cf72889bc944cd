// The store that enrolment's tests look at.
#ifndef CUPEL_TESTS_SUPPORT_ENROLLMENT_STORE_H_
#define CUPEL_TESTS_SUPPORT_ENROLLMENT_STORE_H_

#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/util/status_macros.h"
#include "tests/support/certificate_builder.h"
#include "tests/support/memory_store.h"

namespace cupel::testing {

class EnrollmentStore final : public MemoryStore {
 public:
  EnrollmentStore() : MemoryStore(TestTime()) {}

  void SetNow(absl::Time time) { now = time; }
  void Advance(absl::Duration by) { now += by; }
  // How many enrolments were asked for.
  int write_count() const { return write_count_; }
  // Of agents that no tenant has.
  size_t agent_count() { return ListUnclaimed().value().size(); }
  // As an operator who has added the agent does.
  absl::Status AddAndDelete(const AgentId& id) {
    CUPEL_RETURN_IF_ERROR(AddAgent("T", id, {}, "", "operator").status());
    return DeleteAgent("T", id, "operator");
  }

  absl::StatusOr<AgentRecord> Enroll(
      const AgentId& id, const verifier::Enrollment& enrollment,
      std::span<const uint8_t> nonce, absl::Time issued,
      absl::string_view token, uint32_t max_unclaimed_per_address) override {
    ++write_count_;
    return MemoryStore::Enroll(id, enrollment, nonce, issued, token,
                               max_unclaimed_per_address);
  }

 private:
  int write_count_ = 0;
};

}  // namespace cupel::testing

#endif  // CUPEL_TESTS_SUPPORT_ENROLLMENT_STORE_H_
