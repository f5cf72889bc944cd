#include "common/util/uuid.h"

#include <set>
#include <string>

#include "catch2/catch.hpp"
#include "tests/support/status_matchers.h"

namespace cupel {
namespace {

TEST_CASE("A new agent id is a random UUID and never the same twice") {
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    const auto id = NewAgentId();
    REQUIRE_THAT(testing::StatusOf(id), testing::IsOk());
    const std::string text = id->ToString();
    CHECK(text[14] == '4');
    CHECK(std::string("89ab").find(text[19]) != std::string::npos);
    CHECK(seen.insert(text).second);
  }
}

}  // namespace
}  // namespace cupel
