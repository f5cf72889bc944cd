#include "verifier/store/tenant_quotas.h"

#include <algorithm>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "common/util/status_macros.h"
#include "verifier/store/ek_list.h"

namespace cupel::verifier {
namespace {

// `has`: so many of what, as in "200 agents".
absl::Status AtQuota(absl::string_view has, uint64_t quota,
                     absl::string_view option, absl::string_view cure) {
  return absl::ResourceExhaustedError(
      absl::StrCat("the tenant has ", has, ", and ", quota,
                   " are what it may have (", option, "): ", cure));
}

}  // namespace

absl::Status CheckAgentQuota(Connection& db, const TenantQuotas& quotas,
                             absl::string_view tenant) {
  if (quotas.max_agents == TenantQuotas::kNone) return absl::OkStatus();
  CUPEL_ASSIGN_OR_RETURN(
      const uint64_t count,
      db.QueryNumber("SELECT COUNT(*) FROM agents WHERE tenant = :tenant",
                     {SqlText(tenant)}));
  if (count < quotas.max_agents) return absl::OkStatus();
  return AtQuota(absl::StrCat(count, " agents"), quotas.max_agents,
                 "max_agents_per_tenant", "delete some first");
}

absl::Status CheckTokenQuota(Connection& db, const TenantQuotas& quotas,
                             absl::string_view tenant, absl::Time now) {
  if (quotas.max_enrollment_tokens == TenantQuotas::kNone) {
    return absl::OkStatus();
  }
  CUPEL_ASSIGN_OR_RETURN(
      const uint64_t count,
      db.QueryNumber("SELECT COUNT(*) FROM enrollment_tokens"
                     " WHERE tenant = :tenant AND expires > :now",
                     {SqlText(tenant), SqlTime(now)}));
  if (count < quotas.max_enrollment_tokens) return absl::OkStatus();
  return AtQuota(absl::StrCat(count, " enrolment tokens that wait to be used"),
                 quotas.max_enrollment_tokens,
                 "max_enrollment_tokens_per_tenant",
                 "use some, or wait until some expire");
}

absl::Status CheckAllowedEkQuota(Connection& db, const TenantQuotas& quotas,
                                 absl::string_view tenant, uint64_t before) {
  if (quotas.max_allowed_eks == TenantQuotas::kNone) return absl::OkStatus();
  CUPEL_ASSIGN_OR_RETURN(const uint64_t count, CountAllowedEks(db, tenant));
  if (count <= std::max(before, quotas.max_allowed_eks)) {
    return absl::OkStatus();
  }
  return AtQuota(absl::StrCat(before, " allowed EKs and would have ", count),
                 quotas.max_allowed_eks, "max_allowed_eks_per_tenant",
                 "take those from the list that were added");
}

absl::Status CheckNoNewEk(Connection& db, const TenantQuotas& quotas,
                          absl::string_view tenant,
                          std::span<const std::string> ek_sha256,
                          uint64_t before) {
  for (const std::string& ek : ek_sha256) {
    CUPEL_ASSIGN_OR_RETURN(const bool is_there, IsAllowedEk(db, tenant, ek));
    if (!is_there) {
      return AtQuota(absl::StrCat(before, " allowed EKs"),
                     quotas.max_allowed_eks, "max_allowed_eks_per_tenant",
                     "take those from the list that were added");
    }
  }
  return absl::OkStatus();
}

absl::Status CheckPolicyQuota(Connection& db, const TenantQuotas& quotas,
                              absl::string_view tenant) {
  if (quotas.max_policies == TenantQuotas::kNone) return absl::OkStatus();
  CUPEL_ASSIGN_OR_RETURN(
      const uint64_t count,
      db.QueryNumber("SELECT COUNT(*) FROM policies WHERE tenant = :tenant",
                     {SqlText(tenant)}));
  if (count < quotas.max_policies) return absl::OkStatus();
  return AtQuota(absl::StrCat(count, " policies"), quotas.max_policies,
                 "max_policies_per_tenant", "delete some first");
}

absl::Status CheckPolicyBytesQuota(Connection& db, const TenantQuotas& quotas,
                                   absl::string_view tenant,
                                   absl::string_view name, uint64_t size) {
  if (quotas.max_policy_bytes == TenantQuotas::kNone) return absl::OkStatus();
  // An index has the sizes, so that no file is read.
  const auto sum_of = [&](absl::string_view condition) {
    return db.QueryNumber(
        absl::StrCat("SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT)"
                     " FROM policies WHERE tenant = :tenant AND name ",
                     condition, " :name"),
        {SqlText(tenant), SqlText(name)});
  };
  CUPEL_ASSIGN_OR_RETURN(const uint64_t present, sum_of("="));
  if (size <= present) return absl::OkStatus();
  CUPEL_ASSIGN_OR_RETURN(const uint64_t others, sum_of("<>"));
  if (others <= quotas.max_policy_bytes &&
      size <= quotas.max_policy_bytes - others) {
    return absl::OkStatus();
  }
  return absl::ResourceExhaustedError(absl::StrCat(
      "the policy has ", size, " bytes and the tenant's others have ", others,
      ", and ", quotas.max_policy_bytes,
      " are what they may have together (max_policy_bytes_per_tenant): delete "
      "some first"));
}

}  // namespace cupel::verifier
