#include "common/util/agent_id.h"

#include <vector>

#include "catch2/catch.hpp"
#include "tests/support/status_matchers.h"

namespace cupel {
namespace {

using testing::IsOk;
using testing::StatusIs;

constexpr char kText[] = "d432fbb3-d2f1-4a97-9ef7-75bd81c00000";
using testing::kInvalid;

TEST_CASE("An agent id has one canonical form") {
  const auto upper = AgentId::Parse("D432FBB3-D2F1-4A97-9EF7-75BD81C00000");
  REQUIRE_THAT(upper.status(), IsOk());
  CHECK(upper->ToString() == kText);
  CHECK(*upper == *AgentId::Parse(kText));
  CHECK(*AgentId::FromBytes(upper->bytes()) == *upper);
}

TEST_CASE("What is no agent id is refused with the form that is one") {
  for (const char* text : {"", "d432fbb3d2f14a979ef775bd81c00000",
                           "d432fbb3-d2f1-4a97-9ef7-75bd81c0000", "neptune",
                           "d432fbb3-d2f1-4a97-9ef7-75bd81c000000",
                           "d432fbb3-d2f1-4a97-9ef775-bd81c00000",
                           "g432fbb3-d2f1-4a97-9ef7-75bd81c00000",
                           "{432fbb3-d2f1-4a97-9ef7-75bd81c0000}"}) {
    CHECK_THAT(AgentId::Parse(text).status(), StatusIs(kInvalid, "d432fbb3-"));
  }
  CHECK_THAT(AgentId::Parse("00000000-0000-0000-0000-000000000000").status(),
             StatusIs(kInvalid, "zeros"));
  CHECK_THAT(AgentId::FromBytes(std::vector<uint8_t>(15, 1)).status(),
             StatusIs(kInvalid, "15 bytes"));
}

}  // namespace
}  // namespace cupel
