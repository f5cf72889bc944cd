// watch: events as they come, and a command for those that fail.

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "nlohmann/json.hpp"
#include "tests/cli/online/online.h"

namespace cupel::testing {
namespace {

void AddEvents(OnlineBench& bench) {
  v1::Event event;
  event.set_agent_id(kAgent);
  event.mutable_time()->set_seconds(1'700'000'000);
  event.set_state(v1::STATE_TRUSTED);
  bench.state().events.push_back(event);
  event.set_previous(v1::STATE_TRUSTED);
  event.set_state(v1::STATE_FAILED);
  v1::Finding* const finding = event.add_findings();
  finding->set_id("ima.not_in_policy");
  finding->set_severity("failure");
  finding->set_path("/x$(touch pwned)\n");
  bench.state().events.push_back(event);
}

TEST_CASE("watch: a line an event, until the verifier ends it") {
  OnlineBench bench;
  AddEvents(bench);
  const CommandResult result = bench.Run({"watch"});
  CAPTURE(result);
  CHECK(result.exit_code == 2);
  CHECK(absl::StrContains(result.err, "ended the stream"));
  CHECK(bench.state().watch.selector().all());
  CHECK(bench.state().watch.with_present());
  REQUIRE(Lines(result.out).size() == 3);
  CHECK(absl::StrContains(Lines(result.out)[0], "2023-11-14T22:13:20Z"));
  CHECK(absl::StrContains(Lines(result.out)[1], "FAILED (was TRUSTED)"));
  CHECK(absl::StrContains(Lines(result.out)[2], "File not found in allowlist"));
  for (const std::string& line : Lines(bench.Run({"watch", "--json"}).out)) {
    CHECK(nlohmann::json::parse(line)["agent"] == kAgent);
  }
}

TEST_CASE("watch: what a verdict was judged by") {
  OnlineBench bench;
  AddEvents(bench);
  v1::JudgedPolicy& policy =
      *bench.state().events.front().add_judged_policies();
  policy.set_name("base");
  policy.set_content_id(std::string(64, 'b'));
  CHECK(Lines(bench.Run({"watch"}).out)[1] ==
        "  judged by base " + std::string(64, 'b'));
  const auto lines = Lines(bench.Run({"watch", "--json"}).out);
  const auto first = nlohmann::json::parse(lines[0]);
  CHECK(first["judged_by"][0]["content_id"] == std::string(64, 'b'));
  CHECK_FALSE(nlohmann::json::parse(lines[1]).contains("judged_by"));
}

TEST_CASE("watch: of one agent, or by label") {
  OnlineBench bench;
  bench.Run({"watch", kAgent});
  CHECK(bench.state().watch.selector().agent_id() == kAgent);
  bench.Run({"watch", "-l", "site=x"});
  CHECK(bench.state().watch.selector().labels().at("site") == "x");
  CHECK_FALSE(bench.state().watch.selector().all());
}

TEST_CASE("watch --exec: the command of each agent that is FAILED") {
  OnlineBench bench;
  AddEvents(bench);
  CommandOptions options;
  options.folder = bench.Path("");
  options.environment["CUPEL_AGENT"] = "not this one";
  const CommandResult result = bench.Run(
      {"watch", "--exec",
       "printf '%s\\n' \"$CUPEL_AGENT\" \"$CUPEL_STATE\" \"$CUPEL_PREVIOUS\" "
       "\"$CUPEL_FINDING\" \"$CUPEL_PATH\" \"$CUPEL_FINDING_COUNT\" "
       "\"$CUPEL_EVENT\" >> out"},
      options);
  CAPTURE(result);
  const std::vector<std::string> lines = Lines(TextOf(bench.Path("out")));
  REQUIRE(lines.size() == 7);  // once
  CHECK(lines[0] == kAgent);
  CHECK(lines[1] == "FAILED");
  CHECK(lines[2] == "TRUSTED");
  CHECK(lines[3] == "ima.not_in_policy");
  CHECK(lines[4] == "/x$(touch pwned)\\n");
  CHECK(lines[5] == "1");
  CHECK(nlohmann::json::parse(lines[6])["state"] == "FAILED");
  CHECK_FALSE(absl::StrContains(result.err, "--exec"));
}

TEST_CASE("watch --exec: a command that fails is said") {
  OnlineBench bench;
  AddEvents(bench);
  CHECK(absl::StrContains(bench.Run({"watch", "--exec", "exit 3"}).err,
                          "--exec: exit code 3"));
}

// An alarm that the machine could keep from being started would be none.
TEST_CASE("watch --exec: however much the machine has to say") {
  OnlineBench bench;
  AddEvents(bench);
  bench.state().events.back().mutable_findings(0)->set_path(
      std::string(300'000, '\x01'));
  CommandOptions options;
  options.folder = bench.Path("");
  bench.Run({"watch", "--exec", "echo ran > out"}, options);
  CHECK(TextOf(bench.Path("out")) == "ran\n");
}

}  // namespace
}  // namespace cupel::testing
