// Boots, told apart as docs/protocol.md, 4, says, and no false alarm in any.
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "common/crypto/digest.h"
#include "common/util/bytes.h"
#include "tests/support/status_matchers.h"
#include "tests/vm/keep.h"
#include "tests/vm/lab.h"

namespace cupel::vm {
namespace {

using ::cupel::testing::IsOk;
using ::cupel::testing::Require;

constexpr char kCommandLine[] = "ima_hash=sha256 ima_template=ima-ng";

struct BootIdentity {
  uint64_t reset_count = 0;
  uint64_t restart_count = 0;
};

BootIdentity ShownBoot(Lab& lab) {
  const nlohmann::json status = Require(lab.Status());
  return {status.value("reset_count", uint64_t{0}),
          status.value("restart_count", uint64_t{0})};
}

// Measures by the guide's rules, and has the agent prove it.
void BecomeTrusted(Lab& lab) {
  REQUIRE_THAT(lab.LoadImaPolicy("guide.policy"), IsOk());
  REQUIRE_THAT(lab.StartAgent(), IsOk());
  REQUIRE_THAT(lab.AwaitTrustedAgain(), IsOk());
}

std::unique_ptr<Lab> TrustedLab() {
  auto lab = Require(Lab::Create());
  const std::string policy = Require(lab->MakePolicy());
  REQUIRE_THAT(lab->Boot(kCommandLine, {.reboots = true}), IsOk());
  REQUIRE_THAT(lab->LoadImaPolicy("guide.policy"), IsOk());
  REQUIRE_THAT(lab->Add({"--allowlist", policy}), IsOk());
  REQUIRE_THAT(lab->StartAgent(), IsOk());
  REQUIRE_THAT(lab->AwaitTrustedAgain(), IsOk());
  return lab;
}

TEST_CASE("A reboot, a reset and a power cut are new boots, and no findings",
          "[beside]") {
  const auto lab = TrustedLab();
  const BootIdentity first = ShownBoot(*lab);

  REQUIRE_THAT(lab->machine().Send("sync; reboot -f"), IsOk());
  REQUIRE_THAT(lab->machine().WaitUntilReady(), IsOk());
  BecomeTrusted(*lab);
  const BootIdentity second = ShownBoot(*lab);
  CHECK(second.reset_count == first.reset_count + 1);
  CHECK(second.restart_count == 0);

  REQUIRE_THAT(lab->machine().Monitor("system_reset").status(), IsOk());
  REQUIRE_THAT(lab->machine().WaitUntilReady(), IsOk());
  BecomeTrusted(*lab);
  CHECK(ShownBoot(*lab).reset_count == first.reset_count + 2);

  lab->PowerCut();
  REQUIRE_THAT(lab->Boot(kCommandLine, {.reboots = true}), IsOk());
  BecomeTrusted(*lab);
  CHECK(ShownBoot(*lab).reset_count == first.reset_count + 3);
  CHECK(Require(lab->Findings()).empty());
}

TEST_CASE("A suspend is a restart of the TPM that the list explains") {
  const auto lab = TrustedLab();
  const BootIdentity before = ShownBoot(*lab);
  REQUIRE_THAT(lab->machine().Send("echo mem > /sys/power/state"), IsOk());
  for (int tries = 0; tries < 200; ++tries) {
    const std::string status = Require(lab->machine().Monitor("info status"));
    if (absl::StrContains(status, "suspended")) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  REQUIRE_THAT(lab->machine().Monitor("system_wakeup").status(), IsOk());
  REQUIRE_THAT(lab->machine().Do("true").status(), IsOk());
  REQUIRE_THAT(lab->AwaitTrustedAgain(), IsOk());
  const BootIdentity after = ShownBoot(*lab);
  CHECK(after.reset_count == before.reset_count);
  CHECK(after.restart_count == before.restart_count + 1);
  REQUIRE_THAT(Keep(*lab, "vm-suspend"), IsOk());
}

TEST_CASE("An agent that is killed goes on where it was") {
  const auto lab = TrustedLab();
  const BootIdentity before = ShownBoot(*lab);
  for (int round = 0; round < 3; ++round) {
    REQUIRE_THAT(lab->machine().Do("killall -9 cupel-agent").status(), IsOk());
    REQUIRE_THAT(lab->StartAgent(), IsOk());
    REQUIRE_THAT(lab->AwaitTrustedAgain(), IsOk());
  }
  CHECK(ShownBoot(*lab).reset_count == before.reset_count);
  CHECK(Require(lab->Findings()).empty());
  // What a killed client leaves in the TPM is cleared away behind it.
  CHECK_FALSE(absl::StrContains(lab->AgentLog(), "0x902"));
}

TEST_CASE("PCR 10 extended by hand passes for nothing") {
  const auto lab = TrustedLab();
  const crypto::Digest anything =
      crypto::Hash(crypto::HashAlgorithm::kSha256, AsBytes("by hand"));
  REQUIRE_THAT(lab->SendToTpm({PcrExtendCommand(10, anything)}), IsOk());
  REQUIRE(Require(lab->Tenant({"attest", kAgentId})).exit_code == 0);
  REQUIRE_THAT(lab->AwaitState("FAILED"), IsOk());
  CHECK(Require(lab->Findings()) ==
        std::vector<std::string>{"ima.history_lost"});
  REQUIRE_THAT(Keep(*lab, "vm-extended-by-hand"), IsOk());
}

}  // namespace
}  // namespace cupel::vm
