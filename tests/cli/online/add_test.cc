// add: which machine, judged how.

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "tests/cli/online/online.h"
#include "tests/support/skip.h"

namespace cupel::testing {
namespace {

using Arguments = std::vector<std::string>;

const std::string kEk(64, 'a');
const std::string kAllowlist =
    absl::StrCat(std::string(64, '1'), "  /usr/bin/true\n");

// What passes without more.
Arguments Add() {
  return {"add", kAgent, "--ek", kEk, "--policy", "base", "--boot", "any"};
}

Arguments AddWithoutEk() {
  return {"add", kAgent, "--policy", "base", "--boot", "any"};
}

void Enrol(OnlineBench& bench, const std::string& ek) {
  v1::Agent agent;
  agent.set_agent_id(kAgent);
  agent.set_ek_sha256(ek);
  bench.state().enrolled.push_back(agent);
}

TEST_CASE("add: with everything that can be said") {
  OnlineBench bench;
  bench.state().policies = {{"base", ""}, {"more", ""}};
  const CommandResult result =
      bench.Run(Add() + Arguments{"--policy", "more", "-l", "site=x", "--label",
                                  "rack=7", "--lab", "--interval", "2500ms",
                                  "--pad-sha1", "sha256"});
  CAPTURE(result);
  REQUIRE(result.exit_code == 0);
  CHECK(absl::StrContains(result.out, "EXPECTED"));
  const v1::AddAgentRequest& add = bench.state().add;
  CHECK(add.agent_id() == kAgent);
  CHECK(add.ek_sha256() == kEk);
  CHECK_FALSE(add.trust_on_first_use());
  REQUIRE(add.settings().policies_size() == 2);
  CHECK(add.settings().policies(0) == "base");
  CHECK(add.settings().policies(1) == "more");
  CHECK(add.settings().labels().at("site") == "x");
  CHECK(add.settings().labels().at("rack") == "7");
  CHECK(add.settings().boot() == "any");
  CHECK(add.settings().lab());
  CHECK(add.settings().padded_sha1_banks_size() == 1);
  CHECK(add.settings().interval().seconds() == 2);
  CHECK(add.settings().interval().nanos() == 500'000'000);
}

TEST_CASE("add: a fingerprint may be written as tools print it") {
  OnlineBench bench;
  bench.state().policies["base"] = "";
  std::string colons = "SHA256:AA";
  for (int i = 0; i < 31; ++i) colons += ":AA";
  Arguments add = Add();
  add[3] = colons;
  REQUIRE(bench.Run(add).exit_code == 0);
  CHECK(bench.state().add.ek_sha256() == kEk);
}

TEST_CASE("add: files become a policy named after the agent") {
  OnlineBench bench;
  const std::string allowlist = bench.Write("allowlist", kAllowlist);
  const std::string exclude = bench.Write("exclude", "/tmp/.*\n");
  const CommandResult result =
      bench.Run({"add", kAgent, "--ek", kEk, "--boot", "pinned", "--allowlist",
                 allowlist, "--exclude", exclude});
  CAPTURE(result);
  REQUIRE(result.exit_code == 0);
  REQUIRE(bench.state().policies.contains(kAgent));
  const std::string policy = bench.state().policies[kAgent];
  CHECK(absl::StrContains(policy, "/usr/bin/true"));
  CHECK(absl::StrContains(policy, "/tmp/.*"));
  REQUIRE(bench.state().add.settings().policies_size() == 1);
  CHECK(bench.state().add.settings().policies(0) == kAgent);
  CHECK(bench.state().add.settings().boot() == "pinned");
}

TEST_CASE("add: the boot rule may be a file") {
  OnlineBench bench;
  bench.state().policies["base"] = "";
  const std::string rule = absl::StrCat(R"({"0": [")", kEk, R"("]})");
  Arguments add = Add();
  add.back() = bench.Write("boot.json", rule);
  const CommandResult result = bench.Run(add);
  CAPTURE(result);
  REQUIRE(result.exit_code == 0);
  CHECK(bench.state().add.settings().boot() == rule);
  add.back() = "pined";
  CHECK_THAT(bench.Run(add), IsRefused("--boot takes any, pinned"));
  // Or its text, as Keylime's users have it.
  bench.state().agents.clear();
  add.back() = rule;
  CHECK(bench.Run(add).exit_code == 0);
  CHECK(bench.state().add.settings().boot() == rule);
  add.back() = "{\"99\": []}";
  CHECK_THAT(bench.Run(add), IsRefused("--boot"));
  // Or what a pipe brings, which can be read once.
  bench.state().agents.clear();
  const Pipe pipe(bench.Path("pipe"), rule);
  add.back() = pipe.path();
  CHECK(bench.Run(add).exit_code == 0);
  CHECK(bench.state().add.settings().boot() == rule);
}

TEST_CASE("add: without a fingerprint or a terminal it is refused") {
  OnlineBench bench;
  bench.state().policies["base"] = "";
  Enrol(bench, kEk);
  // Not even a "yes" from a pipe counts.
  CommandOptions options;
  options.input = "yes\n";
  CHECK_THAT(bench.Run(AddWithoutEk(), options), IsRefused("--ek"));
  // Nor one that a person can't see the question of.
  options.err = Stream::kTerminal;
  CHECK(bench.Run(AddWithoutEk(), options).exit_code == 2);
  CHECK(bench.state().calls == 0);
}

TEST_CASE("add: trust on first use has to be said") {
  OnlineBench bench;
  bench.state().policies["base"] = "";
  REQUIRE(
      bench.Run(AddWithoutEk() + Arguments{"--trust-on-first-use"}).exit_code ==
      0);
  CHECK(bench.state().add.trust_on_first_use());
  CHECK(bench.state().add.ek_sha256().empty());
  CHECK_THAT(bench.Run(Add() + Arguments{"--trust-on-first-use"}),
             IsRefused("not both"));
  bench.state().agents.clear();
  bench.Configure("trust_on_first_use: true\n");
  CHECK(bench.Run(AddWithoutEk()).exit_code == 0);
  CHECK(bench.state().add.trust_on_first_use());
  // A fingerprint goes before it.
  bench.state().agents.clear();
  CHECK(bench.Run(Add()).exit_code == 0);
  CHECK_FALSE(bench.state().add.trust_on_first_use());
}

TEST_CASE("add: all that is missing is said at once, with the cure") {
  OnlineBench bench;
  const CommandResult result = bench.Run({"add", kAgent});
  CHECK_THAT(result, IsRefused("--ek SHA256"));
  for (const char* text :
       {"--token", "--trust-on-first-use", "trust_on_first_use: true",
        "--policy NAME", "--allowlist FILE", "default_policies: [NAME]",
        "--boot pinned", "boot: pinned"}) {
    CAPTURE(text);
    CHECK(absl::StrContains(result.err, text));
  }
  CHECK(absl::StrContains(result.err, bench.Path("tenant.yaml")));
  // And with all of it configured the id is enough.
  bench.state().policies["base"] = "";
  bench.Configure(
      "trust_on_first_use: true\nboot: pinned\ndefault_policies: [base]\n");
  CHECK(bench.Run({"add", kAgent}).exit_code == 0);
  CHECK(bench.state().add.settings().boot() == "pinned");
  CHECK(bench.state().add.settings().policies(0) == "base");
}

TEST_CASE("add: the configured boot rule may be a file beside it") {
  OnlineBench bench;
  bench.state().policies["base"] = "";
  const std::string rule = absl::StrCat(R"({"0": [")", kEk, R"("]})");
  bench.Write("boot.json", rule);
  bench.Configure("boot: boot.json\n");
  CHECK(bench.Run({"add", kAgent, "--ek", kEk, "--policy", "base"}).exit_code ==
        0);
  CHECK(bench.state().add.settings().boot() == rule);
}

TEST_CASE("add --token: the machine that enrolled with one, and no other") {
  OnlineBench bench;
  bench.state().policies["base"] = "";
  const Arguments add = AddWithoutEk() + Arguments{"--token"};
  // One that enrolled without a token is of no tenant: it does not count.
  Enrol(bench, kEk);
  CHECK_THAT(bench.Run(add), IsRefused("with a token of yours"));
  CHECK(bench.state().agents.empty());
  v1::Agent& agent = bench.state().agents[kAgent];
  agent.set_agent_id(kAgent);
  agent.set_state(v1::STATE_ENROLLED);
  agent.set_ek_sha256(std::string(64, 'b'));
  const CommandResult result = bench.Run(add);
  CAPTURE(result);
  CHECK(result.exit_code == 0);
  CHECK(bench.state().add.ek_sha256() == std::string(64, 'b'));
  CHECK_FALSE(bench.state().add.trust_on_first_use());
  CHECK_THAT(bench.Run(add + Arguments{"--ek", kEk}), IsRefused("not both"));
}

// Runs the command on a terminal that `answer` is typed into.
CommandResult OnTerminal(OnlineBench& bench, const std::string& answer) {
  const std::string command =
      absl::StrCat("exec " CUPEL_TENANT " --config ", bench.Path("tenant.yaml"),
                   " add ", kAgent, " --policy base --boot any");
  CommandOptions options;
  options.input = answer + "\n";
  const auto result =
      RunCommand({"script", "-qec", command, "/dev/null"}, options);
  REQUIRE(result.ok());
  return *result;
}

TEST_CASE("add: on a terminal the enrolled EK is shown and asked about") {
  SkipUnlessInPath({"script"});
  OnlineBench bench;
  bench.state().policies["base"] = "";
  // Nobody has enrolled.
  CHECK(OnTerminal(bench, "yes").exit_code == 2);
  Enrol(bench, kEk);
  CHECK(OnTerminal(bench, "no").exit_code == 2);
  CHECK(OnTerminal(bench, "y").exit_code == 2);
  CHECK(bench.state().agents.empty());
  const CommandResult result = OnTerminal(bench, "yes");
  CAPTURE(result);
  CHECK(result.exit_code == 0);
  CHECK(absl::StrContains(result.out, kEk));
  CHECK(bench.state().add.ek_sha256() == kEk);
  // Its fingerprint is as good as a yes, and another one is a no.
  bench.state().agents.clear();
  CHECK(OnTerminal(bench, std::string(64, 'b')).exit_code == 2);
  CHECK(bench.state().agents.empty());
  CHECK(OnTerminal(bench, absl::StrCat("SHA256:", kEk)).exit_code == 0);
  // Two machines say that they are this one.
  bench.state().agents.clear();
  Enrol(bench, std::string(64, 'b'));
  CHECK(OnTerminal(bench, "yes").exit_code == 2);
  CHECK(bench.state().agents.empty());
}

TEST_CASE("add: what makes no sense is refused, and nothing is stored") {
  OnlineBench bench;
  bench.state().policies["base"] = "";
  const auto with = [](size_t at, const std::string& value) {
    Arguments add = Add();
    add[at] = value;
    return add;
  };
  CHECK_THAT(bench.Run(with(1, "no-uuid")), IsRefused("no agent's id"));
  CHECK_THAT(bench.Run(with(3, "abcd")), IsRefused("fingerprint"));
  CHECK_THAT(bench.Run({"add", kAgent, "--ek", kEk, "--boot", "any"}),
             IsRefused("--policy"));
  CHECK_THAT(bench.Run({"add", kAgent, "--ek", kEk, "--policy", "base"}),
             IsRefused("--boot"));
  CHECK_THAT(bench.Run(Add() + Arguments{"-l", "site"}),
             IsRefused("KEY=VALUE"));
  CHECK_THAT(bench.Run(Add() + Arguments{"--allowlist", "default"}),
             IsRefused("the configuration names no file"));
  CHECK_THAT(bench.Run(Add() + Arguments{"--allowlist", "/no/such"}),
             IsRefused("/no/such"));
  CHECK(bench.state().calls == 0);
}

TEST_CASE("add: an agent that is there keeps its policy") {
  OnlineBench bench;
  bench.AddTrusted(kAgent);
  bench.state().policies[kAgent] = "as it was";
  const std::string allowlist = bench.Write("allowlist", kAllowlist);
  CHECK_THAT(bench.Run({"add", kAgent, "--ek", kEk, "--boot", "any",
                        "--allowlist", allowlist}),
             IsRefused("added before"));
  CHECK(bench.state().policies[kAgent] == "as it was");
}

TEST_CASE("add: a refused agent leaves no policy behind") {
  OnlineBench bench;
  const std::string allowlist = bench.Write("allowlist", kAllowlist);
  CHECK_THAT(bench.Run({"add", kAgent, "--ek", kEk, "--boot", "any", "--policy",
                        "missing", "--allowlist", allowlist}),
             IsRefused("there is no policy missing"));
  CHECK(bench.state().policies.empty());
}

}  // namespace
}  // namespace cupel::testing
