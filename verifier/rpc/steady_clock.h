// The clock of streams and connections.
#ifndef CUPEL_VERIFIER_RPC_STEADY_CLOCK_H_
#define CUPEL_VERIFIER_RPC_STEADY_CLOCK_H_

#include "absl/time/time.h"

namespace cupel::verifier {

// It never goes back, whatever is done to the machine's; it has nothing to do
// with the store's.
absl::Time SteadyNow();

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_RPC_STEADY_CLOCK_H_
