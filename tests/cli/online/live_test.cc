// cupel-tenant against the real verifier, with a machine that attests.

#include "tests/cli/online/live.h"

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "nlohmann/json.hpp"

namespace cupel::testing {
namespace {

using Arguments = std::vector<std::string>;
using Json = nlohmann::json;

constexpr char kAgent[] = "d432fbb3-d2f1-4a97-9ef7-75bd81c00000";

// "" for an agent that the verifier doesn't know.
std::string StateOf(const LiveBench& bench) {
  const CommandResult result = bench.Tenant({"status", kAgent, "--json"});
  if (result.exit_code == 2) return "";
  return Json::parse(result.out)["state"].get<std::string>();
}

bool Becomes(const LiveBench& bench, const std::string& state) {
  return Await([&] { return StateOf(bench) == state; });
}

TEST_CASE("live: the guide's walk-through, word for word") {
  LiveBench bench(
      "trust_on_first_use: true\nboot: any\nlab: true\n"
      "allowlist: allowlist.txt\nima_excludelist: excludes.txt\n");
  const CommandResult added = bench.TenantLine(
      "-v 127.0.0.1 -t neptune -f /root/excludes.txt --uuid "
      "D432FBB3-D2F1-4A97-9EF7-75BD81C00000 --allowlist default --exclude "
      "default");
  CAPTURE(added);
  REQUIRE(added.exit_code == 0);
  // Before the machine has enrolled it is expected.
  CHECK(StateOf(bench) == "EXPECTED");
  bench.StartAgent("");
  REQUIRE(Becomes(bench, "TRUSTED"));
  CHECK(bench.Tenant({"status", kAgent}).exit_code == 0);
  // The agent that is registered already.
  CHECK(bench
            .TenantLine(
                "-v 127.0.0.1 -t 127.0.0.1 -f /root/excludes.txt --uuid "
                "D432FBB3-D2F1-4A97-9EF7-75BD81C00000 --allowlist "
                "/root/allowlist.txt --exclude /root/excludes.txt -c update")
            .exit_code == 0);
  REQUIRE(Becomes(bench, "TRUSTED"));

  bench.RunOnMachine("evil_script.sh");
  REQUIRE(Becomes(bench, "FAILED"));
  const CommandResult status = bench.Tenant({"status", kAgent});
  CHECK(status.exit_code == 1);
  const std::string evil = bench.Path("evil_script.sh");
  CHECK(absl::StrContains(
      status.out,
      absl::StrCat("WARNING - File not found in allowlist: ", evil)));
  const CommandResult explained = bench.Tenant({"explain", kAgent});
  CHECK(absl::StrContains(explained.out, "nothing about this file"));
  CHECK(absl::StrContains(explained.out, "what to do:"));
  // watch tells how it stands, and has an alarm raised.
  CommandOptions options;
  options.folder = bench.Path("");
  const CommandResult watched =
      bench.Tenant({"watch", "--json", "--exec",
                    "printf '%s' \"$CUPEL_PATH\" > alarm; kill $PPID"},
                   options);
  CHECK(TextOf(bench.Path("alarm")) == evil);
  CHECK(Json::parse(Lines(watched.out).at(0))["state"] == "FAILED");
  // Policies as the verifier has them.
  CHECK(absl::StrContains(bench.Tenant({"policy", "list"}).out, kAgent));
  CHECK(absl::StrContains(bench.Tenant({"policy", "show", kAgent}).out,
                          "/tmp/excluded/.*"));
  CHECK(LastLine(bench.Tenant({"list", "--state", "failed"}).out) == "1 agent");
  CHECK(
      bench.TenantLine("-c delete --uuid d432fbb3-d2f1-4a97-9ef7-75bd81c00000")
          .exit_code == 0);
  CHECK(StateOf(bench).empty());
  CHECK_FALSE(absl::StrContains(bench.Tenant({"policy", "list"}).out, kAgent));
}

TEST_CASE("live: a token brings a machine into its tenant, once") {
  LiveBench bench("boot: any\nlab: true\nallowlist: allowlist.txt\n");
  const std::string option =
      absl::StrCat("enrollment_token_file: ", bench.Path("token"), "\n");
  const Arguments add = {"add", kAgent, "--token", "--allowlist", "default"};
  const auto refused = [&] {
    return Await([&] {
      return absl::StrContains(bench.AgentLog(), "unknown, used or expired");
    });
  };
  // Nobody's token.
  Spill(bench.Path("token"), std::string(64, '0'));
  bench.StartAgent(option);
  CHECK(refused());
  CHECK(StateOf(bench).empty());
  CHECK_THAT(bench.Tenant(add), IsRefused("with a token of yours"));
  bench.StopAgent();

  const CommandResult token =
      bench.Tenant({"token", "create", "--valid-for", "1h"});
  REQUIRE(token.exit_code == 0);
  Spill(bench.Path("token"), token.out);
  bench.StartAgent(option);
  REQUIRE(Becomes(bench, "ENROLLED"));
  CHECK(absl::StrContains(bench.Tenant({"enrolled"}).out, kAgent));
  const CommandResult added = bench.Tenant(add);
  CAPTURE(added);
  REQUIRE(added.exit_code == 0);
  CHECK(Becomes(bench, "TRUSTED"));

  // It has been used: after a delete it brings nobody back.
  CHECK(bench.Tenant({"delete", kAgent}).exit_code == 0);
  bench.StartAgent(option);
  CHECK(refused());
  CHECK(StateOf(bench).empty());
  // Nor does one whose time is over.
  Spill(bench.Path("token"),
        bench.Tenant({"token", "create", "--valid-for", "1ms"}).out);
  bench.StartAgent(option);
  CHECK(refused());
  CHECK(StateOf(bench).empty());
}

TEST_CASE("live: many at once, by label, and one that is there already") {
  LiveBench bench("boot: any\nlab: true\n");
  REQUIRE(bench
              .Tenant({"policy", "add", "base", "--allowlist",
                       bench.Path("allowlist.txt")})
              .exit_code == 0);
  std::string file = "uuid,ek,site\n";
  for (int i = 0; i < 500; ++i) {
    absl::StrAppend(&file, "d432fbb3-d2f1-4a97-9ef7-", std::string(9, '0'),
                    100 + i, ",", std::string(61, '0'), 100 + i, ",",
                    i % 2 == 0 ? "x" : "y", "\n");
  }
  Spill(bench.Path("agents.csv"), file);
  const Arguments add = {"add", "--from", bench.Path("agents.csv"), "--policy",
                         "base"};
  const CommandResult result = bench.Tenant(add);
  CAPTURE(result);
  CHECK(LastLine(result.out) ==
        "500 agents added, 0 were there before, 0 failed, 0 were not tried");
  CHECK(LastLine(bench.Tenant(add).out) ==
        "0 agents added, 500 were there before, 0 failed, 0 were not tried");
  CHECK(LastLine(bench.Tenant({"list", "-l", "site=x"}).out) == "250 agents");
  CHECK(LastLine(
            bench.Tenant({"update", "-l", "site=y", "--boot", "pinned"}).out) ==
        "250 agents updated");
  CHECK(LastLine(bench.Tenant({"update", "--all", "--interval", "30s"}).out) ==
        "500 agents updated");
  const Json all = Json::parse(bench.Tenant({"list", "--json"}).out);
  int pinned = 0;
  for (const Json& agent : all) {
    CHECK(agent["settings"]["interval_seconds"] == 30);
    CHECK(agent["state"] == "EXPECTED");
    pinned += agent["settings"]["boot"] == "pinned" ? 1 : 0;
  }
  CHECK(pinned == 250);
  CHECK_THAT(bench.Tenant({"policy", "delete", "base"}), IsRefused("base"));
}

}  // namespace
}  // namespace cupel::testing
