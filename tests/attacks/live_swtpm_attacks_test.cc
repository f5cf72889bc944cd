// Attacks on a running verifier by who owns a machine with a real, if software,
// TPM. Each begins with that machine TRUSTED.
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/tpm/public_area.h"
#include "common/util/file.h"
#include "tests/attacks/live_scene.h"
#include "tests/support/status_matchers.h"
#include "tests/support/swtpm_machine.h"

namespace cupel::testing {
namespace {

using ::cupel::verifier::AgentState;

// Beside the scene's own victim a machine with a TPM of its own.
struct TpmScene {
  TpmScene() {
    scene.Enroll(*machine);
    scene.Add(*machine);
    Connect();
    REQUIRE(stream->Attest() == "TRUSTED");
    Remember();
  }

  static std::unique_ptr<SwtpmMachine> StartMachine() {
    SwTpm::SkipUnlessAvailable();
    auto started = SwtpmMachine::Start(TestAgent(20));
    REQUIRE_THAT(StatusOf(started), IsOk());
    return *std::move(started);
  }
  void Connect(Tampering tampering = {}) {
    stream = std::make_unique<HostileStream>(scene.verifier.Attest(), *machine,
                                             std::move(tampering));
  }
  verifier::AgentRecord Record() {
    return scene.verifier.Record(machine->id());
  }
  void Remember() { before = Describe(Record()); }
  void CheckUnchanged() { CHECK(Describe(Record()) == before); }
  std::string Run(const std::vector<std::string>& tool) {
    auto output = machine->tpm().Run(tool);
    REQUIRE_THAT(StatusOf(output), IsOk());
    return *output;
  }

