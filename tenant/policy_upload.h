// Policies on their way to the verifier.
#ifndef CUPEL_TENANT_POLICY_UPLOAD_H_
#define CUPEL_TENANT_POLICY_UPLOAD_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tenant/fleet.h"
#include "tenant/inputs.h"

namespace cupel::tenant {

// The one policy that `flags` name, checked, as the file to be stored: a JSON
// file alone as it is, since it may be signed; text lists as JSON. Errors:
// those of LoadPolicies; kInvalidArgument for several policies and for "-".
absl::StatusOr<std::string> LoadUpload(const PolicyFlags& flags);

// Stores `file` under `name`, whether there is one or not. `created`, which may
// be null, tells which.
absl::Status StorePolicy(Fleet& fleet, const std::string& name,
                         absl::string_view file, bool* created);

// Prints the verifier's warnings on standard error.
void PrintWarnings(const StoredPolicy& policy);

}  // namespace cupel::tenant

#endif  // CUPEL_TENANT_POLICY_UPLOAD_H_
