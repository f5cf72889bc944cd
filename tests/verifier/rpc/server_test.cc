// A whole verifier in this process, over TLS on loopback and a store on disk.
#include "verifier/rpc/server.h"

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "proto/cupel/v1/attestation.grpc.pb.h"
#include "proto/cupel/v1/fleet.grpc.pb.h"
#include "tests/support/evidence_builder.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_folder.h"
#include "verifier/pki/pki.h"
#include "verifier/session/qualifying_data.h"
#include "verifier/store/sql_store.h"

namespace cupel::verifier {
namespace {

using ::cupel::crypto::Digest;
using ::cupel::crypto::HashAlgorithm;
using ::cupel::testing::FakeMachine;
using ::cupel::testing::IsOk;
using ::cupel::testing::TemporaryFolder;

constexpr char kAgent[] = "d432fbb3-d2f1-4a97-9ef7-75bd81c00000";

std::string ReadText(const std::string& path) {
  const auto bytes = ReadFile(path, 1 << 20);
  REQUIRE_THAT(bytes.status(), IsOk());
  return std::string(AsText(*bytes));
}

struct Context : grpc::ClientContext {
  Context() {
    set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
  }
};

class Rig {
 public:
  Rig() {
    MakePki("pki");
    REQUIRE_THAT(IssueOperator(folder / "pki", "viewer", "default",
                               OperatorRole::kViewer, absl::Now()),
                 IsOk());
    REQUIRE_THAT(IssueOperator(folder / "pki", "other", "other",
                               OperatorRole::kAdmin, absl::Now()),
                 IsOk());
    auto opened = SqlStore::Open(folder / "store.db");
    REQUIRE_THAT(opened.status(), IsOk());
    store = *std::move(opened);
    config.attest_listen = {"127.0.0.1", 0};
    config.fleet_listen = {"127.0.0.1", 0};
    config.metrics_listen.reset();
    config.tls_certificate = folder / "pki/server/certificate.pem";
    config.tls_key = folder / "pki/server/key.pem";
    config.client_ca = folder / "pki/client-ca/certificate.pem";
    config.client_deny_list = folder / "denied";
    config.accept_unknown_ek_issuer = true;
    REQUIRE_THAT(WriteFile(config.client_deny_list, ""), IsOk());
    auto started = Server::Start(config, *store, log);
    REQUIRE_THAT(started.status(), IsOk());
    server = *std::move(started);
  }

  void MakePki(const std::string& name) {
    REQUIRE_THAT(InitPki({.dir = folder / name,
                          .dns_names = {"localhost"},
                          .addresses = {"127.0.0.1"}},
                         absl::Now()),
                 IsOk());
  }

  // To the fleet listener, as the operator in `from`; empty: nobody.
  std::shared_ptr<grpc::Channel> Fleet(const std::string& from) {
    grpc::SslCredentialsOptions tls;
    tls.pem_root_certs = ReadText(folder / "pki/ca/certificate.pem");
    if (!from.empty()) {
      tls.pem_cert_chain = ReadText(folder / (from + "/certificate.pem"));
      tls.pem_private_key = ReadText(folder / (from + "/key.pem"));
    }
    return Connect(server->addresses().fleet, tls);
  }
  std::shared_ptr<grpc::Channel> Attest() {
    grpc::SslCredentialsOptions tls;
    tls.pem_root_certs = ReadText(folder / "pki/ca/certificate.pem");
    return Connect(server->addresses().attest, tls);
  }

  // The call's status, for the operator in `from`.
  grpc::Status Add(const std::string& from, const std::string& id,
                   bool trust = true) {
    Context context;
    v1::AddAgentRequest request;
    request.set_agent_id(id);
    request.set_trust_on_first_use(trust);
    request.mutable_settings()->set_boot("any");
    v1::AddAgentReply reply;
    return v1::Fleet::NewStub(Fleet(from))->AddAgent(&context, request, &reply);
  }
  std::vector<std::string> List(const std::string& from) {
    Context context;
    v1::ListAgentsReply reply;
    const grpc::Status status =
        v1::Fleet::NewStub(Fleet(from))
            ->ListAgents(&context, v1::ListAgentsRequest(), &reply);
    REQUIRE(status.ok());
    std::vector<std::string> ids;
    for (const v1::Agent& agent : reply.agents()) {
      ids.push_back(agent.agent_id());
    }
    return ids;
  }
  grpc::Status PutPolicy(const std::string& from, const std::string& name,
                         const std::string& file, v1::PutPolicyReply& reply,
                         size_t missing_size = 0) {
    Context context;
    const auto stub = v1::Policies::NewStub(Fleet(from));
    const auto writer = stub->Put(&context, &reply);
    v1::PutPolicyRequest request;
    request.set_name(name);
    request.set_create(true);
    request.set_size(file.size());
    writer->Write(request);
    request.Clear();
    request.set_data(file.substr(0, file.size() - missing_size));
    writer->Write(request);
    writer->WritesDone();
    return writer->Finish();
  }

