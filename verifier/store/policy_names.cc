#include "verifier/store/policy_names.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/util/escape.h"

namespace cupel::verifier {

PolicyKey ResolvePolicyName(absl::string_view tenant, absl::string_view name) {
  if (absl::ConsumePrefix(&name, kSharedPrefix)) tenant = kSharedTenant;
  return {std::string(tenant), std::string(name)};
}

std::string QualifiedPolicyName(absl::string_view tenant,
                                absl::string_view name) {
  PolicyKey key = ResolvePolicyName(tenant, name);
  if (key.tenant != kSharedTenant) return std::move(key.name);
  return absl::StrCat(kSharedPrefix, key.name);
}

absl::Status CheckManagedPolicy(absl::string_view tenant,
                                absl::string_view name) {
  if (!absl::StartsWith(name, kSharedPrefix)) return absl::OkStatus();
  const std::string plain = ResolvePolicyName(tenant, name).name;
  if (tenant == kSharedTenant) {
    return absl::InvalidArgumentError(absl::StrCat(
        "policy ", Quoted(name, 200),
        ": operators of the tenant shared name it ", Quoted(plain, 200)));
  }
  return absl::PermissionDeniedError(absl::StrCat(
      "policy ", Quoted(name, 200),
      " can be read and named by every tenant, and changed by operators of the "
      "tenant shared alone"));
}

}  // namespace cupel::verifier