  std::unique_ptr<SwtpmMachine> machine = StartMachine();
  LiveScene scene{{.prepare = [this](const Deployment& deployment) {
    REQUIRE_THAT(WriteFile(deployment.folder / "ek-roots/swtpm.pem",
                           machine->VendorPem()),
                 IsOk());
  }}};
  std::unique_ptr<HostileStream> stream;
  std::string before;
};

TEST_CASE("A1: a real TPM's quote for another challenge, agent or verifier") {
  TpmScene tpm;
  const std::vector<std::function<void(QuoteInputs&)>> changes = {
      [](auto& inputs) { inputs.nonce[0] ^= 1; },
      [](auto& inputs) { inputs.agent_id = TestAgent(1); },
      [](auto& inputs) { inputs.certificate_sha256[0] ^= 1; },
      [](auto& inputs) { inputs.qualifying_data = inputs.nonce; },
  };
  for (const auto& change : changes) {
    tpm.Connect({.quote_inputs = change});
    CHECK_THAT(Told(tpm.scene.verifier, [&] { return tpm.stream->Attest(); }),
               StartsWith("refused: quote.nonce"));
    tpm.CheckUnchanged();
  }
  // In another agent's name.
  tpm.Connect(
      {.hello =
           [&](auto& hello) {
             hello.set_agent_id(
                 std::string(AsText(tpm.scene.victim.id().bytes())));
           },
       .quote_inputs =
           [&](auto& inputs) { inputs.agent_id = tpm.scene.victim.id(); }});
  CHECK_THAT(Told(tpm.scene.verifier, [&] { return tpm.stream->Attest(); }),
             StartsWith("refused: quote.signature"));
  tpm.CheckUnchanged();
  tpm.scene.CheckUnchanged();
}

TEST_CASE("A2: a real TPM gives no secret to an AK of software") {
  TpmScene tpm;
  tpm::BeginEnrollment request = tpm.machine->enrollee().request();
  request.ak_public = FakeTpm({.key_index = 9}).ak().Serialize();
  const auto begun = BeginEnrollment(tpm.scene.verifier.Attest(), request);
  REQUIRE_THAT(StatusOf(begun), IsOk());
  CHECK_FALSE(tpm.machine
                  ->Activate(begun->challenge.credential_blob,
                             begun->challenge.encrypted_secret)
                  .ok());
  tpm.CheckUnchanged();
}

TEST_CASE("A7: what a real TPM signs for another selection") {
  TpmScene tpm;
  for (const char* const selection :
       {"sha256:10", "sha256:0,1,2,3,4,5,6,7,8,9,10,11",
        "sha1:0,1,2,3,4,5,6,7,8,9,10"}) {
    INFO(selection);
    tpm.Connect({.quote_inputs = [&](auto& inputs) {
      inputs.selection = *tpm::PcrSelection::FromString(selection);
    }});
    CHECK_THAT(Told(tpm.scene.verifier, [&] { return tpm.stream->Attest(); }),
               StartsWith("refused: quote.selection"));
    tpm.CheckUnchanged();
  }
}

TEST_CASE("A24: a real TPM's key in the owner hierarchy") {
  TpmScene tpm;
  tpm.stream.reset();
  const std::string attributes =
      "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign";
  tpm.Run({"tpm2_createprimary", "-C", "o", "-g", "sha256", "-G",
           "ecc256:ecdsa-sha256:null", "-a", attributes, "-c", "ak.ctx"});
  tpm.Run({"tpm2_readpublic", "-c", "ak.ctx", "-f", "tss", "-o", "ak.pub"});
  REQUIRE_THAT(tpm.machine->UseKeyOfTools(), IsOk());
  // It is in the EK's TPM, and nothing in its public area says where there.
  REQUIRE_THAT(StatusOf(EnrollHeld(tpm.scene.verifier.Attest(), *tpm.machine)),
               IsOk());
  tpm.Remember();
  // What it signs does.
  tpm.Connect();
  CHECK_THAT(Told(tpm.scene.verifier, [&] { return tpm.stream->Attest(); }),
             StartsWith("refused: quote.signer"));
  tpm.CheckUnchanged();
}

TEST_CASE("A27: a real TPM loses power while the stream is open") {
  TpmScene tpm;
  REQUIRE_THAT(tpm.machine->Reboot(), IsOk());
  CHECK_THAT(tpm.stream->Round(), StartsWith("PENDING"));
  CHECK_THAT(tpm.stream->Round(), StartsWith("FAILED tpm.reset_in_stream"));
  CHECK(tpm.Record().state == AgentState::kFailed);
}

TEST_CASE("A28: a real TPM's reboot after something bad") {
  TpmScene tpm;
  REQUIRE_THAT(tpm.machine->Measure("evil.sh", "#!/bin/sh\nevil\n", false),
               IsOk());
  REQUIRE(tpm.stream->Round() == "FAILED ima.not_in_policy");
  tpm.stream.reset();
  REQUIRE_THAT(tpm.machine->Reboot(), IsOk());
  tpm.Connect();
  CHECK_THAT(tpm.stream->Attest(), StartsWith("FAILED"));
  CHECK(tpm.Record().findings.at(0).id == "ima.not_in_policy");
}

TEST_CASE("A29: a real TPM's clock is set ahead") {
  TpmScene tpm;
  const uint64_t now = tpm.Record().progress.clock_info->clock;
  tpm.Run({"tpm2_setclock", absl::StrCat(now + 600'000)});
  CHECK_THAT(tpm.stream->Round(), StartsWith("FAILED tpm.clock_ahead"));
  CHECK(tpm.Record().state == AgentState::kFailed);
}

TEST_CASE("A30: a real TPM's PCR 10 is extended by hand") {
  TpmScene tpm;
  tpm.Run({"tpm2_pcrextend", absl::StrCat("10:sha1=", std::string(40, 'a'),
                                          ",sha256=", std::string(64, 'a'))});
  CHECK_THAT(tpm.stream->Round(), StartsWith("FAILED ima.history_lost"));
  CHECK(tpm.Record().state == AgentState::kFailed);
}

TEST_CASE("A36: a real TPM's PCR 7 is extended after the boot") {
  TpmScene tpm;
  tpm.Run({"tpm2_pcrextend", absl::StrCat("7:sha1=", std::string(40, 'a'),
                                          ",sha256=", std::string(64, 'a'))});
  CHECK_THAT(tpm.stream->Round(), StartsWith("FAILED pcr.changed_after_boot"));
}

}  // namespace
}  // namespace cupel::testing
