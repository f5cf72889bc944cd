#include "common/util/steady_clock.h"

#include <chrono>

#include "absl/time/clock.h"

namespace cupel {

absl::Time SteadyNow() {
  static const absl::Time start = absl::Now();
  static const auto steady_start = std::chrono::steady_clock::now();
  return start +
         absl::FromChrono(std::chrono::steady_clock::now() - steady_start);
}

}  // namespace cupel
