#include "tests/attacks/live_scene.h"

#include <chrono>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "tests/support/status_matchers.h"

namespace cupel::testing {

using ::cupel::verifier::AgentRecord;
using ::cupel::verifier::AgentState;

LiveScene::LiveScene(LiveSceneOptions options)
    : deployment(options.prepare),
      verifier(deployment, options.configure,
               std::move(options.before_store_call)),
      victim(deployment.vendor, 1, std::move(options.banks)) {
  Enroll(victim);
  Add(victim, "pki/operator", options.settings);
  stream = Connect();
  stream->SendHello();
  REQUIRE(stream->Settle() == "TRUSTED");
  REQUIRE(State() == AgentState::kTrusted);
  Remember();
}

void LiveScene::Remember() { before_ = Describe(Record()); }

void LiveScene::CheckUnchanged() { CHECK(Describe(Record()) == before_); }

void LiveScene::CheckVictimLives() {
  CHECK(stream->Round() == "TRUSTED");
  CHECK(State() == AgentState::kTrusted);
}

void LiveScene::Enroll(HeldMachine& machine, LiveVerifier* at) {
  const auto state =
      EnrollHeld((at == nullptr ? verifier : *at).Attest(), machine);
  REQUIRE_THAT(state.status(), IsOk());
}

void LiveScene::Add(HeldMachine& machine, const std::string& from,
                    const std::function<void(v1::AgentSettings&)>& settings) {
  Operator who = verifier.As(from);
  const grpc::Status put = who.PutPolicy(PolicyNameOf(machine),
                                         machine.Allowlist(), /*create=*/true);
  INFO(put.error_message());
  REQUIRE(put.ok());
  v1::AddAgentRequest request;
  request.set_agent_id(machine.id().ToString());
  request.set_ek_sha256(machine.enrollee().ek_fingerprint().Hex());
  request.mutable_settings()->set_boot("any");
  request.mutable_settings()->add_policies(PolicyNameOf(machine));
  if (settings) settings(*request.mutable_settings());
  v1::AddAgentReply reply;
  const grpc::Status added =
      who.Call(&v1::Fleet::Stub::AddAgent, request, &reply);
  INFO(added.error_message());
  REQUIRE(added.ok());
}

void LiveScene::UpdatePolicy(HeldMachine& machine) {
  const grpc::Status put = verifier.As().PutPolicy(
      PolicyNameOf(machine), machine.Allowlist(), /*create=*/false);
  INFO(put.error_message());
  REQUIRE(put.ok());
}

void LiveScene::UpdateSettings(const v1::AgentSettings& settings,
                               const std::vector<std::string>& changed) {
  v1::UpdateAgentRequest request;
  request.mutable_selector()->set_agent_id(victim.id().ToString());
  *request.mutable_settings() = settings;
  for (const std::string& member : changed) request.add_changed(member);
  const grpc::Status updated =
      verifier.As().Call(&v1::Fleet::Stub::UpdateAgents, request);
  INFO(updated.error_message());
  REQUIRE(updated.ok());
}

void LiveScene::Delete(const HeldMachine& machine) {
  v1::DeleteAgentRequest request;
  request.set_agent_id(machine.id().ToString());
  REQUIRE(verifier.As().Call(&v1::Fleet::Stub::DeleteAgent, request).ok());
}

void LiveScene::HangUp() { stream.reset(); }

std::unique_ptr<HostileStream> LiveScene::Connect(Tampering tampering) {
  return std::make_unique<HostileStream>(verifier.Attest(), victim,
                                         std::move(tampering));
}

v1::Agent LiveScene::Shown() {
  v1::Agent agent;
  REQUIRE(verifier.As("pki/viewer").GetAgent(victim.id(), agent).ok());
  return agent;
}

std::vector<std::string> LiveScene::Findings() {
  std::vector<std::string> ids;
  for (const appraisal::Finding& finding : Record().findings) {
    ids.emplace_back(finding.id);
  }
  return ids;
}

std::string Told(const LiveVerifier& verifier,
                 const std::function<std::string()>& ask) {
  const size_t before = verifier.log().size();
  const std::string told = ask();
  if (!absl::StartsWith(told, "refused: this agent is not attested here")) {
    return told;
  }
  const std::string log = verifier.log().substr(before);
  const std::string detail = "detail=\"";
  const size_t at = log.find(detail);
  if (at == std::string::npos) return told;
  const size_t begin = at + detail.size();
  return absl::StrCat("refused: ",
                      log.substr(begin, log.find('"', begin) - begin));
}

void Await(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!condition()) {
    REQUIRE(std::chrono::steady_clock::now() < end);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

std::string PolicyNameOf(const HeldMachine& machine) {
  return absl::StrCat("policy-", machine.id().ToString());
}

}  // namespace cupel::testing
