// A certificate that is replaced while the verifier runs, over real TLS.
#include <filesystem>
#include <string>

#include "absl/strings/match.h"
#include "absl/time/clock.h"
#include "catch2/catch.hpp"
#include "common/crypto/certificate.h"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "tests/support/evidence_builder.h"
#include "tests/support/status_matchers.h"
#include "tests/support/stream_agent.h"
#include "tests/verifier/rpc/server_rig.h"
#include "verifier/pki/pki.h"

namespace cupel::verifier {
namespace {

namespace fs = std::filesystem;

using ::cupel::crypto::Digest;
using ::cupel::testing::FakeMachine;
using ::cupel::testing::IsOk;
using ::cupel::testing::StreamAgent;

Digest OnDisk(const ServerRig& rig) {
  const auto certificate =
      crypto::Certificate::FromPem(TextOf(rig.config.tls_certificate));
  REQUIRE_THAT(certificate.status(), IsOk());
  return certificate->fingerprint();
}

void Renew(const ServerRig& rig, const Lifetimes& lifetimes = {}) {
  REQUIRE_THAT(RenewPki(rig.folder / "pki", absl::Now(), lifetimes).status(),
               IsOk());
}

AgentId RigAgent() { return *AgentId::Parse(kAgent); }

// What TLS shows a connection that is opened now, on the fleet's listener.
Digest ShownToOperators(const ServerRig& rig) {
  Context context;
  v1::ListAgentsReply reply;
  REQUIRE(rig.FleetStub("pki/operator")
              ->ListAgents(&context, v1::ListAgentsRequest(), &reply)
              .ok());
  const auto pem = context.auth_context()->FindPropertyValues("x509_pem_cert");
  REQUIRE(pem.size() == 1);
  return crypto::Certificate::FromPem({pem[0].data(), pem[0].size()})
      ->fingerprint();
}

TEST_CASE("Streams outlive a renewal, and new connections see what it made") {
  ServerRig rig;
  FakeMachine machine;
  rig.Provision(machine);
  const Digest first = OnDisk(rig);

  StreamAgent before(rig.Attest(), machine, RigAgent());
  REQUIRE(before.SayHello());
  REQUIRE(before.Round()->state() == "TRUSTED");
  CHECK(before.ServerCertificate() == first);
  CHECK(ShownToOperators(rig) == first);

  SECTION("noticed by itself") { Renew(rig); }
  SECTION("at once, when told") {
    Renew(rig);
    rig.server->ReloadCertificate();
  }
  const Digest second = OnDisk(rig);
  REQUIRE_FALSE(second == first);
  rig.AwaitLog(second.Hex());

  // The stream goes on with the certificate that its connection was shown.
  for (int round = 0; round < 3; ++round) {
    machine.Run("/usr/bin/after_" + std::to_string(round));
    Context context;
    const auto put = [&] {
      v1::PutPolicyRequest request;
      request.set_name("base");
      const std::string file = testing::AllowlistOf(machine);
      request.set_size(file.size());
      request.set_data(file);
      v1::PutPolicyReply reply;
      const auto stub = rig.PoliciesStub("pki/operator");
      const auto writer = stub->Put(&context, &reply);
      writer->Write(request);
      writer->WritesDone();
      return writer->Finish();
    }();
    INFO(put.error_message());
    REQUIRE(put.ok());
    std::optional<v1::Verdict> verdict;
    do {
      verdict = before.Round();
      INFO(before.refusal());
      REQUIRE(verdict.has_value());
    } while (verdict->state() == "PENDING");
    CHECK(verdict->state() == "TRUSTED");
    CHECK(before.ServerCertificate() == first);
    CHECK(before.challenged_certificate() == AsText(first.bytes()));
  }

  StreamAgent after(rig.Attest(), machine, RigAgent());
  REQUIRE(after.SayHello());
  const auto verdict = after.Round();
  REQUIRE(verdict.has_value());
  CHECK(verdict->state() == "TRUSTED");
  CHECK(after.ServerCertificate() == second);
  CHECK(after.challenged_certificate() == AsText(second.bytes()));
  CHECK(ShownToOperators(rig) == second);
  CHECK(rig.Get().state() == v1::STATE_TRUSTED);
}

TEST_CASE("A quote for a certificate that was never served proves nothing") {
  ServerRig rig;
  FakeMachine machine;
  rig.Provision(machine);
  StreamAgent agent(rig.Attest(), machine, RigAgent());
  REQUIRE(agent.SayHello());
  auto message = agent.Receive();
  REQUIRE(message->has_challenge());
  v1::Challenge challenge = message->challenge();
  SECTION("another one's") {
    challenge.set_certificate_sha256(std::string(32, 'c'));
  }
  SECTION("one that is on disk, and not served yet") {
    // Before the renewal is noticed the stream has no reason to know it; this
    // one it never serves.
    Renew(rig, {.leaf = -absl::Minutes(1)});
    challenge.set_certificate_sha256(std::string(AsText(OnDisk(rig).bytes())));
  }
  REQUIRE(agent.SendQuote(challenge));
  message = agent.Receive();
  REQUIRE(message.has_value());
  CHECK(message->has_refusal());
  CHECK(rig.store->GetAgent("default", RigAgent())->state ==
        AgentState::kPending);
}

TEST_CASE("A pair that can't be served changes nothing, loudly") {
  ServerRig rig;
  FakeMachine machine;
  rig.Provision(machine);
  const Digest first = OnDisk(rig);
  const std::string key = TextOf(rig.config.tls_key);
  StreamAgent before(rig.Attest(), machine, RigAgent());
  REQUIRE(before.SayHello());
  REQUIRE(before.Round()->state() == "TRUSTED");

  REQUIRE_THAT(
      WriteFile(rig.config.tls_key, TextOf(rig.folder / "pki/ca/key.pem")),
      IsOk());
  fs::permissions(rig.config.tls_key, fs::perms(0600));
  rig.AwaitLog("ERROR - the new certificate can't be served");
  CHECK(absl::StrContains(rig.log_text(), rig.config.tls_key));
  CHECK(ShownToOperators(rig) == first);
  REQUIRE(before.Round()->state() == "TRUSTED");

  // And it recovers.
  Renew(rig);
  const Digest second = OnDisk(rig);
  rig.AwaitLog(second.Hex());
  CHECK(ShownToOperators(rig) == second);
  REQUIRE(before.Round()->state() == "TRUSTED");
}

TEST_CASE("A verifier without a certificate makes none and does not start") {
  ServerRig rig;
  config::VerifierConfig config = rig.config;
  const std::string folder = rig.folder / "nowhere";
  config.tls_certificate = folder + "/server/certificate.pem";
  config.tls_key = folder + "/server/key.pem";
  CHECK_THAT(
      Server::Start(config, *rig.store, rig.log).status(),
      testing::StatusIs(absl::StatusCode::kNotFound, "`cupel-verifier init`"));
  CHECK_FALSE(fs::exists(folder));
  // Nor does it renew one that has ended.
  Renew(rig, {.leaf = -absl::Minutes(1)});
  const Digest expired = OnDisk(rig);
  CHECK_THAT(Server::Start(rig.config, *rig.store, rig.log).status(),
             testing::StatusIs(absl::StatusCode::kFailedPrecondition,
                               "`cupel-verifier renew`"));
  CHECK(OnDisk(rig) == expired);
}

}  // namespace
}  // namespace cupel::verifier
