#ifndef CUPEL_COMMON_UTIL_UUID_H_
#define CUPEL_COMMON_UTIL_UUID_H_

#include "absl/status/statusor.h"
#include "common/util/agent_id.h"

namespace cupel {

// A new id: a random UUID (RFC 4122, version 4) with 122 bits from OpenSSL's
// generator. kInternal if that fails.
absl::StatusOr<AgentId> NewAgentId();

}  // namespace cupel

#endif  // CUPEL_COMMON_UTIL_UUID_H_
