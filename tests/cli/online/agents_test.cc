// Commands about agents that were added.

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
using Json = nlohmann::json;

TEST_CASE("status: 0 only for an agent that is trusted and not silent") {
  OnlineBench bench;
  v1::Agent& agent = bench.AddTrusted(kAgent);
  CommandResult result = bench.Run({"status", kAgent});
  CHECK(result.exit_code == 0);
  CHECK(absl::StrContains(result.out, "TRUSTED"));
  CHECK(Json::parse(bench.Run({"status", kAgent, "--json"}).out)["trusted"] ==
        true);

  agent.set_live(false);
  result = bench.Run({"status", kAgent});
  CHECK(result.exit_code == 1);
  CHECK(absl::StrContains(result.out, "UNREACHABLE"));
  agent.set_live(true);
  for (const v1::State state :
       {v1::STATE_UNSPECIFIED, v1::STATE_EXPECTED, v1::STATE_ENROLLED,
        v1::STATE_PENDING, v1::STATE_FAILED, v1::STATE_STOPPED}) {
    agent.set_state(state);
    CHECK(bench.Run({"status", kAgent}).exit_code == 1);
    CHECK(Json::parse(bench.Run({"status", kAgent, "--json"}).out)["trusted"] ==
          false);
  }
}

TEST_CASE("status: Keylime's words for a file that is not listed") {
  OnlineBench bench;
  bench.AddFailed(kAgent, "/root/evil_script.sh");
  CHECK(absl::StrContains(
      bench.Run({"status", kAgent}).out,
      "WARNING - File not found in allowlist: /root/evil_script.sh"));
}

TEST_CASE("status: how it is judged, and what the last verdict was judged by") {
  OnlineBench bench;
  v1::Agent& agent = bench.AddTrusted(kAgent);
  v1::JudgedPolicy& policy = *agent.add_judged_policies();
  policy.set_name("shared/base");
  policy.set_content_id(std::string(64, 'b'));
  agent.mutable_settings()->add_without_excludes("shared/base");
  agent.mutable_settings()->add_tolerated_violations("/var/\x1b.*");
  agent.mutable_settings()->add_ima_policies("/etc/\x1bpolicy");
  const CommandResult result = bench.Run({"status", kAgent});
  CAPTURE(result);
  const std::string id(64, 'b');
  CHECK(absl::StrContains(result.out, "shared/base " + id + "\n"));
  CHECK(absl::StrContains(result.out, "no excludes of:"));
  CHECK(absl::StrContains(result.out, "/var/\\x1b.*"));
  CHECK(absl::StrContains(result.out, "/etc/\\x1bpolicy"));
  const Json json = Json::parse(bench.Run({"status", kAgent, "--json"}).out);
  CHECK(json["judged_by"] ==
        Json::parse(R"([{"policy": "shared/base", "content_id": ")" + id +
                    R"("}])"));
  CHECK(json["settings"]["without_excludes"][0] == "shared/base");
  CHECK(json["settings"]["tolerated_violations"].size() == 1);
  CHECK(json["settings"]["ima_policies"].size() == 1);
}

TEST_CASE("list: page by page, by label and by state") {
  OnlineBench bench;
  (*bench.AddTrusted(kAgent).mutable_settings()->mutable_labels())["site"] =
      "x";
  bench.AddFailed(kOtherAgent, "/x");
  CommandResult result = bench.Run({"list"});
  CHECK(result.exit_code == 0);
  CHECK(absl::StrContains(result.out, kAgent));
  CHECK(absl::StrContains(result.out, kOtherAgent));
  CHECK(LastLine(result.out) == "2 agents");
  result = bench.Run({"list", "-l", "site=x"});
  CHECK(LastLine(result.out) == "1 agent");
  CHECK(absl::StrContains(result.out, kAgent));
  CHECK(LastLine(bench.Run({"list", "-l", "site=y"}).out) == "0 agents");
  result = bench.Run({"list", "--state", "failed"});
  CHECK(LastLine(result.out) == "1 agent");
  CHECK(absl::StrContains(result.out, kOtherAgent));
  CHECK(Json::parse(bench.Run({"list", "--json"}).out).size() == 2);
}

