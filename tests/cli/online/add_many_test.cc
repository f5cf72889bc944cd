// add --from: many agents of one file.

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "catch2/catch.hpp"
#include "nlohmann/json.hpp"
#include "tests/cli/online/online.h"

namespace cupel::testing {
namespace {

using Arguments = std::vector<std::string>;

std::string Id(int number) {
  return absl::StrFormat("d432fbb3-d2f1-4a97-9ef7-%012d", number);
}
std::string Ek(int number) { return absl::StrFormat("%064d", number); }

class ManyBench : public OnlineBench {
 public:
  ManyBench() { state().policies["base"] = ""; }

  CommandResult AddFrom(absl::string_view file, const Arguments& more = {}) {
    return Run(Arguments{"add", "--from", Write("agents", file), "--policy",
                         "base", "--boot", "pinned"} +
               more);
  }
  std::string Label(int number, const char* key) {
    const auto& labels = state().agents.at(Id(number)).settings().labels();
    const auto found = labels.find(key);
    return found == labels.end() ? "" : found->second;
  }
};

TEST_CASE("add --from: lines, with commas or without") {
  ManyBench bench;
  const CommandResult result =
      bench.AddFrom(absl::StrCat("# the machines of a site\n\n", Id(1), ",",
                                 Ek(1), ",site=x,rack=7\r\n", Id(2),
                                 "  SHA256:", Ek(2), "\tsite=y\n", Id(3), ",\"",
                                 Ek(3), "\",\"owner=A, B \"\"and\"\" C\"\n"),
                    {"-l", "site=z", "-l", "since=2026"});
  CAPTURE(result);
  CHECK(result.exit_code == 0);
  CHECK(LastLine(result.out) ==
        "3 agents added, 0 were there before, 0 failed, 0 were not tried");
  REQUIRE(bench.state().agents.size() == 3);
  for (int i = 1; i <= 3; ++i) {
    CHECK(bench.state().agents[Id(i)].ek_sha256() == Ek(i));
    CHECK(bench.state().agents[Id(i)].settings().boot() == "pinned");
    CHECK(bench.Label(i, "since") == "2026");
  }
  CHECK(bench.Label(1, "site") == "x");
  CHECK(bench.Label(1, "rack") == "7");
  CHECK(bench.Label(2, "site") == "y");
  CHECK(bench.Label(3, "site") == "z");
  CHECK(bench.Label(3, "owner") == "A, B \"and\" C");
}

TEST_CASE("add --from: CSV whose first line names the columns") {
  ManyBench bench;
  const CommandResult result = bench.AddFrom(
      absl::StrCat("\xef\xbb\xbfUUID,EK,site,rack\n", Id(1), ",", Ek(1),
                   ",x,7\n", Id(2), ",", Ek(2), ",,8\n", Id(3), ",", Ek(3)));
  CAPTURE(result);
  CHECK(result.exit_code == 0);
  CHECK(bench.Label(1, "site") == "x");
  CHECK(bench.Label(1, "rack") == "7");
  CHECK(bench.Label(2, "site").empty());
  CHECK(bench.Label(2, "rack") == "8");
  CHECK(bench.state().agents.size() == 3);
}

TEST_CASE("add --from: what is wrong is said by line, and nothing is sent") {
  ManyBench bench;
  const CommandResult result = bench.AddFrom(absl::StrCat(
      Id(1), ",", Ek(1), "\nno-uuid,", Ek(2), "\n", Id(3), ",abcd\n", Id(4),
      ",", Ek(4), ",site\n", Id(1), ",", Ek(5), "\n", Id(6), ",", Ek(1), "\n",
      Id(7), "\n", Id(8), ",\"", Ek(8), "\n"));
  CHECK_THAT(result, IsRefused("nothing was sent: 7 lines are wrong"));
  const std::string file = bench.Path("agents");
  for (const char* text :
       {":2: \"no-uuid\" is no agent's id", ":3: \"abcd\" is no SHA-256",
        ":4: \"site\" is no label", "stands in line 1 already",
        ":6: its EK is that of line 1", ":7: no EK",
        ":8: a quote that does not end"}) {
    CAPTURE(text);
    CHECK(absl::StrContains(result.err, text));
  }
  CHECK(absl::StrContains(result.err, file));
  CHECK(bench.state().calls == 0);
}

TEST_CASE("add --from: files that hold no agents") {
  ManyBench bench;
  CHECK_THAT(bench.AddFrom("# none\n"), IsRefused("no agent is in it"));
  CHECK_THAT(bench.AddFrom("uuid,site\n"), IsRefused("the columns are"));
  CHECK_THAT(bench.AddFrom(
                 absl::StrCat("uuid,ek,site\n", Id(1), ",", Ek(1), ",x,y\n")),
             IsRefused("more fields"));
  CHECK_THAT(bench.Run({"add", "--from", "/no/such", "--policy", "base",
                        "--boot", "any"}),
             IsRefused("/no/such"));
  CHECK(bench.state().calls == 0);
}

TEST_CASE("add --from: a line without an EK, where that was said") {
  ManyBench bench;
  const std::string file = absl::StrCat(Id(1), "\n", Id(2), ",-,site=x\n");
  CHECK(bench.AddFrom(file, {"--trust-on-first-use"}).exit_code == 0);
  CHECK(bench.state().agents.size() == 2);
  CHECK(bench.state().add.trust_on_first_use());
  bench.state().agents.clear();
  CHECK(bench.AddFrom(file, {"--vouched"}).exit_code == 0);
  CHECK(bench.state().add.vouched());
  CHECK_FALSE(bench.state().add.trust_on_first_use());
  CHECK_THAT(bench.AddFrom(file, {"--vouched", "--token"}),
             IsRefused("not both"));
  // Again, once the first of them has enrolled.
  bench.state().agents[Id(1)].set_ek_sha256(Ek(1));
  bench.state().agents[Id(1)].set_state(v1::STATE_PENDING);
  CHECK(bench.AddFrom(file, {"--vouched"}).exit_code == 0);
  // Of those that enrolled with a token, one is there.
  bench.state().agents.clear();
  bench.state().agents[Id(1)].set_agent_id(Id(1));
  bench.state().agents[Id(1)].set_state(v1::STATE_ENROLLED);
  bench.state().agents[Id(1)].set_ek_sha256(Ek(1));
  CHECK_THAT(bench.AddFrom(file, {"--token"}), IsRefused(":2: no machine"));
  CHECK(bench.AddFrom(Id(1), {"--token"}).exit_code == 0);
  CHECK(bench.state().add.ek_sha256() == Ek(1));
}

TEST_CASE("add --from: options that make no sense") {
  ManyBench bench;
  const std::string line = absl::StrCat(Id(1), ",", Ek(1), "\n");
  CHECK_THAT(bench.AddFrom(line, {Id(2)}), IsRefused("leave UUID"));
  CHECK_THAT(bench.AddFrom(line, {"--ek", Ek(1)}), IsRefused("leave UUID"));
  CHECK_THAT(bench.AddFrom(line, {"--allowlist", "x"}),
             IsRefused("policy add"));
  CHECK_THAT(bench.AddFrom(line, {"--token", "--trust-on-first-use"}),
             IsRefused("not both"));
  CHECK_THAT(bench.Run({"add", "--policy", "base", "--boot", "any"}),
             IsRefused("which agent?"));
  CHECK_THAT(bench.Run({"add", "--from", bench.Write("agents", line)}),
             IsRefused("--policy NAME"));
  CHECK(bench.state().calls == 0);
}

TEST_CASE("add --from: thousands, and again after it broke off") {
  ManyBench bench;
  constexpr int kCount = 3000;
  std::string file;
  for (int i = 0; i < kCount; ++i) {
    absl::StrAppend(&file, Id(i), ",", Ek(i), "\n");
  }
  bench.state().room = 1000;
  const CommandResult broken = bench.AddFrom(file, {"--json"});
  CAPTURE(broken);
  CHECK(broken.exit_code == 2);
  const auto first = nlohmann::json::parse(broken.out);
  CHECK(first["added"] == 1000);
  CHECK(first["failed"].size() > 0);
  CHECK(first["added"].get<int>() + first["untried"].get<int>() +
            static_cast<int>(first["failed"].size()) ==
        kCount);
  CHECK(bench.state().agents.size() == 1000);
  bench.state().room = kCount;
  const CommandResult whole = bench.AddFrom(file);
  CAPTURE(whole);
  CHECK(whole.exit_code == 0);
  CHECK(LastLine(whole.out) ==
        "2000 agents added, 1000 were there before, 0 failed, 0 were not "
        "tried");
  CHECK(bench.state().agents.size() == kCount);
}

TEST_CASE("add --from: one that fails hides none of the others") {
  ManyBench bench;
  // Its id is taken by another machine.
  bench.AddTrusted(Id(2)).set_ek_sha256(Ek(99));
  const CommandResult result =
      bench.AddFrom(absl::StrCat(Id(1), ",", Ek(1), "\n", Id(2), ",", Ek(2),
                                 "\n", Id(3), ",", Ek(3), "\n"));
  CHECK(result.exit_code == 2);
  CHECK(LastLine(result.out) ==
        "2 agents added, 0 were there before, 1 failed, 0 were not tried");
  CHECK(absl::StrContains(result.err, absl::StrCat(":2: agent ", Id(2))));
  CHECK(bench.state().agents.size() == 3);
}

}  // namespace
}  // namespace cupel::testing
