// Attacks on cupel-verifier as a user starts it. Each begins with an agent that
// it trusts.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "nlohmann/json.hpp"
#include "tests/attacks/live_scene.h"
#include "tests/support/hostile_text.h"
#include "tests/support/run_command.h"
#include "tests/support/status_matchers.h"
#include "tests/support/tcp_relay.h"

namespace cupel::testing {
namespace {

using ::cupel::verifier::AgentState;

// cupel-verifier with a machine that is enrolled, added and TRUSTED.
class ProcessScene {
 public:
  explicit ProcessScene(std::vector<std::string> settings = {})
      : settings_(std::move(settings)) {
    const config::VerifierConfig config = deployment.Config();
    REQUIRE_THAT(
        WriteFile(deployment.folder / "verifier.yaml",
                  absl::StrCat("attest_listen: 127.0.0.1:8891\n",
                               "fleet_listen: 127.0.0.1:8892\n",
                               "metrics_listen: off\n", "log_level: debug\n",
                               "state_dir: ", deployment.folder / "state", "\n",
                               "store_path: ", config.store_path, "\n",
                               "tls_certificate: ", config.tls_certificate,
                               "\n", "tls_key: ", config.tls_key, "\n",
                               "client_ca: ", config.client_ca, "\n",
                               "client_deny_list: ", config.client_deny_list,
                               "\n", "ek_roots: ", config.ek_roots, "\n")),
        IsOk());
    Start();
    REQUIRE_THAT(StatusOf(EnrollHeld(Attest(), victim)), IsOk());
    Operator who = As();
    const std::string policy = PolicyNameOf(victim);
    REQUIRE(who.PutPolicy(policy, victim.Allowlist(), true).ok());
    v1::AddAgentRequest add;
    add.set_agent_id(victim.id().ToString());
    add.set_ek_sha256(victim.enrollee().ek_fingerprint().Hex());
    add.mutable_settings()->set_boot("any");
    add.mutable_settings()->add_policies(policy);
    REQUIRE(who.Call(&v1::Fleet::Stub::AddAgent, add).ok());
    Connect();
    REQUIRE(stream->Attest() == "TRUSTED");
    before_ = Text();
  }

  void Start() {
    const std::string listening = deployment.folder / "state/listening";
    std::filesystem::remove(listening);
    std::vector<std::string> command = {CUPEL_VERIFIER, "--config",
                                        deployment.folder / "verifier.yaml",
                                        "--free-ports"};
    for (const std::string& setting : settings_) {
      command.push_back("--set");
      command.push_back(setting);
    }
    command.push_back("run");
    auto started =
        Server::Start(command, deployment.folder / absl::StrCat("log", ++run_));
    REQUIRE_THAT(StatusOf(started), IsOk());
    server_ = *std::move(started);
    // "attest ADDRESS" and "fleet ADDRESS", a line each.
    Await([&] {
      const auto text = ReadFile(listening, size_t{1} << 10);
      if (!text.ok() || text->empty() || text->back() != '\n') return false;
      for (const absl::string_view line : absl::StrSplit(AsText(*text), '\n')) {
        const std::vector<std::string> words = absl::StrSplit(line, ' ');
        if (words[0] == "attest") attest_ = words.at(1);
        if (words[0] == "fleet") fleet_ = words.at(1);
      }
      return !attest_.empty() && !fleet_.empty();
    });
  }
  // kill -9.
  void Kill() { server_.reset(); }

  void Connect(Tampering tampering = {}) {
    stream =
        std::make_unique<HostileStream>(Attest(), victim, std::move(tampering));
  }
  std::shared_ptr<grpc::Channel> Attest() const {
    return deployment.AttestChannel(attest_);
  }
  Operator As() const {
    return Operator(deployment.FleetChannel(fleet_, "pki/operator"));
  }
  v1::Agent Shown() const {
    v1::Agent agent;
    REQUIRE(As().GetAgent(victim.id(), agent).ok());
    return agent;
  }
  // All that an operator is shown, times included.
  std::string Text() const { return Shown().DebugString(); }
  void CheckUnchanged() const { CHECK(Text() == before_); }
  std::string Log() const {
    const auto log = ReadFile(deployment.folder / absl::StrCat("log", run_),
                              size_t{16} << 20);
    REQUIRE_THAT(StatusOf(log), IsOk());
    return std::string(AsText(*log));
  }
  const std::string& attest_address() const { return attest_; }

  Deployment deployment;
  FakeTpmMachine victim{deployment.vendor, 1};
  std::unique_ptr<HostileStream> stream;

