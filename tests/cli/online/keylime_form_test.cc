// Keylime's command line.

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "catch2/catch.hpp"
#include "nlohmann/json.hpp"
#include "tests/cli/online/online.h"

namespace cupel::testing {
namespace {

// Every command of it needs these to be there.
class KeylimeBench : public OnlineBench {
 public:
  KeylimeBench() {
    Write("excludes.txt", "/tmp/.*\n");
    Write("allowlist.txt",
          absl::StrCat(std::string(64, '1'), "  /usr/bin/true\n"));
  }
  // A word a blank, as the guide has them; its paths are the bench's.
  CommandResult RunLine(absl::string_view line) const {
    const std::string text = absl::StrReplaceAll(
        line, {{"/root/", Path("")},
               {"VERIFIER", absl::StrCat("localhost:", port())}});
    return Run(absl::StrSplit(text, ' ', absl::SkipEmpty()));
  }
};

// Word for word, but for the verifier's port.
constexpr char kProvision[] =
    "-v VERIFIER -t 127.0.0.1 -f /root/excludes.txt "
    "--uuid D432FBB3-D2F1-4A97-9EF7-75BD81C00000 --allowlist "
    "/root/allowlist.txt --exclude /root/excludes.txt";
constexpr char kProvisionByDefault[] =
    "-v VERIFIER -t neptune -f /root/excludes.txt "
    "--uuid D432FBB3-D2F1-4A97-9EF7-75BD81C00000 --allowlist default "
    "--exclude default";

TEST_CASE("keylime's form: the guide's line, once two things are configured") {
  KeylimeBench bench;
  // Without them it is refused, with what to add.
  const CommandResult refused = bench.RunLine(kProvision);
  CHECK_THAT(refused, IsRefused("--ek SHA256"));
  CHECK(absl::StrContains(refused.err, "trust_on_first_use: true in"));
  CHECK(absl::StrContains(refused.err, "boot: pinned in"));
  CHECK(bench.state().calls == 0);

  bench.Configure(
      "trust_on_first_use: true\nboot: pinned\nallowlist: allowlist.txt\n"
      "ima_excludelist: excludes.txt\n");
  for (const char* line : {kProvision, kProvisionByDefault}) {
    CAPTURE(line);
    bench.state().agents.clear();
    bench.state().policies.clear();
    const CommandResult result = bench.RunLine(line);
    CAPTURE(result);
    REQUIRE(result.exit_code == 0);
    CHECK(absl::StrContains(result.err, "comes later"));
    CHECK(bench.state().add.agent_id() == kAgent);
    CHECK(bench.state().add.trust_on_first_use());
    CHECK(bench.state().add.settings().boot() == "pinned");
    CHECK(bench.state().add.settings().policies(0) == kAgent);
    const std::string& policy = bench.state().policies[kAgent];
    CHECK(absl::StrContains(policy, "/usr/bin/true"));
    CHECK(absl::StrContains(policy, "/tmp/.*"));
  }
  // The second time it is there already.
  CHECK(bench.RunLine(kProvision).exit_code == 2);
  const CommandResult update =
      bench.RunLine(absl::StrCat(kProvision, " -c update"));
  CAPTURE(update);
  CHECK(update.exit_code == 0);
  CHECK(bench.state().update.selector().agent_id() == kAgent);
}

TEST_CASE("keylime's form: the same with options in place of configuration") {
  KeylimeBench bench;
  const std::string ek(64, 'a');
  for (const char* more : {"", " -c add", " --command=add"}) {
    bench.state().agents.clear();
    CHECK(bench
              .RunLine(
                  absl::StrCat(kProvision, " --ek ", ek, " --boot any", more))
              .exit_code == 0);
    CHECK(bench.state().add.ek_sha256() == ek);
    CHECK(bench.state().add.settings().boot() == "any");
  }
  bench.state().agents.clear();
  CHECK(bench
            .RunLine(absl::StrCat(
                kProvision, " --trust-on-first-use --tpm_policy {\"22\":\"",
                std::string(64, '0'), "\"}"))
            .exit_code == 0);
  CHECK(absl::StrContains(bench.state().add.settings().boot(), "\"22\""));
}

TEST_CASE("keylime's form: what -f names has to be there") {
  KeylimeBench bench;
  CHECK_THAT(bench.RunLine(absl::StrCat(kProvision,
                                        " --trust-on-first-use --boot any "
                                        "-c add -f /root/missing")),
             IsRefused("-f"));
  const std::string line = absl::StrCat(
      "-v VERIFIER -t 127.0.0.1 -f /root/missing --uuid ", kAgent,
      " --allowlist /root/allowlist.txt --trust-on-first-use --boot any");
  CHECK_THAT(bench.RunLine(line), IsRefused("missing: No such file"));
  CHECK(bench.state().calls == 0);
}

TEST_CASE("keylime's form: update adds what was not added") {
  KeylimeBench bench;
  const std::string line = absl::StrCat(kProvision, " -c update --boot any");
  CHECK_THAT(bench.RunLine(line), IsRefused("--ek SHA256"));
  const std::string with_ek =
      absl::StrCat(line, " --ek ", std::string(64, 'a'));
  CHECK(bench.RunLine(with_ek).exit_code == 0);
  CHECK(bench.state().agents.size() == 1);
  CHECK_THAT(bench.RunLine(with_ek), IsRefused("keeps the EK"));
  CHECK(bench.RunLine(line).exit_code == 0);
}

TEST_CASE("keylime's form: the other commands") {
  KeylimeBench bench;
  bench.AddFailed(kAgent, "/root/evil_script.sh");
  v1::Agent waiting;
  waiting.set_agent_id(kOtherAgent);
  waiting.set_ek_sha256(std::string(64, 'c'));
  bench.state().enrolled.push_back(waiting);
  const auto run = [&](const char* command) {
    return bench.RunLine(absl::StrCat("-v VERIFIER --uuid ", kAgent,
                                      " -t 10.0.0.1 -tp 9002 -r 10.0.0.2 -rp "
                                      "8891 -vi default -nvc -c ",
                                      command));
  };
  for (const char* command : {"status", "cvstatus", "regstatus"}) {
    const CommandResult status = run(command);
    CHECK(status.exit_code == 1);
    CHECK(absl::StrContains(status.out, "File not found in allowlist"));
  }
  CHECK(LastLine(bench.RunLine("-v VERIFIER -c list").out) == "1 agent");
  CHECK(LastLine(bench.RunLine("-v VERIFIER -c cvlist").out) == "1 agent");
  CHECK(absl::StrContains(bench.RunLine("-c reglist -v VERIFIER").out,
                          kOtherAgent));
  CHECK(nlohmann::json::parse(
            bench.RunLine("-c bulkinfo -v VERIFIER").out)[0]["agent"] ==
        kAgent);
  CHECK(nlohmann::json::parse(bench.RunLine("-c cvlist -v VERIFIER --json").out)
            .size() == 1);
  CHECK(run("reactivate").exit_code == 0);
  CHECK(bench.state().reactivate.agent_id() == kAgent);
  CHECK(run("delete").exit_code == 0);
  CHECK(bench.state().agents.empty());
  bench.AddTrusted(kAgent);
  CHECK(run("regdelete").exit_code == 0);
  CHECK(bench.state().agents.empty());
}

TEST_CASE("keylime's form: policies by name") {
  KeylimeBench bench;
  const std::string name = " --runtime-policy-name base";
  const std::string files =
      " --allowlist /root/allowlist.txt --exclude /root/excludes.txt";
  const auto run = [&](const std::string& rest) {
    return bench.RunLine("-v VERIFIER -c " + rest);
  };
  CHECK_THAT(run("addruntimepolicy" + files),
             IsRefused("--runtime-policy-name"));
  CHECK(run("addruntimepolicy" + name + files).exit_code == 0);
  CHECK(absl::StrContains(bench.state().policies["base"], "/tmp/.*"));
  CHECK_THAT(run("addruntimepolicy" + name + files),
             IsRefused("there is a policy base"));
  bench.Write("policy.json", bench.state().policies["base"]);
  CHECK(
      run("updateruntimepolicy" + name + " --runtime-policy /root/policy.json")
          .exit_code == 0);
  CHECK(absl::StrContains(run("showruntimepolicy" + name).out, "paths: 1"));
  CHECK(absl::StrContains(run("listruntimepolicy").out, "base"));
  // An agent that uses it.
  CHECK(run(absl::StrCat("add --uuid ", kAgent, name,
                         " --trust-on-first-use --boot any"))
            .exit_code == 0);
  CHECK(bench.state().add.settings().policies(0) == "base");
  CHECK_THAT(run(absl::StrCat("add --uuid ", kAgent, name, files,
                              " --trust-on-first-use --boot any")),
             IsRefused("-c addruntimepolicy"));
  CHECK_THAT(run("deleteruntimepolicy" + name), IsRefused("uses it"));
  bench.state().agents.clear();
  CHECK(run("deleteallowlist --allowlist-name base").exit_code == 0);
  CHECK(bench.state().policies.empty());
}

TEST_CASE("keylime's form: what makes no sense is refused") {
  KeylimeBench bench;
  CHECK_THAT(bench.Run({"-c", "status"}), IsRefused("--uuid"));
  CHECK_THAT(bench.Run({"-c", "frob"}), IsRefused("frob"));
  CHECK_THAT(bench.Run({"-c", "addmbpolicy"}), IsRefused("come later"));
  CHECK_THAT(bench.Run({"-c", "status", "--uuid", "x"}),
             IsRefused("no agent's id"));
  CHECK_THAT(bench.Run({"-c", "list", "status"}), IsRefused("status"));
  CHECK(bench.state().calls == 0);
}

}  // namespace
}  // namespace cupel::testing
