// The schema, as numbered steps from an empty database to the present one.
#ifndef CUPEL_VERIFIER_STORE_MIGRATIONS_H_
#define CUPEL_VERIFIER_STORE_MIGRATIONS_H_

#include <cstdint>

#include "absl/status/status.h"
#include "verifier/store/connection.h"

namespace cupel::verifier {

// What Migrate leads to.
inline constexpr uint64_t kSchemaVersion = 5;

// Brings the database to kSchemaVersion, each step in a transaction with the
// number that it leads to. kFailedPrecondition, and nothing is changed, if the
// database has a newer schema, or tables that are not this program's.
absl::Status Migrate(Connection& connection);

// OK if the database has a schema that Migrate could start from, and was made
// by this program: an empty one was not. Changes nothing. Errors as Migrate's.
absl::Status CheckSchema(Connection& connection);

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_STORE_MIGRATIONS_H_
