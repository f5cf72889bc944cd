#include "common/util/steady_clock.h"

#include "catch2/catch.hpp"

namespace cupel {
namespace {

TEST_CASE("The steady clock never goes back") {
  absl::Time last = SteadyNow();
  for (int i = 0; i < 1000; ++i) {
    const absl::Time now = SteadyNow();
    REQUIRE(now >= last);
    last = now;
  }
}

}  // namespace
}  // namespace cupel
