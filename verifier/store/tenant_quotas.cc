#include "verifier/store/tenant_quotas.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "common/util/status_macros.h"

namespace cupel::verifier {
namespace {

absl::StatusOr<uint64_t> QueryNumber(Connection& db, const std::string& sql,
                                     std::vector<SqlValue> values) {
  CUPEL_ASSIGN_OR_RETURN(const auto rows,
                         db.Query(sql, "i", std::move(values)));
  if (rows.size() != 1) return absl::InternalError("store: no count");
  RowReader in(rows.front());
  const uint64_t number = in.Number();
  CUPEL_RETURN_IF_ERROR(in.status());
  return number;
}

}  // namespace

absl::Status CheckAgentQuota(Connection& db, const TenantQuotas& quotas,
                             absl::string_view tenant) {
  if (quotas.max_agents == TenantQuotas::kNone) return absl::OkStatus();
  CUPEL_ASSIGN_OR_RETURN(
      const uint64_t count,
      QueryNumber(db, "SELECT COUNT(*) FROM agents WHERE tenant = :tenant",
                  {SqlText(tenant)}));
  if (count < quotas.max_agents) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(
      "the tenant has ", count, " agents, and ", quotas.max_agents,
      " are what it may have (max_agents_per_tenant): delete some first"));
}

absl::Status CheckPolicyQuota(Connection& db, const TenantQuotas& quotas,
                              absl::string_view tenant) {
  if (quotas.max_policies == TenantQuotas::kNone) return absl::OkStatus();
  CUPEL_ASSIGN_OR_RETURN(
      const uint64_t count,
      QueryNumber(db, "SELECT COUNT(*) FROM policies WHERE tenant = :tenant",
                  {SqlText(tenant)}));
  if (count < quotas.max_policies) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(
      "the tenant has ", count, " policies, and ", quotas.max_policies,
      " are what it may have (max_policies_per_tenant): delete some first"));
}

absl::Status CheckPolicyBytesQuota(Connection& db, const TenantQuotas& quotas,
                                   absl::string_view tenant,
                                   absl::string_view name, uint64_t size) {
  if (quotas.max_policy_bytes == TenantQuotas::kNone) return absl::OkStatus();
  // An index has the sizes, so that no file is read.
  const auto sum_of = [&](absl::string_view condition) {
    return QueryNumber(
        db,
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