TEST_CASE("enrolled: machines that nobody has added") {
  OnlineBench bench;
  v1::Agent agent;
  agent.set_agent_id("\x1b[2Jid");
  agent.set_ek_sha256(std::string(64, 'c'));
  bench.state().enrolled.push_back(agent);
  const CommandResult result = bench.Run({"enrolled"});
  CHECK(result.exit_code == 0);
  CHECK(absl::StrContains(result.out, std::string(64, 'c')));
  CHECK(absl::StrContains(result.out, "\\x1b[2Jid"));
  CHECK(Json::parse(bench.Run({"enrolled", "--json"}).out).size() == 1);
}

std::string Accepted(absl::string_view id) {
  return absl::StrCat("cupel-tenant reactivate ", kAgent, " --accept ", id, "@",
                      kHandle, " --reason WHY");
}

TEST_CASE("explain: what the policy had, what the machine ran, what to do") {
  OnlineBench bench;
  bench.AddFailed(kAgent, "/opt/x");
  const CommandResult result = bench.Run({"explain", kAgent});
  CHECK(result.exit_code == 1);
  CHECK(absl::StrContains(result.out, "nothing about this file"));
  CHECK(absl::StrContains(result.out, "what to do:"));
  CHECK(absl::StrContains(result.out, Accepted("ima.not_in_policy")));
  const Json json = Json::parse(bench.Run({"explain", kAgent, "--json"}).out);
  CHECK_FALSE(json["findings"][0]["cure"].get<std::string>().empty());
  CHECK(json["findings"][0]["accept_as"] ==
        absl::StrCat("ima.not_in_policy@", kHandle));
}

TEST_CASE("explain: how to accept only what can be accepted") {
  OnlineBench bench;
  v1::Agent& agent = bench.AddFailed(kAgent, "/opt/x");
  agent.mutable_findings(0)->clear_accept_as();
  CHECK_FALSE(
      absl::StrContains(bench.Run({"explain", kAgent}).out, "--accept"));
}

TEST_CASE("status: an agent that has enrolled, and that nobody has added") {
  OnlineBench bench;
  v1::Agent agent;
  agent.set_agent_id(kAgent);
  agent.set_state(v1::STATE_ENROLLED);
  agent.set_ek_sha256(std::string(64, 'c'));
  bench.state().enrolled.push_back(agent);
  const CommandResult result = bench.Run({"status", kAgent});
  CHECK(result.exit_code == 1);
  CHECK(absl::StrContains(result.out, "ENROLLED"));
  CHECK(absl::StrContains(result.out, "nobody has added it"));
  CHECK(absl::StrContains(result.out, std::string(64, 'c')));
}

TEST_CASE("delete: the agent's own policy goes with it") {
  OnlineBench bench;
  bench.AddTrusted(kAgent);
  bench.state().policies = {{kAgent, "own"}, {"base", ""}};
  CHECK(bench.Run({"delete", kAgent}).exit_code == 0);
  CHECK(bench.state().policies.size() == 1);
  // Another agent uses it: it stays, and that is said.
  bench.AddTrusted(kAgent);
  bench.state().policies[kAgent] = "own";
  bench.AddTrusted(kOtherAgent).mutable_settings()->add_policies(kAgent);
  CHECK_THAT(bench.Run({"delete", kAgent}),
             IsRefused("the agent is deleted, but its own policy is not"));
  CHECK(bench.state().policies.size() == 2);
  CHECK(bench.state().agents.size() == 1);
}

TEST_CASE("reactivate: what can't be accepted is refused here already") {
  OnlineBench bench;
  bench.AddFailed(kAgent, "/opt/x");
  const auto refused = [&](const std::string& finding, const char* text) {
    CHECK_THAT(bench.Run({"reactivate", kAgent, "--accept", finding, "--reason",
                          "known"}),
               IsRefused(text));
  };
  refused("quote.signature", "can't be accepted");
  refused(absl::StrCat("quote.signature@", kHandle), "can't be accepted");
  refused("ima.not_in_policy", "what `explain` prints");
  refused("ima.not_in_policy:/opt/x", "what `explain` prints");
  refused("ima.not_in_policy@4f9a", "what `explain` prints");
  refused(absl::StrCat("ima.not_in_policy@", std::string(32, 'x')),
          "what `explain` prints");
  CHECK_THAT(bench.Run({"reactivate", kAgent, "--accept",
                        absl::StrCat("ima.not_in_policy@", kHandle)}),
             IsRefused("--reason"));
  CHECK(bench.state().calls == 0);
}

