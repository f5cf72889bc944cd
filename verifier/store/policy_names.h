// How a tenant names policies: its own by their plain names, and those that all
// tenants share as "shared/NAME" (docs/protocol.md, 7).
#ifndef CUPEL_VERIFIER_STORE_POLICY_NAMES_H_
#define CUPEL_VERIFIER_STORE_POLICY_NAMES_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace cupel::verifier {

// The tenant whose operators manage what all tenants may name.
inline constexpr absl::string_view kSharedTenant = "shared";
inline constexpr absl::string_view kSharedPrefix = "shared/";

// Whose policy it is, and what its tenant calls it.
struct PolicyKey {
  std::string tenant;
  std::string name;
  friend bool operator==(const PolicyKey&, const PolicyKey&) = default;
};

// What `tenant` means by `name`. The tenant `shared` may name its policies
// either way.
PolicyKey ResolvePolicyName(absl::string_view tenant, absl::string_view name);

// The name that every tenant could use, given what `tenant` means by `name`:
// "shared/NAME" for a shared policy, and else `name`.
std::string QualifiedPolicyName(absl::string_view tenant,
                                absl::string_view name);

// OK if `tenant` manages the policy that it names so. Else kPermissionDenied;
// for operators of `shared` kInvalidArgument: they use plain names.
absl::Status CheckManagedPolicy(absl::string_view tenant,
                                absl::string_view name);

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_STORE_POLICY_NAMES_H_
