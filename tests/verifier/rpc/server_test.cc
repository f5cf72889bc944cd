// A whole verifier in this process, over TLS on loopback and a store on disk.
#include "verifier/rpc/server.h"

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "tests/support/evidence_builder.h"
#include "tests/support/status_matchers.h"
#include "tests/support/stream_agent.h"
#include "tests/verifier/rpc/server_rig.h"

namespace cupel::verifier {
namespace {

using ::cupel::crypto::Digest;
using ::cupel::crypto::HashAlgorithm;
using ::cupel::testing::FakeMachine;
using ::cupel::testing::IsOk;

class Agent : public testing::StreamAgent {
 public:
  Agent(const ServerRig& rig, FakeMachine& machine)
      : StreamAgent(rig.Attest(), machine, *AgentId::Parse(kAgent)) {}
  // What comes next is a refusal.
  bool IsRefused() {
    const auto message = Receive();
    return message.has_value() && message->has_refusal();
  }
};

TEST_CASE("An admin adds agents, and sees those of the tenant alone") {
  ServerRig rig;
  CHECK(rig.Add("pki/operator", kAgent).ok());
  CHECK(rig.Add("pki/operator", kAgent).error_code() ==
        grpc::StatusCode::ALREADY_EXISTS);
  CHECK(rig.List("pki/operator") == std::vector<std::string>{kAgent});
  CHECK(rig.List("pki/viewer") == std::vector<std::string>{kAgent});
  CHECK(rig.List("pki/other").empty());
  // Another tenant's agent does not exist.
  Context context;
  v1::GetAgentRequest request;
  request.set_agent_id(kAgent);
  v1::Agent agent;
  CHECK(rig.FleetStub("pki/other")
            ->GetAgent(&context, request, &agent)
            .error_code() == grpc::StatusCode::NOT_FOUND);
}

TEST_CASE("add wants a fingerprint or the wish to trust") {
  ServerRig rig;
  CHECK(rig.Add("pki/operator", kAgent, /*trust=*/false).error_code() ==
        grpc::StatusCode::INVALID_ARGUMENT);
  CHECK(rig.Add("pki/operator", "no id").error_code() ==
        grpc::StatusCode::INVALID_ARGUMENT);
  CHECK(rig.List("pki/operator").empty());
}

TEST_CASE("A viewer changes nothing") {
  ServerRig rig;
  CHECK(rig.Add("pki/viewer", kAgent).error_code() ==
        grpc::StatusCode::PERMISSION_DENIED);
  v1::PutPolicyReply reply;
  CHECK(rig.PutPolicy("pki/viewer", "base", "", reply).error_code() ==
        grpc::StatusCode::PERMISSION_DENIED);
  CHECK(rig.List("pki/operator").empty());
}

TEST_CASE("Who has no certificate, or one of another CA, does not get in") {
  ServerRig rig;
  CHECK(rig.Add("", kAgent).error_code() == grpc::StatusCode::UNAVAILABLE);
  rig.MakePki("stranger");
  CHECK(rig.Add("stranger/operator", kAgent).error_code() ==
        grpc::StatusCode::UNAVAILABLE);
  // Nor with the server's own, which another CA has made.
  CHECK(rig.Add("pki/server", kAgent).error_code() ==
        grpc::StatusCode::UNAVAILABLE);
  CHECK(rig.List("pki/operator").empty());
}

TEST_CASE("A denied key is refused from its next call on") {
  ServerRig rig;
  CHECK(rig.Add("pki/operator", kAgent).ok());
  rig.Deny("pki/operator");
  CHECK(rig.Add("pki/operator", kAgent).error_code() ==
        grpc::StatusCode::UNAUTHENTICATED);
  CHECK(rig.List("pki/viewer").size() == 1);
}

TEST_CASE("The listener of agents serves no operators") {
  ServerRig rig;
  Context context;
  v1::ListAgentsReply reply;
  CHECK(v1::Fleet::NewStub(rig.Attest())
            ->ListAgents(&context, v1::ListAgentsRequest(), &reply)
            .error_code() == grpc::StatusCode::UNIMPLEMENTED);
}

TEST_CASE("A policy is checked before it is stored") {
  ServerRig rig;
  v1::PutPolicyReply reply;
  CHECK(rig.PutPolicy("pki/operator", "base", "{\"digests\": 7}", reply)
            .error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  CHECK(rig.PutPolicy("pki/operator", "../base", "{}", reply).error_code() ==
        grpc::StatusCode::INVALID_ARGUMENT);
  const std::string line = std::string(40, 'a') + "  /usr/bin/true\n";
  // A file that breaks off is none, whatever its beginning would mean.
  for (const size_t missing : {size_t{1}, line.size()}) {
    CHECK(rig.PutPolicy("pki/operator", "base", line, reply, missing)
              .error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  }
  REQUIRE(rig.PutPolicy("pki/operator", "base", line, reply).ok());
  CHECK(reply.policy().version() == 1);
  CHECK_FALSE(reply.warnings().empty());  // of SHA-1
  CHECK(rig.PutPolicy("pki/operator", "base", line, reply).error_code() ==
        grpc::StatusCode::ALREADY_EXISTS);

  Context context;
  v1::GetPolicyRequest request;
  request.set_name("base");
  const auto stub = v1::Policies::NewStub(rig.Fleet("pki/viewer"));
  const auto reader = stub->Get(&context, request);
  std::string file;
  v1::PolicyChunk chunk;
  while (reader->Read(&chunk)) file += chunk.data();
  CHECK(reader->Finish().ok());
  CHECK(absl::StrContains(file, "/usr/bin/true"));
}

TEST_CASE("A machine is trusted, and fails with the evil script it runs") {
  ServerRig rig;
  FakeMachine machine;
  rig.Provision(machine);

  Context watch_context;
  v1::WatchRequest watch;
  watch.set_with_present(true);
  const auto fleet = v1::Fleet::NewStub(rig.Fleet("pki/viewer"));
  const auto events = fleet->Watch(&watch_context, watch);
  v1::Event event;
  REQUIRE(events->Read(&event));
  CHECK(event.state() == v1::STATE_PENDING);

  Agent agent(rig, machine);
  agent.SayHello();
  CHECK(agent.Round()->state() == "TRUSTED");
  REQUIRE(events->Read(&event));
  CHECK(event.state() == v1::STATE_TRUSTED);

  machine.list.AddFile("/root/evil_script.sh",
                       Digest::Filled(HashAlgorithm::kSha256, 0xee));
  const auto verdict = agent.Round();
  REQUIRE(verdict.has_value());
  CHECK(verdict->state() == "FAILED");
  REQUIRE(verdict->findings_size() > 0);
  CHECK(verdict->findings(0) == "ima.not_in_policy");
  REQUIRE(events->Read(&event));
  CHECK(event.state() == v1::STATE_FAILED);
  CHECK(event.previous() == v1::STATE_TRUSTED);
  REQUIRE(event.findings_size() > 0);
  CHECK(event.findings(0).path() == "/root/evil_script.sh");
  watch_context.TryCancel();

  rig.server->Stop();
  const std::string log = rig.log_text();
  INFO(log);
  CHECK(absl::StrContains(log, "INFO - Checking IMA measurement list..."));
  CHECK(absl::StrContains(
      log, "WARNING - File not found in allowlist: /root/evil_script.sh"));
  CHECK(absl::StrContains(log,
                          "ERROR - IMA ERRORS: template-hash 0 fnf 1 hash 0"));
  CHECK(absl::StrContains(log, absl::StrCat("WARNING - agent ", kAgent,
                                            " failed, stopping polling")));
}

TEST_CASE("A stream that proves nothing changes nothing and is refused") {
  ServerRig rig;
  FakeMachine machine;
  rig.Provision(machine);
  SECTION("a message of no kind") {
    Agent agent(rig, machine);
    REQUIRE(agent.Send(v1::AgentMessage()));
    CHECK(agent.IsRefused());
  }
  SECTION("an id of the wrong size") {
    Agent agent(rig, machine);
    v1::AgentMessage message;
    message.mutable_hello()->set_agent_id("short");
    REQUIRE(agent.Send(message));
    CHECK(agent.IsRefused());
  }
  SECTION("a quote of more than 16 KiB") {
    Agent agent(rig, machine);
    agent.SayHello();
    CHECK(agent.Receive()->has_challenge());
    v1::AgentMessage message;
    message.mutable_quote()->set_attest(std::string(17 << 10, 'x'));
    REQUIRE(agent.Send(message));
    CHECK(agent.IsRefused());
  }
  SECTION("the list before the quote") {
    Agent agent(rig, machine);
    agent.SayHello();
    CHECK(agent.Receive()->has_challenge());
    agent.SendList();
    CHECK(agent.IsRefused());
  }
  SECTION("another machine's key") {
    FakeMachine other({HashAlgorithm::kSha256}, {.key_index = 1});
    Agent agent(rig, other);
    agent.SayHello();
    const auto message = agent.Receive();
    REQUIRE(message->has_challenge());
    agent.SendQuote(message->challenge());
    CHECK(agent.IsRefused());
  }
  const auto record = rig.store->GetAgent("default", *AgentId::Parse(kAgent));
  REQUIRE_THAT(record.status(), IsOk());
  CHECK(record->state == AgentState::kPending);
  CHECK_FALSE(record->last_seen.has_value());
}

TEST_CASE("A verifier does not start on a port that is taken") {
  ServerRig rig;
  config::VerifierConfig config = rig.config;
  const std::string& fleet = rig.server->addresses().fleet;
  config.fleet_listen.port =
      static_cast<uint16_t>(std::stoi(fleet.substr(fleet.rfind(':') + 1)));
  const auto second = Server::Start(config, *rig.store, rig.log);
  CHECK_THAT(second.status(),
             testing::StatusIs(absl::StatusCode::kUnavailable, "fleet_listen"));
}

}  // namespace
}  // namespace cupel::verifier
