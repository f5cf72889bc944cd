// How many connections the system lets this process have.
#ifndef CUPEL_VERIFIER_RPC_DESCRIPTOR_LIMIT_H_
#define CUPEL_VERIFIER_RPC_DESCRIPTOR_LIMIT_H_

#include <cstdint>

#include "common/util/log.h"

namespace cupel::verifier {

// Raises the process's limit of open descriptors as far as `stream_count`
// streams, and what else is open beside them, need and the system allows. Where
// that is less, the log says so, with the cure.
void RaiseDescriptorLimit(uint64_t stream_count, Logger& log);

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_RPC_DESCRIPTOR_LIMIT_H_
