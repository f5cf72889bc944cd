// update: which agents, and what of them.

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "tests/cli/online/online.h"

namespace cupel::testing {
namespace {

using Arguments = std::vector<std::string>;

TEST_CASE("update: only what is given changes") {
  OnlineBench bench;
  bench.AddTrusted(kAgent);
  const CommandResult result = bench.Run({"update", kAgent, "--policy", "more",
                                          "--no-lab", "--set-label", "site=y"});
  CAPTURE(result);
  REQUIRE(result.exit_code == 0);
  CHECK(result.out == "1 agent updated\n");
  const v1::UpdateAgentRequest& update = bench.state().update;
  CHECK(update.selector().agent_id() == kAgent);
  CHECK(Arguments(update.changed().begin(), update.changed().end()) ==
        Arguments{"policies", "labels", "lab"});
  CHECK(update.settings().policies(0) == "more");
  CHECK_FALSE(update.settings().lab());
  CHECK(update.settings().labels().at("site") == "y");
}

TEST_CASE("update: each allowance can be given and taken") {
  OnlineBench bench;
  bench.AddTrusted(kAgent);
  for (const bool on : {true, false}) {
    for (const std::string name :
         {"lab", "allow-sha1-bank", "tolerate-violations"}) {
      const std::string flag = absl::StrCat(on ? "--" : "--no-", name);
      CAPTURE(flag);
      REQUIRE(bench.Run({"update", kAgent, flag}).exit_code == 0);
      const v1::UpdateAgentRequest& update = bench.state().update;
      CHECK(update.changed_size() == 1);
      const v1::AgentSettings& settings = update.settings();
      CHECK(settings.lab() == (on && name == "lab"));
      CHECK(settings.allow_sha1_bank() == (on && name == "allow-sha1-bank"));
      CHECK(settings.tolerate_violations() ==
            (on && name == "tolerate-violations"));
    }
  }
}

TEST_CASE("update: whose excludes do not count") {
  OnlineBench bench;
  bench.AddTrusted(kAgent);
  REQUIRE(bench
              .Run({"update", kAgent, "--without-excludes", "shared/base",
                    "--without-excludes", "site"})
              .exit_code == 0);
  const v1::UpdateAgentRequest& update = bench.state().update;
  CHECK(Arguments(update.changed().begin(), update.changed().end()) ==
        Arguments{"without_excludes"});
  const auto& names = update.settings().without_excludes();
  CHECK(Arguments(names.begin(), names.end()) ==
        Arguments{"shared/base", "site"});
  REQUIRE(bench.Run({"update", kAgent, "--with-excludes"}).exit_code == 0);
  CHECK(update.changed_size() == 1);
  CHECK(update.settings().without_excludes().empty());
  CHECK_THAT(bench.Run({"update", kAgent, "--with-excludes",
                        "--without-excludes", "site"}),
             IsRefused("one of them"));
}

TEST_CASE("update: whose violations are tolerated") {
  OnlineBench bench;
  bench.AddTrusted(kAgent);
  const auto update = [&](const std::string& file) {
    return bench.Run({"update", kAgent, "--tolerate-violations-of",
                      bench.Write("patterns", file)});
  };
  REQUIRE(update("/var/log/.*\n/x\xff$\n").exit_code == 0);
  const v1::UpdateAgentRequest& request = bench.state().update;
  CHECK(Arguments(request.changed().begin(), request.changed().end()) ==
        Arguments{"tolerated_violations"});
  const auto& patterns = request.settings().tolerated_violations();
  CHECK(Arguments(patterns.begin(), patterns.end()) ==
        Arguments{"/var/log/.*", "/x\xff$"});
  REQUIRE(update("").exit_code == 0);
  CHECK(request.changed_size() == 1);
  CHECK(request.settings().tolerated_violations().empty());
  CHECK_THAT(update("log\n"), IsRefused("begin it"));
}

TEST_CASE("update: where the IMA policy is loaded from") {
  OnlineBench bench;
  bench.AddTrusted(kAgent);
  const auto update = [&](Arguments options) {
    Arguments command = {"update", kAgent};
    for (std::string& option : options) {
      command.insert(command.end(), {"--ima-policy", std::move(option)});
    }
    return bench.Run(command);
  };
  REQUIRE(update({"/etc/ima/ima-policy", "/x\xff"}).exit_code == 0);
  const v1::UpdateAgentRequest& request = bench.state().update;
  CHECK(Arguments(request.changed().begin(), request.changed().end()) ==
        Arguments{"ima_policies"});
  const auto& paths = request.settings().ima_policies();
  CHECK(Arguments(paths.begin(), paths.end()) ==
        Arguments{"/etc/ima/ima-policy", "/x\xff"});
  REQUIRE(update({"none"}).exit_code == 0);
  CHECK(request.changed_size() == 1);
  CHECK(request.settings().ima_policies().empty());
  CHECK_THAT(update({"ima-policy"}), IsRefused("starts with /"));
  CHECK_THAT(update({"none", "/etc/ima/ima-policy"}), IsRefused("none alone"));
}

TEST_CASE("update: by label, and all") {
  OnlineBench bench;
  (*bench.AddTrusted(kAgent).mutable_settings()->mutable_labels())["site"] =
      "x";
  bench.AddTrusted(kOtherAgent);
  CHECK(bench.Run({"update", "-l", "site=x", "--boot", "any"}).out ==
        "1 agent updated\n");
  CHECK(bench.Run({"update", "--all", "--boot", "any"}).out ==
        "2 agents updated\n");
  CHECK_THAT(bench.Run({"update", "-l", "site=z", "--boot", "any"}),
             IsRefused("no such agent"));
}

TEST_CASE("update: an agent's own policy stands beside the others") {
  OnlineBench bench;
  bench.AddTrusted(kAgent).mutable_settings()->add_policies("base");
  const std::string allowlist = bench.Write(
      "allowlist", absl::StrCat(std::string(64, '1'), "  /usr/bin/true\n"));
  REQUIRE(bench.Run({"update", kAgent, "--allowlist", allowlist}).exit_code ==
          0);
  CHECK(absl::StrContains(bench.state().policies[kAgent], "/usr/bin/true"));
  const auto& policies = bench.state().update.settings().policies();
  CHECK(Arguments(policies.begin(), policies.end()) ==
        Arguments{"base", kAgent});
  // An agent that is not there gets no policy.
  CHECK_THAT(bench.Run({"update", kOtherAgent, "--allowlist", allowlist}),
             IsRefused("there is no agent"));
  CHECK_FALSE(bench.state().policies.contains(kOtherAgent));
  CHECK_THAT(bench.Run({"update", "--all", "--allowlist", allowlist}),
             IsRefused("one agent's own policy"));
}

TEST_CASE("update: it has to be said which agents, and what") {
  OnlineBench bench;
  CHECK_THAT(bench.Run({"update", "--boot", "any"}), IsRefused("which agents"));
  CHECK_THAT(bench.Run({"update", kAgent, "--all", "--boot", "any"}),
             IsRefused("which agents"));
  CHECK_THAT(bench.Run({"update", kAgent}), IsRefused("nothing to update"));
  CHECK(bench.state().calls == 0);
}

}  // namespace
}  // namespace cupel::testing
