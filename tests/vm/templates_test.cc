// Every template that a kernel can be told to use, and every bank.
#include <chrono>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "catch2/catch.hpp"
#include "tests/support/status_matchers.h"
#include "tests/vm/keep.h"
#include "tests/vm/lab.h"

namespace cupel::vm {
namespace {

using ::cupel::testing::IsOk;
using ::cupel::testing::Require;

// Boots, measures by the guide's rules, and starts the agent.
void Start(Lab& lab, const std::string& append) {
  REQUIRE_THAT(lab.Boot(append), IsOk());
  REQUIRE_THAT(lab.LoadImaPolicy("guide.policy"), IsOk());
  REQUIRE_THAT(lab.StartAgent(), IsOk());
}

int ReplayExitCode(Lab& lab, const std::string& bank,
                   const std::vector<std::string>& options = {}) {
  const std::string list = Require(lab.FetchList());
  const std::string pcrs = Require(lab.FetchPcrs(bank));
  // evmctl's form tells a bank by its size alone, so each has a file.
  std::vector<std::string> arguments = {"log", "replay", list, "--pcrs", pcrs};
  arguments.insert(arguments.end(), options.begin(), options.end());
  const auto result = Require(lab.Offline(arguments));
  INFO(result.out << result.err);
  CHECK(result.exit_code <= 1);
  return result.exit_code;
}

TEST_CASE("Each template of a real kernel is replayed and trusted",
          "[beside]") {
  const auto lab = Require(Lab::Create({.banks = "sha1,sha256"}));
  const std::string sha256 = Require(lab->MakePolicy("sha256"));
  const std::string sha1 = Require(lab->MakePolicy("sha1"));
  for (const auto& [name, policy] :
       {std::pair{"sha256", sha256}, std::pair{"sha1", sha1}}) {
    REQUIRE(Require(lab->Tenant({"policy", "add", name, policy})).exit_code ==
            0);
  }
  bool added = false;
  int round = 0;
  for (const std::string append :
       {"ima_hash=sha256 ima_template=ima-ng",
        "ima_hash=sha256 ima_template=ima-sig",
        "ima_hash=sha256 ima_template=ima-ngv2",
        "ima_hash=sha256 ima_template=ima-sigv2",
        "ima_hash=sha256 ima_template=evm-sig",
        "ima_hash=sha256 ima_template_fmt=d-ng|n-ng|sig|iuid|igid|imode",
        "ima_hash=sha1 ima_template=ima"}) {
    INFO(append);
    Start(*lab, append);
    if (!added) {
      REQUIRE_THAT(lab->Add({"--policy", "sha256", "--policy", "sha1"}),
                   IsOk());
      added = true;
    }
    REQUIRE_THAT(lab->AwaitTrustedAgain(), IsOk());
    CHECK(ReplayExitCode(*lab, "sha256") == 0);
    CHECK(ReplayExitCode(*lab, "sha1") == 0);
    REQUIRE_THAT(Keep(*lab, "vm-template-" + std::to_string(round++)), IsOk());
  }
}

TEST_CASE("A machine with the SHA-1 bank alone needs permission") {
  const auto lab = Require(Lab::Create({.banks = "sha1"}));
  const std::string policy = Require(lab->MakePolicy());
  Start(*lab, "ima_hash=sha256 ima_template=ima-ng");
  REQUIRE_THAT(lab->Add({"--allowlist", policy, "--allow-sha1-bank"}), IsOk());
  REQUIRE_THAT(lab->AwaitState("TRUSTED"), IsOk());
  REQUIRE(Require(lab->Tenant({"update", kAgentId, "--no-allow-sha1-bank"}))
              .exit_code == 0);
  // The SHA-256 bank is wanted now, and there is none: both ends are told.
  constexpr char kReason[] = "sha256 bank has to be quoted";
  for (int tries = 0;
       tries < 100 && !absl::StrContains(lab->AgentLog(), kReason); ++tries) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  CHECK(absl::StrContains(lab->AgentLog(), kReason));
  REQUIRE_THAT(lab->AwaitState("PENDING"), IsOk());
}

TEST_CASE("A SHA-384 bank that the kernel pads is replayed only as such") {
  const auto lab = Require(Lab::Create({.banks = "sha384"}));
  REQUIRE_THAT(lab->Boot("ima_template=ima-ng"), IsOk());
  REQUIRE_THAT(lab->LoadImaPolicy("guide.policy"), IsOk());
  REQUIRE_THAT(lab->machine().Do("/usr/bin/busybox true").status(), IsOk());
  CHECK(ReplayExitCode(*lab, "sha384") == 1);
  CHECK(ReplayExitCode(*lab, "sha384", {"--pad-sha1", "sha384"}) == 0);
  REQUIRE_THAT(Keep(*lab, "vm-padded"), IsOk());
}

}  // namespace
}  // namespace cupel::vm