  TemporaryFolder folder;
  std::string log_text;
  Logger log{{.sink = [this](absl::string_view line) {
    absl::StrAppend(&log_text, line);
  }}};
  config::VerifierConfig config;
  std::unique_ptr<SqlStore> store;
  std::unique_ptr<Server> server;

 private:
  static std::shared_ptr<grpc::Channel> Connect(
      const std::string& address, const grpc::SslCredentialsOptions& tls) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return grpc::CreateCustomChannel(address, grpc::SslCredentials(tls),
                                     arguments);
  }
};

TEST_CASE("An admin adds agents, and sees those of the tenant alone") {
  Rig rig;
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
  CHECK(v1::Fleet::NewStub(rig.Fleet("pki/other"))
            ->GetAgent(&context, request, &agent)
            .error_code() == grpc::StatusCode::NOT_FOUND);
}

TEST_CASE("add wants a fingerprint or the wish to trust") {
  Rig rig;
  CHECK(rig.Add("pki/operator", kAgent, /*trust=*/false).error_code() ==
        grpc::StatusCode::INVALID_ARGUMENT);
  CHECK(rig.Add("pki/operator", "no id").error_code() ==
        grpc::StatusCode::INVALID_ARGUMENT);
  CHECK(rig.List("pki/operator").empty());
}

TEST_CASE("A viewer changes nothing") {
  Rig rig;
  CHECK(rig.Add("pki/viewer", kAgent).error_code() ==
        grpc::StatusCode::PERMISSION_DENIED);
  v1::PutPolicyReply reply;
  CHECK(rig.PutPolicy("pki/viewer", "base", "", reply).error_code() ==
        grpc::StatusCode::PERMISSION_DENIED);
  CHECK(rig.List("pki/operator").empty());
}

TEST_CASE("Who has no certificate, or one of another CA, does not get in") {
  Rig rig;
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
  Rig rig;
  CHECK(rig.Add("pki/operator", kAgent).ok());
  const auto identity = OperatorIdentityFromPem(
      ReadText(rig.folder / "pki/operator/certificate.pem"));
  REQUIRE_THAT(identity.status(), IsOk());
  REQUIRE_THAT(
      WriteFile(rig.config.client_deny_list, identity->spki_sha256 + "\n"),
      IsOk());
  CHECK(rig.Add("pki/operator", kAgent).error_code() ==
        grpc::StatusCode::UNAUTHENTICATED);
  CHECK(rig.List("pki/viewer").size() == 1);
}

TEST_CASE("The listener of agents serves no operators") {
  Rig rig;
  Context context;
  v1::ListAgentsReply reply;
  CHECK(v1::Fleet::NewStub(rig.Attest())
            ->ListAgents(&context, v1::ListAgentsRequest(), &reply)
            .error_code() == grpc::StatusCode::UNIMPLEMENTED);
}

TEST_CASE("A policy is checked before it is stored") {
  Rig rig;
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

// An agent's part of a stream, by hand.
class Agent {
 public:
  Agent(Rig& rig, FakeMachine& machine)
      : machine_(machine),
        stub_(v1::Attestation::NewStub(rig.Attest())),
        stream_(stub_->Attest(&context_)) {}

  bool Send(const v1::AgentMessage& message) { return stream_->Write(message); }
  void SayHello() {
    v1::AgentMessage message;
    v1::Hello& hello = *message.mutable_hello();
    hello.set_agent_id(std::string(AsText(AgentId::Parse(kAgent)->bytes())));
    hello.set_protocol_version(1);
    hello.add_banks("sha256");
    hello.add_list_pcrs(10);
    REQUIRE(Send(message));
  }
  v1::VerifierMessage Receive() {
    v1::VerifierMessage message;
    REQUIRE(stream_->Read(&message));
    return message;
  }

  // Answers challenges with the present list until there is a verdict.
  v1::Verdict Round() {
    while (true) {
      const v1::VerifierMessage message = Receive();
      INFO(message.ShortDebugString());
      REQUIRE_FALSE(message.has_refusal());
      if (message.has_challenge()) {
        SendQuote(message.challenge());
        if (proven_) SendList();
      }
      if (message.has_list_request()) {
        offset_ = message.list_request().byte_offset();
        proven_ = true;
        SendList();
      }
      if (message.has_verdict()) {
        offset_ = message.verdict().next_byte_offset();
        return message.verdict();
      }
    }
  }

  void SendList() {
    v1::AgentMessage message;
    const std::vector<uint8_t>& list = machine_.list.bytes();
    message.mutable_chunk()->set_data(list.data() + offset_,
                                      list.size() - offset_);
    message.mutable_chunk()->set_last(true);
    REQUIRE(Send(message));
  }

  void SendQuote(const v1::Challenge& challenge) {
    std::vector<tpm::BankSelection> banks;
    testing::FakeTpm tpm = machine_.tpm;
    tpm.pcrs = {};
    v1::AgentMessage message;
    v1::Quote& quote = *message.mutable_quote();
    for (const v1::BankSelection& selection : challenge.selection()) {
      const auto bank = crypto::HashAlgorithmFromName(selection.bank());
      REQUIRE(bank.has_value());
      tpm::BankSelection wanted{.bank = *bank};
      for (const uint32_t pcr : selection.pcrs()) {
        wanted.mask |= 1U << pcr;
        const auto set = machine_.pcrs.find({*bank, pcr});
        const Digest value = set != machine_.pcrs.end()
                                 ? set->second
                                 : machine_.list.Pcr(*bank, pcr);
        REQUIRE_THAT(tpm.pcrs.Set(pcr, value), IsOk());
        v1::PcrValue& reported = *quote.add_pcrs();
        reported.set_bank(selection.bank());
        reported.set_pcr(pcr);
        reported.set_value(std::string(AsText(value.bytes())));
      }
      banks.push_back(wanted);
    }
    const testing::FakeQuote made = tpm.Quote(
        *tpm::PcrSelection::Create(banks),
        QuoteQualifyingData(AsBytes(challenge.nonce()), *AgentId::Parse(kAgent),
                            AsBytes(challenge.certificate_sha256())));
    quote.set_attest(std::string(AsText(made.attest)));
    quote.set_signature(std::string(AsText(made.signature)));
    quote.set_nonce(challenge.nonce());
    REQUIRE(Send(message));
  }

 private:
  FakeMachine& machine_;
  Context context_;
  std::unique_ptr<v1::Attestation::Stub> stub_;
  std::unique_ptr<
      grpc::ClientReaderWriter<v1::AgentMessage, v1::VerifierMessage>>
      stream_;
  uint64_t offset_ = 0;
  bool proven_ = false;
};

// As an enrolment by `machine` leaves the store.
void Enroll(Rig& rig, const FakeMachine& machine) {
  Enrollment enrollment;
  enrollment.ek_certificate = {1, 2, 3};
  enrollment.ek_sha256 = std::string(64, 'e');
  enrollment.ek_name = machine.tpm.ek_name();
  enrollment.ak_public = machine.tpm.ak().Serialize();
  enrollment.ak_name = machine.tpm.ak().Name();
  enrollment.time = absl::Now();
  enrollment.address = "127.0.0.1";
  const std::vector<uint8_t> nonce(32, 7);
  REQUIRE_THAT(rig.store
                   ->Enroll(*AgentId::Parse(kAgent), enrollment, nonce,
                            absl::Now(), "", 16)
                   .status(),
               IsOk());
}

void Provision(Rig& rig, const FakeMachine& machine) {
  std::string allowlist;
  for (const auto& [path, digests] : machine.policy.digests) {
    for (const Digest& digest : digests) {
      absl::StrAppend(&allowlist, digest.Hex(), "  ", path, "\n");
    }
  }
  v1::PutPolicyReply put;
  const grpc::Status stored =
      rig.PutPolicy("pki/operator", "base", allowlist, put);
  INFO(stored.error_message());
  REQUIRE(stored.ok());
  Context context;
  v1::AddAgentRequest request;
  request.set_agent_id(kAgent);
  request.set_trust_on_first_use(true);
  request.mutable_settings()->set_boot("any");
  request.mutable_settings()->add_policies("base");
  v1::AddAgentReply reply;
  const grpc::Status added = v1::Fleet::NewStub(rig.Fleet("pki/operator"))
                                 ->AddAgent(&context, request, &reply);
  INFO(added.error_message());
  REQUIRE(added.ok());
}

TEST_CASE("A machine is trusted, and fails with the evil script it runs") {
  Rig rig;
  FakeMachine machine;
  Enroll(rig, machine);
  Provision(rig, machine);

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
  CHECK(agent.Round().state() == "TRUSTED");
  REQUIRE(events->Read(&event));
  CHECK(event.state() == v1::STATE_TRUSTED);

  machine.list.AddFile("/root/evil_script.sh",
                       Digest::Filled(HashAlgorithm::kSha256, 0xee));
  const v1::Verdict verdict = agent.Round();
  CHECK(verdict.state() == "FAILED");
  REQUIRE(verdict.findings_size() > 0);
  CHECK(verdict.findings(0) == "ima.not_in_policy");
  REQUIRE(events->Read(&event));
  CHECK(event.state() == v1::STATE_FAILED);
  CHECK(event.previous() == v1::STATE_TRUSTED);
  REQUIRE(event.findings_size() > 0);
  CHECK(event.findings(0).path() == "/root/evil_script.sh");
  watch_context.TryCancel();

  rig.server->Stop();
  INFO(rig.log_text);
  CHECK(absl::StrContains(rig.log_text,
                          "INFO - Checking IMA measurement list..."));
  CHECK(absl::StrContains(
      rig.log_text,
      "WARNING - File not found in allowlist: /root/evil_script.sh"));
  CHECK(absl::StrContains(rig.log_text,
                          "ERROR - IMA ERRORS: template-hash 0 fnf 1 hash 0"));
  CHECK(absl::StrContains(rig.log_text,
                          absl::StrCat("WARNING - agent ", kAgent, " failed")));
}

TEST_CASE("A stream that proves nothing changes nothing and is refused") {
  Rig rig;
  FakeMachine machine;
  Enroll(rig, machine);
  Provision(rig, machine);
  SECTION("a message of no kind") {
    Agent agent(rig, machine);
    REQUIRE(agent.Send(v1::AgentMessage()));
    CHECK(agent.Receive().has_refusal());
  }
  SECTION("an id of the wrong size") {
    Agent agent(rig, machine);
    v1::AgentMessage message;
    message.mutable_hello()->set_agent_id("short");
    REQUIRE(agent.Send(message));
    CHECK(agent.Receive().has_refusal());
  }
  SECTION("a quote of more than 16 KiB") {
    Agent agent(rig, machine);
    agent.SayHello();
    CHECK(agent.Receive().has_challenge());
    v1::AgentMessage message;
    message.mutable_quote()->set_attest(std::string(17 << 10, 'x'));
    REQUIRE(agent.Send(message));
    CHECK(agent.Receive().has_refusal());
  }
  SECTION("the list before the quote") {
    Agent agent(rig, machine);
    agent.SayHello();
    CHECK(agent.Receive().has_challenge());
    agent.SendList();
    CHECK(agent.Receive().has_refusal());
  }
  SECTION("another machine's key") {
    FakeMachine other({HashAlgorithm::kSha256}, {.key_index = 1});
    Agent agent(rig, other);
    agent.SayHello();
    const v1::VerifierMessage message = agent.Receive();
    REQUIRE(message.has_challenge());
    agent.SendQuote(message.challenge());
    CHECK(agent.Receive().has_refusal());
  }
  const auto record = rig.store->GetAgent("default", *AgentId::Parse(kAgent));
  REQUIRE_THAT(record.status(), IsOk());
  CHECK(record->state == AgentState::kPending);
  CHECK_FALSE(record->last_seen.has_value());
}

TEST_CASE("A verifier does not start on a port that is taken") {
  Rig rig;
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
