// The list of EKs that a tenant vouches for, and what is added by it.

#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "nlohmann/json.hpp"
#include "tests/cli/online/online.h"

namespace cupel::testing {
namespace {

using Json = nlohmann::json;
using Eks = std::set<std::string>;

const std::string kOne(64, 'a');
const std::string kTwo(64, 'b');

TEST_CASE("ek: fingerprints go on the list, and off it") {
  OnlineBench bench;
  const std::string file =
      bench.Write("eks", absl::StrCat("# the rack\n\n  ", kTwo, "\n"));
  CommandResult result =
      bench.Run({"ek", "allow", absl::StrCat("SHA256:", kOne), "--from", file});
  CAPTURE(result);
  REQUIRE(result.exit_code == 0);
  CHECK(absl::StrContains(result.out, "2 EKs are allowed"));
  CHECK(bench.state().allowed_eks == Eks{kOne, kTwo});
  result = bench.Run({"ek", "list"});
  CHECK(result.exit_code == 0);
  CHECK(absl::StrContains(result.out, kTwo));
  CHECK(Json::parse(bench.Run({"ek", "list", "--json"}).out).size() == 2);
  CHECK(bench.Run({"ek", "disallow", kOne}).exit_code == 0);
  CHECK(bench.state().allowed_eks == Eks{kTwo});
}

TEST_CASE("ek: what is no fingerprint is refused, with its line") {
  OnlineBench bench;
  const std::string file = bench.Write("eks", absl::StrCat(kOne, "\nabc\n"));
  CHECK_THAT(bench.Run({"ek", "allow", "--from", file}), IsRefused("eks:2"));
  CHECK_THAT(bench.Run({"ek", "allow", "abc"}), IsRefused("abc"));
  CHECK_THAT(bench.Run({"ek", "allow"}), IsRefused("--from"));
  CHECK(bench.state().allowed_eks.empty());
}

TEST_CASE("add: by what the tenant vouches for already") {
  OnlineBench bench;
  bench.state().policies["base"] = "";
  const std::vector<std::string> add = {
      "add",    kAgent,   "--policy", "base",    "--boot",   "any",
      "--bank", "sha384", "--on-gap", "failure", "--vouched"};
  const CommandResult result = bench.Run(add);
  CAPTURE(result);
  REQUIRE(result.exit_code == 0);
  CHECK(bench.state().add.vouched());
  CHECK(bench.state().add.ek_sha256().empty());
  CHECK_FALSE(bench.state().add.trust_on_first_use());
  CHECK(bench.state().add.settings().bank() == "sha384");
  CHECK(bench.state().add.settings().on_gap() == "failure");
  std::vector<std::string> both = add;
  both.insert(both.end(), {"--ek", kOne});
  CHECK_THAT(bench.Run(both), IsRefused("--vouched"));
}

TEST_CASE("status: what was accepted and which boot was approved") {
  OnlineBench bench;
  v1::Agent& agent = bench.AddTrusted(kAgent);
  agent.mutable_settings()->set_boot("pinned");
  CHECK(absl::StrContains(bench.Run({"status", kAgent}).out,
                          "reactivate --approve-boot"));
  agent.set_pinned_boot_composite("beef");
  v1::AcceptedFinding& accepted = *agent.add_accepted();
  accepted.set_id("ima.not_in_policy");
  accepted.set_path("/opt/\x1b[2J");
  accepted.set_who("admin ann");
  accepted.set_why("it is known");
  accepted.set_reset_count(7);
  const CommandResult result = bench.Run({"status", kAgent});
  CAPTURE(result);
  CHECK(absl::StrContains(result.out, "beef"));
  CHECK(absl::StrContains(
      result.out,
      "ima.not_in_policy /opt/\\x1b[2J in boot 7.0, by admin ann at "));
  CHECK(absl::StrContains(result.out, "it is known"));
  const Json json = Json::parse(bench.Run({"status", kAgent, "--json"}).out);
  CHECK(json["approved_boot_composite"] == "beef");
  CHECK(json["accepted"][0]["who"] == "admin ann");
}

TEST_CASE("reactivate: the boot that is approved is named") {
  OnlineBench bench;
  bench.AddFailed(kAgent, "/opt/x");
  REQUIRE(
      bench.Run({"reactivate", kAgent, "--approve-boot", "beef"}).exit_code ==
      0);
  CHECK(bench.state().reactivate.boot_composite() == "beef");
}

}  // namespace
}  // namespace cupel::testing
