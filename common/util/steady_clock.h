// The clock of streams, connections and measurements.
#ifndef CUPEL_COMMON_UTIL_STEADY_CLOCK_H_
#define CUPEL_COMMON_UTIL_STEADY_CLOCK_H_

#include "absl/time/time.h"

namespace cupel {

// It never goes back, whatever is done to the machine's clock. It starts with
// that clock's time, when it is first asked in this process, and has nothing to
// do with it afterwards, nor with a store's. Any thread.
absl::Time SteadyNow();

}  // namespace cupel

#endif  // CUPEL_COMMON_UTIL_STEADY_CLOCK_H_