TEST_CASE("reactivate: with what is accepted, and why") {
  OnlineBench bench;
  bench.AddFailed(kAgent, "/opt/x");
  const CommandResult result =
      bench.Run({"reactivate", kAgent, "--accept",
                 absl::StrCat("ima.not_in_policy@", kHandle), "--reason",
                 "known", "--reset-counters"});
  CAPTURE(result);
  REQUIRE(result.exit_code == 0);
  CHECK(absl::StrContains(result.out, "PENDING"));
  const v1::ReactivateRequest& asked = bench.state().reactivate;
  REQUIRE(asked.accept_size() == 1);
  CHECK(asked.accept(0) == absl::StrCat("ima.not_in_policy@", kHandle));
  CHECK(asked.reason() == "known");
  CHECK(asked.reset_counters());
  CHECK_THAT(bench.Run({"reactivate", kAgent, "--accept", "ima.no_such"}),
             IsRefused("ima.no_such"));
}

TEST_CASE("stop, attest, delete") {
  OnlineBench bench;
  bench.AddTrusted(kAgent);
  CHECK(bench.Run({"attest", kAgent}).exit_code == 0);
  CHECK(bench.state().attested == Arguments{kAgent});
  CHECK(bench.Run({"stop", kAgent}).exit_code == 0);
  CHECK(bench.state().stopped == Arguments{kAgent});
  CHECK(bench.Run({"delete", kAgent}).exit_code == 0);
  CHECK(bench.state().agents.empty());
}

TEST_CASE("an agent that the verifier doesn't know") {
  OnlineBench bench;
  bench.AddTrusted(kOtherAgent);
  for (const char* command :
       {"status", "explain", "reactivate", "stop", "attest", "delete"}) {
    CAPTURE(command);
    CHECK_THAT(bench.Run({command, kAgent}), IsRefused("there is no agent"));
    CHECK_THAT(bench.Run({command, "../etc"}), IsRefused("no agent's id"));
  }
  CHECK(bench.state().agents.size() == 1);
}

// What a machine says of itself must not reach the operator's terminal.
TEST_CASE("no byte of a finding gives the terminal orders") {
  OnlineBench bench;
  const std::string evil =
      "/x\x1b]0;owned\x07\x1b[2J\n\x9b"
      "1m\xe2\x80\xae";
  v1::Agent& agent = bench.AddFailed(kAgent, evil);
  v1::Finding* const finding = agent.add_findings();
  finding->set_id("\x1b[31mid");
  finding->set_severity("\x1b[31m");
  finding->set_detail("\x1b[31mdetail");
  finding->set_expected("\x1b[31m");
  finding->set_found("\x1b[31m");
  agent.set_state_reason("\x1b[31m");
  agent.set_ek_sha256("\x1b[31m");
  agent.set_boot_composite("\x1b[31m");
  agent.mutable_settings()->add_policies("\x1b[31m");
  (*agent.mutable_settings()->mutable_labels())["\x1b[31m"] = "\x1b[31m";
  v1::Event* const event = &bench.state().events.emplace_back();
  event->set_agent_id("\x1b[31m");
  event->set_text("\x1b[31m");
  event->set_state(v1::STATE_FAILED);
  *event->mutable_findings() = agent.findings();
  for (const Arguments& command :
       {Arguments{"status", kAgent}, Arguments{"list"},
        Arguments{"explain", kAgent}, Arguments{"watch"}}) {
    for (const Arguments& more : {Arguments{}, Arguments{"--json"}}) {
      const CommandResult result = bench.Run(command + more);
      CAPTURE(result);
      CHECK(absl::StrContains(result.out, "x1b") !=
            absl::StrContains(result.out, "u001b"));
      for (const char c : result.out + result.err) {
        const bool plain = c == '\n' || (c >= ' ' && c <= '~');
        if (!plain) FAIL_CHECK("byte " << static_cast<int>(c));
      }
    }
  }
}

}  // namespace
}  // namespace cupel::testing
