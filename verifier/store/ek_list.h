// The EKs that a tenant vouches for, as a table.
#ifndef CUPEL_VERIFIER_STORE_EK_LIST_H_
#define CUPEL_VERIFIER_STORE_EK_LIST_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "verifier/store/connection.h"
#include "verifier/store/store.h"

namespace cupel::verifier {

// Each runs in the caller's transaction; one that is there already stays as it
// is. Errors are the connection's.
absl::Status InsertAllowedEks(Connection& db, absl::string_view tenant,
                              std::span<const std::string> ek_sha256,
                              absl::string_view who, absl::Time time);
absl::Status DeleteAllowedEks(Connection& db, absl::string_view tenant,
                              std::span<const std::string> ek_sha256);
absl::StatusOr<uint64_t> CountAllowedEks(Connection& db,
                                         absl::string_view tenant);
absl::StatusOr<bool> IsAllowedEk(Connection& db, absl::string_view tenant,
                                 absl::string_view ek_sha256);
absl::StatusOr<std::vector<AllowedEk>> QueryAllowedEks(Connection& db,
                                                       absl::string_view tenant,
                                                       absl::string_view after,
                                                       uint32_t limit);

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_STORE_EK_LIST_H_
