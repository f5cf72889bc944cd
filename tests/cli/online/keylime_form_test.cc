// Keylime's command line.

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "tests/cli/online/online.h"

namespace cupel::testing {
namespace {

using Arguments = std::vector<std::string>;

Arguments Root(const OnlineBench& bench) {
  return {"-v", "localhost", "-vp",    absl::StrCat(bench.port()),
          "-t", "127.0.0.1", "--uuid", kAgent};
}

TEST_CASE("keylime's form: add is what it does unless told otherwise") {
  OnlineBench bench;
  const Arguments add =
      Root(bench) +
      Arguments{"-f",
                "/no/payload",
                "--allowlist",
                bench.Write("allowlist", absl::StrCat(std::string(64, '1'),
                                                      "  /usr/bin/true\n")),
                "--exclude",
                bench.Write("exclude", "/tmp/.*\n")};
  // As everywhere, a machine is not trusted unasked.
  CommandOptions options;
  options.environment["CUPEL_TENANT_BOOT"] = "pinned";
  CHECK_THAT(bench.Run(add, options), IsRefused("--ek"));
  CHECK(bench.state().calls == 0);
  for (const Arguments& more : {Arguments{}, Arguments{"-c", "add"}}) {
    bench.state().agents.clear();
    const CommandResult result = bench.Run(
        add + more + Arguments{"--ek", std::string(64, 'a')}, options);
    CAPTURE(result);
    REQUIRE(result.exit_code == 0);
    CHECK(absl::StrContains(result.err, "payloads are not sent"));
    CHECK(bench.state().add.agent_id() == kAgent);
    CHECK(bench.state().add.settings().policies(0) == kAgent);
  }
}

TEST_CASE("keylime's form: the other commands") {
  OnlineBench bench;
  bench.AddFailed(kAgent, "/root/evil_script.sh");
  bench.state().policies[kAgent] = "";
  const Arguments root = Root(bench);
  const CommandResult status = bench.Run(root + Arguments{"-c", "status"});
  CHECK(status.exit_code == 1);
  CHECK(absl::StrContains(status.out, "File not found in allowlist"));
  CHECK(LastLine(bench.Run(root + Arguments{"-c", "list"}).out) == "1 agent");
  CHECK(bench.Run(root + Arguments{"-c", "reactivate"}).exit_code == 0);
  CHECK(bench.state().reactivate.agent_id() == kAgent);
  const std::string allowlist = bench.Write(
      "allowlist", absl::StrCat(std::string(64, '1'), "  /usr/bin/false\n"));
  CHECK(bench.Run(root + Arguments{"--allowlist", allowlist, "-c", "update"})
            .exit_code == 0);
  CHECK(absl::StrContains(bench.state().policies[kAgent], "/usr/bin/false"));
  CHECK(bench.Run(root + Arguments{"--command=delete"}).exit_code == 0);
  CHECK(bench.state().agents.empty());
}

TEST_CASE("keylime's form: what makes no sense is refused") {
  OnlineBench bench;
  CHECK_THAT(bench.Run({"-c", "status"}), IsRefused("--uuid"));
  CHECK_THAT(bench.Run({"-c", "frob"}), IsRefused("frob"));
  CHECK_THAT(bench.Run({"-c", "status", "--uuid", "x"}),
             IsRefused("no agent's id"));
  CHECK_THAT(bench.Run({"-c", "list", "status"}), IsRefused("status"));
  CHECK(bench.state().calls == 0);
}

}  // namespace
}  // namespace cupel::testing