 private:
  const std::vector<std::string> settings_;
  std::unique_ptr<Server> server_;
  int run_ = 0;
  std::string attest_;
  std::string fleet_;
  std::string before_;
};

TEST_CASE("A1: cupel-verifier takes no quote that is for something else") {
  ProcessScene scene;
  const std::vector<std::function<void(QuoteInputs&)>> changes = {
      [](auto& inputs) { inputs.nonce[0] ^= 1; },
      [](auto& inputs) { inputs.agent_id = TestAgent(2); },
      [](auto& inputs) { inputs.certificate_sha256[0] ^= 1; },
      [](auto& inputs) { inputs.qualifying_data = inputs.nonce; },
  };
  for (const auto& change : changes) {
    scene.Connect({.quote_inputs = change});
    CHECK_THAT(scene.stream->Attest(),
               StartsWith("refused: this agent is not attested here"));
    scene.CheckUnchanged();
  }
  scene.Connect();
  CHECK(scene.stream->Attest() == "TRUSTED");
}

TEST_CASE("A15: cupel-verifier under connections that come to nothing") {
  ProcessScene scene({"unproven_timeout=1s"});
  std::vector<std::unique_ptr<RawConnection>> connections;
  for (int i = 0; i < 500; ++i) {
    connections.push_back(
        std::make_unique<RawConnection>(scene.attest_address()));
    if (i % 2 == 0) connections.back()->Write("\x16\x03\x01");
  }
  CHECK(scene.stream->Round() == "TRUSTED");
  for (const auto& connection : connections) CHECK(connection->AwaitClose());
  CHECK(scene.Shown().state() == v1::STATE_TRUSTED);
}

TEST_CASE("A16: cupel-verifier hears no garbage") {
  ProcessScene scene;
  v1::AgentMessage noise;
  noise.mutable_quote()->set_attest(std::string(100, '\xff'));
  scene.Connect();
  REQUIRE(scene.stream->SendHello());
  REQUIRE(scene.stream->AwaitChallenge().has_value());
  REQUIRE(scene.stream->Send(noise));
  CHECK_THAT(scene.stream->Outcome(), StartsWith("refused: "));
  scene.CheckUnchanged();
  Await([&] { return absl::StrContains(scene.Log(), "stream refused"); });
}

TEST_CASE("A18: cupel-verifier is killed, and loses and invents nothing") {
  ProcessScene scene;
  SECTION("while nothing happens") {
    scene.Kill();
    scene.Start();
    scene.CheckUnchanged();
  }
  SECTION("in the middle of a list") {
    const auto challenge = scene.stream->AwaitChallenge();
    REQUIRE(challenge.has_value());
    REQUIRE(scene.stream->SendQuote(*challenge));
    scene.Kill();
    scene.Start();
    scene.CheckUnchanged();
  }
  SECTION("with something bad before it") {
    scene.victim.machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
    const auto challenge = scene.stream->AwaitChallenge();
    REQUIRE(challenge.has_value());
    REQUIRE(scene.stream->SendQuote(*challenge));
    scene.stream->SendList();
    scene.Kill();
    scene.Start();
    // Judged or not, it was not trusted for it.
    const v1::Agent agent = scene.Shown();
    CHECK(
        (agent.state() == v1::STATE_FAILED || agent.attestation_count() == 1));
    scene.Connect();
    CHECK_THAT(scene.stream->Attest(), StartsWith("FAILED"));
    CHECK(scene.Shown().state() == v1::STATE_FAILED);
  }
}

TEST_CASE("A31: cupel-verifier's restart does not wash FAILED off") {
  ProcessScene scene;
  scene.victim.machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
  REQUIRE(scene.stream->Round() == "FAILED ima.not_in_policy");
  scene.Kill();
  scene.Start();
  CHECK(scene.Shown().state() == v1::STATE_FAILED);
  scene.victim.machine.Reboot();
  scene.Connect();
  CHECK_THAT(scene.stream->Attest(), StartsWith("FAILED"));
  CHECK(scene.Shown().state() == v1::STATE_FAILED);
  CHECK(scene.Shown().findings(0).path() == "/tmp/evil");
}

TEST_CASE("A20: cupel-verifier's log has a line for each thing and no more") {
  const bool is_json = GENERATE(false, true);
  ProcessScene scene({absl::StrCat("log_format=", is_json ? "json" : "text")});
  scene.victim.machine.list.AddFile(kHostileText, FileDigestOf("evil"));
  scene.victim.machine.list.AddViolation(kHostileText);
  REQUIRE_THAT(scene.stream->Round(), StartsWith("FAILED"));
  scene.Connect({.hello = [](auto& hello) {
    hello.set_agent_version("\x1b[2J\r\n2026 INFO - all is well");
  }});
  scene.stream->SendHello();
  // Its own end of the stream, to be sure that all of it is written.
  scene.stream->SendHello();
  REQUIRE_THAT(scene.stream->Outcome(), StartsWith("refused: a second"));
  std::string log;
  Await([&] {
    log = scene.Log();
    return absl::StrContains(log, "a second Hello");
  });
  CHECK(IsPlain(log));
  for (const absl::string_view line : absl::StrSplit(log, '\n')) {
    if (line.empty()) continue;
    INFO(line);
    if (is_json) {
      const auto parsed =
          nlohmann::json::parse(line.begin(), line.end(), nullptr, false);
      CHECK(parsed.is_object());
    } else {
      CHECK((line[0] >= '0' && line[0] <= '9'));
      CHECK_FALSE(absl::StartsWith(line, " INFO - all is well"));
    }
  }
}

}  // namespace
}  // namespace cupel::testing
