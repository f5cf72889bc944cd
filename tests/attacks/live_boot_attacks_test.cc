// Attacks on what a running verifier knows of a machine's boots and clocks:
// resets, restarts, clones. Each begins with an agent that it trusts.
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/crypto/digest.h"
#include "common/util/bytes.h"
#include "tests/attacks/live_scene.h"

namespace cupel::testing {
namespace {

using ::cupel::crypto::HashAlgorithm;
using ::cupel::verifier::AgentState;

TEST_CASE("A5: counters or clock that go back") {
  LiveScene scene;
  tpm::ClockInfo& clock = scene.victim.machine.tpm.clock_info;
  SECTION("the clock, on an open stream") {
    clock.clock -= 100;
    CHECK_THAT(scene.stream->Round(), StartsWith("FAILED tpm.clone_suspected"));
  }
  SECTION("the clock, on another stream") {
    clock.clock -= 100;
    scene.stream = scene.Connect();
    CHECK_THAT(scene.stream->Attest(),
               StartsWith("FAILED tpm.clone_suspected"));
  }
  SECTION("the reset count") {
    scene.HangUp();
    scene.victim.machine.Reboot();
    scene.victim.machine.Reboot();
    scene.stream = scene.Connect();
    REQUIRE(scene.stream->Attest() == "TRUSTED");
    scene.HangUp();
    --clock.reset_count;
    scene.stream = scene.Connect();
    CHECK_THAT(scene.stream->Attest(),
               StartsWith("FAILED tpm.clone_suspected"));
  }
  SECTION("the restart count") {
    scene.HangUp();
    ++clock.restart_count;
    scene.stream = scene.Connect();
    REQUIRE(scene.stream->Attest() == "TRUSTED");
    scene.HangUp();
    --clock.restart_count;
    scene.stream = scene.Connect();
    CHECK_THAT(scene.stream->Attest(),
               StartsWith("FAILED tpm.clone_suspected"));
  }
  CHECK(scene.State() == AgentState::kFailed);
  CHECK(scene.Findings().at(0) == "tpm.clone_suspected");
}

TEST_CASE("A5: an old boot's list in a new boot") {
  LiveScene scene;
  scene.HangUp();
  const ListBuilder old = scene.victim.machine.list;
  scene.victim.machine.Reboot();
  scene.victim.machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
  const auto stream = scene.Connect(
      {.list = [&](std::vector<uint8_t>& list) { list = old.bytes(); }});
  CHECK_THAT(stream->Attest(), StartsWith("FAILED ima.history_lost"));
  CHECK(scene.State() == AgentState::kFailed);
}

// The boot that is allowed: PCR 4 as the machine has it.
LiveSceneOptions WithBootRule() {
  return {.settings = [](v1::AgentSettings& settings) {
    settings.set_boot(
        absl::StrCat(R"({"4": [")", FileDigestOf("pcr 4").Hex(), R"("]})"));
  }};
}

TEST_CASE("A26: another kernel") {
  LiveScene scene(WithBootRule());
  scene.HangUp();
  scene.victim.machine.SetBootPcr(4, "another kernel");
  scene.victim.machine.Reboot();
  scene.stream = scene.Connect();
  CHECK_THAT(scene.stream->Attest(), StartsWith("FAILED boot.pcr_mismatch"));
  CHECK(scene.State() == AgentState::kFailed);
}

TEST_CASE("A26: a kernel that measures nothing, or starts later") {
  LiveScene scene(WithBootRule());
  scene.HangUp();
  FakeMachine& machine = scene.victim.machine;
  machine.Reboot();
  SECTION("ima=off") {
    machine.list = ListBuilder();
    scene.stream = scene.Connect();
    CHECK_THAT(scene.stream->Attest(),
               StartsWith("FAILED ima.boot_aggregate_missing"));
  }
  SECTION("a list without its first entry") {
    machine.list = ListBuilder();
    machine.Run("/usr/bin/sh");
    scene.stream = scene.Connect();
    CHECK_THAT(scene.stream->Attest(),
               StartsWith("FAILED ima.boot_aggregate_missing"));
  }
  SECTION("kexec: PCRs that go on, and a list that starts anew") {
    const ListBuilder before = machine.list;
    ListBuilder both = before;
    both.AddFile("boot_aggregate",
                 machine.BootAggregate(HashAlgorithm::kSha256));
    machine.pcrs.insert_or_assign({HashAlgorithm::kSha256, 10u},
                                  both.Pcr(HashAlgorithm::kSha256));
    machine.list = ListBuilder();
    machine.list.AddFile("boot_aggregate",
                         machine.BootAggregate(HashAlgorithm::kSha256));
    scene.stream = scene.Connect();
    CHECK_THAT(scene.stream->Attest(), StartsWith("FAILED ima.history_lost"));
  }
  CHECK(scene.State() == AgentState::kFailed);
}

TEST_CASE("A26: an IMA policy that has to be loaded, and is not") {
  LiveScene scene;
  FakeMachine& machine = scene.victim.machine;
  machine.policy.digests["/etc/ima/ima-policy"] = {FileDigestOf("measure")};
  scene.UpdatePolicy(scene.victim);
  REQUIRE(scene.stream->Settle() == "TRUSTED");
  v1::AgentSettings settings;
  settings.add_ima_policies("/etc/ima/ima-policy");
  scene.UpdateSettings(settings, {"ima_policies"});
  // On the open stream, in each round of it, and on the next one, whatever else
  // it runs.
  CHECK_THAT(scene.stream->Settle(), StartsWith("PENDING ima.policy_unproven"));
  CHECK_THAT(scene.stream->Round(), StartsWith("PENDING ima.policy_unproven"));
  CHECK_THAT(scene.stream->Round(), StartsWith("PENDING ima.policy_unproven"));
  machine.list.AddFile("/usr/bin/sh", machine.policy.digests["/usr/bin/sh"][0]);
  CHECK_THAT(scene.stream->Settle(), StartsWith("PENDING ima.policy_unproven"));
  scene.HangUp();
  scene.stream = scene.Connect();
  CHECK_THAT(scene.stream->Attest(), StartsWith("PENDING ima.policy_unproven"));
  CHECK(scene.Shown().state_reason().find("ima.policy_unproven") !=
        std::string::npos);

  machine.list.AddFile("/etc/ima/ima-policy", FileDigestOf("measure"));
  REQUIRE(scene.stream->Settle() == "TRUSTED");
  scene.HangUp();
  machine.Reboot();
  scene.stream = scene.Connect();
  CHECK_THAT(scene.stream->Attest(), StartsWith("PENDING ima.policy_unproven"));
  // Once it is loaded after all.
  machine.list.AddFile("/etc/ima/ima-policy", FileDigestOf("measure"));
  CHECK(scene.stream->Settle() == "TRUSTED");
}

TEST_CASE("A27: a reset while the stream is open") {
  LiveScene scene;
  // The PCRs were filled by something else than a boot.
  scene.victim.machine.Reboot();
  CHECK_THAT(scene.stream->Round(), StartsWith("PENDING"));
  CHECK(scene.State() == AgentState::kPending);
  CHECK_THAT(scene.stream->Round(), StartsWith("FAILED tpm.reset_in_stream"));
  CHECK(scene.State() == AgentState::kFailed);
}

TEST_CASE("A27: a TPM restart under a forged beginning") {
  LiveScene scene;
  FakeMachine& machine = scene.victim.machine;
  ++machine.tpm.clock_info.restart_count;
  machine.list = ListBuilder();
  machine.list.AddFile("boot_aggregate",
                       machine.BootAggregate(HashAlgorithm::kSha256));
  for (int i = 0; i < 5; ++i) machine.Run("/usr/bin/sh");
  SECTION("on the open stream") {
    CHECK_THAT(scene.stream->Settle(), StartsWith("TRUSTED"));
    CHECK_THAT(scene.stream->Settle(),
               StartsWith("FAILED tpm.restart_unexplained"));
  }
  SECTION("on another") {
    scene.stream = scene.Connect();
    CHECK_THAT(scene.stream->Attest(),
               StartsWith("FAILED tpm.restart_unexplained"));
  }
  CHECK(scene.State() == AgentState::kFailed);
}

TEST_CASE("A28: a reboot is no way back to trust but by a whole list") {
  LiveScene scene;
  scene.HangUp();
  scene.victim.machine.Reboot();
  std::string outcome;
  SECTION("which never comes") {}
  SECTION("which shows something bad") {
    scene.victim.machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
    outcome = "FAILED ima.not_in_policy";
  }
  SECTION("which is good") { outcome = "TRUSTED"; }
  scene.stream = scene.Connect();
  REQUIRE(scene.stream->Prove());
  // What was trusted was another boot.
  CHECK(scene.stream->offset() == 0);
  CHECK(scene.State() == AgentState::kPending);
  if (outcome.empty()) {
    scene.HangUp();
    CHECK(scene.State() == AgentState::kPending);
  } else {
    REQUIRE(scene.stream->SendList());
    CHECK(scene.stream->Outcome() == outcome);
  }
}

TEST_CASE("A28: something bad that was seen, silence, a reboot, all clean") {
  LiveScene scene;
  scene.victim.machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
  REQUIRE_THAT(scene.stream->Round(), StartsWith("FAILED"));
  scene.HangUp();
  scene.deployment.Advance(absl::Hours(24));
  scene.victim.machine.Reboot();
  scene.stream = scene.Connect();
  CHECK_THAT(scene.stream->Attest(), StartsWith("FAILED"));
  CHECK(scene.Findings().at(0) == "ima.not_in_policy");
}

TEST_CASE("A33: two machines with one TPM's state take turns") {
  LiveScene scene;
  FakeTpmMachine clone = scene.victim;
  std::vector<std::unique_ptr<HostileStream>> streams;
  std::string outcome;
  for (int i = 0; i < 3; ++i) {
    // Each looks good by itself, and neither clock goes back.
    FakeTpmMachine& machine = i % 2 == 0 ? clone : scene.victim;
    machine.machine.tpm.clock_info.clock =
        1'000'000 + 10 * static_cast<uint64_t>(i);
    streams.push_back(
        std::make_unique<HostileStream>(scene.verifier.Attest(), machine));
    REQUIRE(streams.back()->SendHello());
    outcome = streams.back()->Round();
    CHECK_THAT(outcome, StartsWith(i < 2 ? "TRUSTED" : "FAILED"));
  }
  CHECK(scene.State() == AgentState::kFailed);
  CHECK(scene.Findings().at(0) == "tpm.clone_suspected");
  // The displaced ones were told to go.
  CHECK_THAT(scene.stream->Outcome(), StartsWith("refused: another stream"));
  CHECK_THAT(streams[0]->Outcome(), StartsWith("refused: another stream"));
}

TEST_CASE("A33: a snapshot that is brought back") {
  LiveScene scene;
  const FakeTpmMachine snapshot = scene.victim;
  scene.victim.machine.Run("/usr/bin/sh");
  REQUIRE(scene.stream->Round() == "TRUSTED");
  scene.HangUp();
  scene.victim = snapshot;
  SECTION("as it was") {}
  SECTION("and left to run for longer") {
    scene.victim.machine.tpm.clock_info.clock += 1'000'000;
    scene.victim.machine.Run("/usr/lib/libc").Run("/usr/lib/libc");
  }
  scene.stream = scene.Connect();
  std::string outcome = scene.stream->Attest();
  // From where the other one had got to nothing fits; all of it shows why.
  if (outcome.rfind("FAILED", 0) != 0) outcome = scene.stream->Round();
  CHECK_THAT(outcome, StartsWith("FAILED"));
  CHECK(scene.State() == AgentState::kFailed);
}

TEST_CASE("A33: who has not the key displaces nobody") {
  LiveScene scene;
  FakeTpmMachine thief(scene.deployment.vendor, 2);
  for (int i = 0; i < 5; ++i) {
    HostileStream stream(
        scene.verifier.Attest(), thief, {.hello = [&](auto& hello) {
          hello.set_agent_id(std::string(AsText(scene.victim.id().bytes())));
        }});
    CHECK_THAT(stream.Attest(), StartsWith("refused: "));
  }
  scene.CheckUnchanged();
  scene.CheckVictimLives();
}

}  // namespace
}  // namespace cupel::testing
