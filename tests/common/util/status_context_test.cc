#include "common/util/status_context.h"

#include "absl/strings/cord.h"
#include "catch2/catch.hpp"
#include "tests/support/status_matchers.h"

namespace cupel {
namespace {

using testing::IsOk;

TEST_CASE("WithContext goes before the message and keeps code and payload") {
  absl::Status status = absl::NotFoundError("no such name");
  status.SetPayload("cupel/line", absl::Cord("7"));
  const absl::Status with = WithContext(status, "policy.json");
  CHECK(with.code() == absl::StatusCode::kNotFound);
  CHECK(with.message() == "policy.json: no such name");
  REQUIRE(with.GetPayload("cupel/line").has_value());
  CHECK(*with.GetPayload("cupel/line") == "7");
}

TEST_CASE("WithContext leaves OK alone") {
  CHECK_THAT(WithContext(absl::OkStatus(), "policy.json"), IsOk());
}

}  // namespace
}  // namespace cupel
