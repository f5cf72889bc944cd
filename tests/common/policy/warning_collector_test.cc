#include "common/policy/warning_collector.h"

#include "catch2/catch.hpp"

namespace cupel::policy {
namespace {

TEST_CASE("Of each code the first are kept, the others are counted") {
  WarningCollector collector;
  for (size_t i = 0; i < WarningCollector::kShownPerCode + 5; ++i) {
    CHECK(collector.Wants("a") == (i < WarningCollector::kShownPerCode));
    collector.Add("a", "f:1", "m");
  }
  collector.Add("b", "f:2", "n");
  CHECK(collector.Wants("c"));
  const auto warnings = std::move(collector).Take("f\n");
  REQUIRE(warnings.size() == WarningCollector::kShownPerCode + 2);
  size_t count = 0;
  for (const PolicyWarning& warning : warnings) count += warning.count;
  CHECK(count == WarningCollector::kShownPerCode + 6);
  CHECK(warnings.front().count == 1);
  CHECK(warnings.back().code == "a");
  CHECK(warnings.back().origin == "f\n");
  CHECK(warnings.back().message == "5 more");
  CHECK(warnings.back().count == 5);
}

TEST_CASE("As many as are shown are not counted") {
  WarningCollector collector;
  for (size_t i = 0; i < WarningCollector::kShownPerCode; ++i) {
    collector.Add("a", "f", "m");
  }
  const auto warnings = std::move(collector).Take("f");
  CHECK(warnings.size() == WarningCollector::kShownPerCode);
}

}  // namespace
}  // namespace cupel::policy
