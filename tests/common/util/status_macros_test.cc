#include "common/util/status_macros.h"

#include <memory>

#include "catch2/catch.hpp"
#include "tests/support/status_matchers.h"

namespace cupel {
namespace {

using absl::StatusCode;
using testing::IsOk;
using testing::StatusIs;
using testing::StatusOf;

absl::Status Both(const absl::Status& first, bool& reached) {
  CUPEL_RETURN_IF_ERROR(first);
  reached = true;
  return absl::OkStatus();
}

TEST_CASE("CUPEL_RETURN_IF_ERROR returns an error and goes on without one") {
  bool reached = false;
  CHECK_THAT(Both(absl::AbortedError("stop"), reached),
             StatusIs(StatusCode::kAborted, "stop"));
  CHECK_FALSE(reached);
  CHECK_THAT(Both(absl::OkStatus(), reached), IsOk());
  CHECK(reached);
}

absl::StatusOr<int> Sum(absl::StatusOr<std::unique_ptr<int>> a,
                        absl::StatusOr<int> b) {
  CUPEL_ASSIGN_OR_RETURN(const std::unique_ptr<int> first, std::move(a));
  int second = 0;
  CUPEL_ASSIGN_OR_RETURN(second, b);
  return *first + second;
}

TEST_CASE("CUPEL_ASSIGN_OR_RETURN declares, assigns, and returns errors") {
  const auto sum = Sum(std::make_unique<int>(2), 3);
  REQUIRE_THAT(StatusOf(sum), IsOk());
  CHECK(*sum == 5);
  CHECK_THAT(StatusOf(Sum(absl::DataLossError("a"), 3)),
             StatusIs(StatusCode::kDataLoss, "a"));
  CHECK_THAT(StatusOf(Sum(std::make_unique<int>(2), absl::UnknownError("b"))),
             StatusIs(StatusCode::kUnknown, "b"));
}

}  // namespace
}  // namespace cupel
