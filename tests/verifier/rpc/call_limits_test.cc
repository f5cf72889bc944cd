#include "verifier/rpc/call_limits.h"

#include <memory>
#include <vector>

#include "catch2/catch.hpp"
#include "tests/support/status_matchers.h"

namespace cupel::verifier {
namespace {

using absl::StatusCode;
using ::cupel::testing::IsOk;
using ::cupel::testing::StatusIs;

TEST_CASE("A15: an address has few calls under way, and so have all") {
  CallLimits limits({.max_calls = 3, .max_calls_per_address = 2});
  auto first = limits.Begin("a");
  REQUIRE_THAT(first.status(), IsOk());
  auto second = limits.Begin("a");
  REQUIRE_THAT(second.status(), IsOk());
  CHECK_THAT(limits.Begin("a").status(),
             StatusIs(StatusCode::kResourceExhausted, "try again"));
  auto third = limits.Begin("b");
  REQUIRE_THAT(third.status(), IsOk());
  CHECK_THAT(limits.Begin("c").status(),
             StatusIs(StatusCode::kResourceExhausted));
  // One that ends makes room.
  first = absl::UnknownError("");
  CHECK_THAT(limits.Begin("a").status(), IsOk());
  third = absl::UnknownError("");
  CHECK_THAT(limits.Begin("c").status(), IsOk());
}

}  // namespace
}  // namespace cupel::verifier
