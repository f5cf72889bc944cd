// policy add, update, delete and list.

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "nlohmann/json.hpp"
#include "tests/cli/online/online.h"

namespace cupel::testing {
namespace {

using Arguments = std::vector<std::string>;

std::string PolicyFile() { return VectorPath("guide/policy.json"); }

TEST_CASE("policy add: a JSON file arrives as it is") {
  OnlineBench bench;
  bench.state().warnings = {"odd\x1b[2J"};
  const CommandResult result =
      bench.Run({"policy", "add", "base", PolicyFile()});
  CAPTURE(result);
  REQUIRE(result.exit_code == 0);
  CHECK(bench.state().policies["base"] == TextOf(PolicyFile()));
  CHECK(absl::StrContains(result.err, "warning: odd\\x1b[2J"));
  CHECK_THAT(bench.Run({"policy", "add", "base", PolicyFile()}),
             IsRefused("there is a policy base"));
}

TEST_CASE("policy add: text lists become JSON, in pieces") {
  OnlineBench bench;
  std::string allowlist;
  for (int i = 0; i < 6000; ++i) {
    absl::StrAppend(&allowlist, std::string(64, '1'), "  /usr/bin/", i, "\n");
  }
  const CommandResult result =
      bench.Run({"policy", "add", "base", "--allowlist",
                 bench.Write("allowlist", allowlist), "--exclude",
                 bench.Write("exclude", "/tmp/.*\n")});
  CAPTURE(result);
  REQUIRE(result.exit_code == 0);
  const auto json = nlohmann::json::parse(bench.state().policies["base"]);
  CHECK(json["digests"].size() == 6000);
  CHECK(json["excludes"].size() == 1);
}

TEST_CASE("policy add: a pipe is read once, and sent as it was") {
  OnlineBench bench;
  const std::string file = TextOf(PolicyFile());
  const Pipe pipe(bench.Path("pipe"), file);
  CHECK(bench.Run({"policy", "add", "base", pipe.path()}).exit_code == 0);
  CHECK(bench.state().policies["base"] == file);
}

TEST_CASE("policy update: only what there is") {
  OnlineBench bench;
  CHECK_THAT(bench.Run({"policy", "update", "base", PolicyFile()}),
             IsRefused("there is no policy base"));
  CHECK(bench.state().policies.empty());
  bench.state().policies["base"] = "old";
  CHECK(bench.Run({"policy", "update", "base", PolicyFile()}).exit_code == 0);
  CHECK(bench.state().policies["base"] == TextOf(PolicyFile()));
}

TEST_CASE("policy add: a file that can't be used is not sent") {
  OnlineBench bench;
  CHECK_THAT(bench.Run({"policy", "add", "base", bench.Write("bad", "{")}),
             IsRefused("bad"));
  CHECK_THAT(bench.Run({"policy", "add", "base", "-"}),
             IsRefused("standard input"));
  CHECK_THAT(bench.Run({"policy", "add", "base", PolicyFile(), PolicyFile()}),
             IsRefused("one policy at a time"));
  CHECK_THAT(bench.Run({"policy", "add", "base"}), IsRefused("policy"));
  CHECK(bench.state().calls == 0);
}

TEST_CASE("policy show: one that the verifier has, by its name") {
  OnlineBench bench;
  bench.state().policies["base"] = TextOf(PolicyFile());
  const CommandResult result = bench.Run({"policy", "show", "base"});
  CAPTURE(result);
  REQUIRE(result.exit_code == 0);
  CHECK(absl::StrContains(result.out, "policy: base\nversion: 7\n"));
  const auto json = nlohmann::json::parse(
      bench.Run({"policy", "show", "base", "--json"}).out);
  CHECK(json[0]["policy"] == "base");
  CHECK(json[0]["stored"]["version"] == 7);
  CHECK(json[0]["paths"] ==
        nlohmann::json::parse(
            bench.Run({"policy", "show", PolicyFile(), "--json"})
                .out)[0]["paths"]);
  CHECK(bench.Run({"policy", "show", "base", "--path", "/no/such"}).exit_code ==
        1);
  CHECK_THAT(bench.Run({"policy", "show", "other"}),
             IsRefused("there is no policy other"));
  // A file goes before a name, and a path is never a name.
  CommandOptions options;
  options.folder = bench.Path("");
  bench.Write("base", absl::StrCat(std::string(64, '1'), "  /x\n"));
  const uint64_t calls = bench.state().calls;
  CHECK(absl::StrContains(bench.Run({"policy", "show", "base"}, options).out,
                          "paths: 1\n"));
  CHECK_THAT(bench.Run({"policy", "show", "./other"}, options),
             IsRefused("./other"));
  CHECK(bench.state().calls == calls);
}

TEST_CASE("policy show: one that all tenants share") {
  OnlineBench bench;
  bench.state().policies["shared/base"] = TextOf(PolicyFile());
  const CommandResult result = bench.Run({"policy", "show", "shared/base"});
  CAPTURE(result);
  CHECK(result.exit_code == 0);
  CHECK(absl::StrContains(result.out, "policy: shared/base\nversion: 7\n"));
  CHECK_THAT(bench.Run({"policy", "show", "other/base"}),
             IsRefused("other/base"));
  CHECK_THAT(bench.Run({"policy", "show", "shared/"}), IsRefused("shared/"));
}

TEST_CASE("policy show: what is not the stored policy is not shown") {
  OnlineBench bench;
  bench.state().policies["base"] = TextOf(PolicyFile());
  bench.state().damaged_policy = TextOf(PolicyFile()) + " ";
  CHECK_THAT(bench.Run({"policy", "show", "base"}),
             IsRefused("is not the policy that it names"));
}

TEST_CASE("policy delete and list") {
  OnlineBench bench;
  bench.state().policies = {{"base", "1"}, {"used\x1b[2J", "2"}};
  bench.AddTrusted(kAgent).mutable_settings()->add_policies("used\x1b[2J");
  const CommandResult list = bench.Run({"policy", "list"});
  CHECK(list.exit_code == 0);
  CHECK(absl::StrContains(list.out, "base"));
  CHECK(absl::StrContains(list.out, "used\\x1b[2J"));
  CHECK(nlohmann::json::parse(bench.Run({"policy", "list", "--json"}).out)
            .size() == 2);
  CHECK_THAT(bench.Run({"policy", "delete", "used\x1b[2J"}),
             IsRefused("uses it"));
  CHECK(bench.Run({"policy", "delete", "base"}).exit_code == 0);
  CHECK(bench.state().policies.size() == 1);
  CHECK_THAT(bench.Run({"policy", "delete", "base"}),
             IsRefused("there is no policy base"));
}

}  // namespace
}  // namespace cupel::testing
