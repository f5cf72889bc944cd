#include "common/policy/violation_patterns.h"

#include <string>
#include <vector>

#include "catch2/catch.hpp"
#include "tests/support/status_matchers.h"

namespace cupel::policy {
namespace {

using ::cupel::testing::IsOk;
using ::cupel::testing::StatusIs;
using ::cupel::testing::StatusOf;

absl::StatusOr<ExcludeSet> Compile(const std::vector<std::string>& texts) {
  std::vector<ExcludePattern> patterns;
  patterns.reserve(texts.size());
  for (const std::string& text : texts) patterns.push_back({text, "file:1"});
  return CompileViolationPatterns(std::move(patterns));
}

TEST_CASE("Patterns of violations match paths from their start") {
  const auto set = Compile({"/var/log/.*\\.log$", "/a|/b/"});
  REQUIRE_THAT(StatusOf(set), IsOk());
  CHECK(set->Matches("/var/log/x.log"));
  CHECK(set->Matches("/b/c"));
  CHECK_FALSE(set->Matches("/x/var/log/x.log"));
  CHECK_FALSE(set->Matches("boot_aggregate"));
  CHECK_FALSE(Compile({})->Matches("/a"));
}

TEST_CASE("Patterns of violations begin with a slash, in each alternative") {
  for (const char* const pattern : {"var/log/.*", "(/a|/b)", "/?a", "(?i)/a",
                                    "/a|memfd:x", "boot_aggregate"}) {
    CAPTURE(pattern);
    CHECK_THAT(StatusOf(Compile({"/fine", pattern})),
               StatusIs(absl::StatusCode::kInvalidArgument, "begin it"));
  }
  // As of an exclude list.
  for (const char* const pattern :
       {"", ".*", "/a|.*", "/a(?=b)", "/(", "/a|"}) {
    CAPTURE(pattern);
    CHECK_THAT(StatusOf(Compile({"/fine", pattern})),
               StatusIs(absl::StatusCode::kInvalidArgument, "file:1"));
  }
}

TEST_CASE("Patterns of violations are few") {
  CHECK_THAT(StatusOf(Compile(std::vector<std::string>(256, "/a"))), IsOk());
  CHECK_THAT(StatusOf(Compile(std::vector<std::string>(257, "/a"))),
             StatusIs(absl::StatusCode::kResourceExhausted));
  const std::string large = "/" + std::string(4095, 'a');
  CHECK_THAT(StatusOf(Compile({large, large, large, large})), IsOk());
  CHECK_THAT(StatusOf(Compile({large, large, large, large, "/"})),
             StatusIs(absl::StatusCode::kResourceExhausted));
}

}  // namespace
}  // namespace cupel::policy
