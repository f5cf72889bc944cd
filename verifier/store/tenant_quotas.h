// What one tenant may have in a store, so that the others find room [A40].
//
// Each check is made in the transaction that writes what it allows.
#ifndef CUPEL_VERIFIER_STORE_TENANT_QUOTAS_H_
#define CUPEL_VERIFIER_STORE_TENANT_QUOTAS_H_

#include <cstdint>
#include <limits>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "verifier/store/connection.h"

namespace cupel::verifier {

// Of each tenant. What a tenant has already stays when a quota is lowered.
struct TenantQuotas {
  static constexpr uint64_t kNone = std::numeric_limits<int64_t>::max();
  uint64_t max_policies = kNone;
  uint64_t max_policy_bytes = kNone;       // of its policies' files together
  uint64_t max_agents = kNone;             // whatever their states
  uint64_t max_enrollment_tokens = kNone;  // that can still be used
  uint64_t max_allowed_eks = kNone;
};

// kResourceExhausted, with the quota and its option's name, unless the tenant
// may have one more agent.
absl::Status CheckAgentQuota(Connection& db, const TenantQuotas& quotas,
                             absl::string_view tenant);

// The same for an enrolment token; those that have expired by `now` are none.
absl::Status CheckTokenQuota(Connection& db, const TenantQuotas& quotas,
                             absl::string_view tenant, absl::Time now);
// The same for the EKs that the tenant vouches for by now, of which it had
// `before` (CountAllowedEks) when the transaction began.
absl::Status CheckAllowedEkQuota(Connection& db, const TenantQuotas& quotas,
                                 absl::string_view tenant, uint64_t before);

// The same before any of `ek_sha256` is written, for a tenant that has `before`
// of them and no room: only what is there already may be allowed again.
absl::Status CheckNoNewEk(Connection& db, const TenantQuotas& quotas,
                          absl::string_view tenant,
                          std::span<const std::string> ek_sha256,
                          uint64_t before);

// The same for a new policy.
absl::Status CheckPolicyQuota(Connection& db, const TenantQuotas& quotas,
                              absl::string_view tenant);
// The same for a file of `size` bytes as the policy `name`, which the tenant
// may have or not. One that is no larger than the policy's present file is
// always allowed.
absl::Status CheckPolicyBytesQuota(Connection& db, const TenantQuotas& quotas,
                                   absl::string_view tenant,
                                   absl::string_view name, uint64_t size);

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_STORE_TENANT_QUOTAS_H_
