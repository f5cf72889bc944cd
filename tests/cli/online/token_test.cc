// token create.

#include <string>
#include <vector>

#include "catch2/catch.hpp"
#include "nlohmann/json.hpp"
#include "tests/cli/online/online.h"

namespace cupel::testing {
namespace {

TEST_CASE("token create: the token alone, for scripts") {
  OnlineBench bench;
  CHECK(bench.Run({"token", "create"}).out == "token-1\n");
  CHECK_FALSE(bench.state().token.has_valid_for());
  const CommandResult result =
      bench.Run({"token", "create", "--valid-for", "90m"});
  CHECK(result.out == "token-2\n");
  CHECK(result.err.empty());
  CHECK(bench.state().token.valid_for().seconds() == 90 * 60);
  CHECK(bench.Run({"token", "create", "--count", "3"}).out ==
        "token-3\ntoken-4\ntoken-5\n");
  const auto json = nlohmann::json::parse(
      bench.Run({"token", "create", "--count", "2", "--json"}).out);
  REQUIRE(json.size() == 2);
  CHECK(json[1]["token"] == "token-7");
}

TEST_CASE("token create: on a terminal it says what to do with it") {
  OnlineBench bench;
  CommandOptions options;
  options.out = Stream::kTerminal;
  CHECK_FALSE(bench.Run({"token", "create"}, options).err.empty());
}

TEST_CASE("token create: options that make no sense") {
  OnlineBench bench;
  for (const char* time : {"soon", "-1h", "0s", "1"}) {
    CAPTURE(time);
    CHECK_THAT(bench.Run({"token", "create", "--valid-for", time}),
               IsRefused("--valid-for"));
  }
  CHECK_THAT(bench.Run({"token", "create", "--count", "0"}),
             IsRefused("--count"));
  CHECK_THAT(bench.Run({"token"}), IsRefused("no command"));
  CHECK(bench.state().calls == 0);
}

}  // namespace
}  // namespace cupel::testing
