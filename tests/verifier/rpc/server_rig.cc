#include "tests/verifier/rpc/server_rig.h"

#include <chrono>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "tests/support/status_matchers.h"
#include "tests/support/stream_agent.h"
#include "verifier/pki/operator_identity.h"
#include "verifier/pki/pki.h"

namespace cupel::verifier {

using ::cupel::testing::IsOk;
using ::cupel::testing::TlsChannel;

ServerRig::ServerRig(const Change& change, const SqlStoreOptions& store_options)
    : log({.sink = [this](absl::string_view line) {
        const std::lock_guard<std::mutex> lock(log_mutex_);
        absl::StrAppend(&log_text_, line);
      }}) {
  MakePki("pki");
  REQUIRE_THAT(IssueOperator(folder / "pki", "viewer", "default",
                             OperatorRole::kViewer, absl::Now()),
               IsOk());
  REQUIRE_THAT(IssueOperator(folder / "pki", "other", "other",
                             OperatorRole::kAdmin, absl::Now()),
               IsOk());
  auto opened = SqlStore::Open(folder / "store.db", store_options);
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
  if (change) change(config);
  auto started = Server::Start(config, *store, log);
  REQUIRE_THAT(started.status(), IsOk());
  server = *std::move(started);
}

void ServerRig::MakePki(const std::string& name) {
  REQUIRE_THAT(InitPki({.dir = folder / name,
                        .dns_names = {"localhost"},
                        .addresses = {"127.0.0.1"}},
                       absl::Now()),
               IsOk());
}

std::shared_ptr<grpc::Channel> ServerRig::Fleet(const std::string& from) const {
  return TlsChannel(server->addresses().fleet,
                    folder / "pki/ca/certificate.pem",
                    from.empty() ? "" : folder / from);
}

std::unique_ptr<v1::Fleet::Stub> ServerRig::FleetStub(
    const std::string& from) const {
  return v1::Fleet::NewStub(Fleet(from));
}

std::unique_ptr<v1::Policies::Stub> ServerRig::PoliciesStub(
    const std::string& from) const {
  return v1::Policies::NewStub(Fleet(from));
}

std::shared_ptr<grpc::Channel> ServerRig::Attest() const {
  return TlsChannel(server->addresses().attest,
                    folder / "pki/ca/certificate.pem", "");
}

grpc::Status ServerRig::Add(const std::string& from, const std::string& id,
                            bool trust) const {
  Context context;
  v1::AddAgentRequest request;
  request.set_agent_id(id);
  request.set_trust_on_first_use(trust);
  request.mutable_settings()->set_boot("any");
  v1::AddAgentReply reply;
  return FleetStub(from)->AddAgent(&context, request, &reply);
}

std::vector<std::string> ServerRig::List(const std::string& from) const {
  Context context;
  v1::ListAgentsReply reply;
  const grpc::Status status =
      FleetStub(from)->ListAgents(&context, v1::ListAgentsRequest(), &reply);
  REQUIRE(status.ok());
  std::vector<std::string> ids;
  for (const v1::Agent& agent : reply.agents()) ids.push_back(agent.agent_id());
  return ids;
}

grpc::Status ServerRig::PutPolicy(const std::string& from,
                                  const std::string& name,
                                  const std::string& file,
                                  v1::PutPolicyReply& reply,
                                  size_t missing_size) const {
  Context context;
  const auto stub = PoliciesStub(from);
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

v1::Agent ServerRig::Get(const std::string& id) const {
  Context context;
  v1::GetAgentRequest request;
  request.set_agent_id(id);
  v1::Agent agent;
  const grpc::Status status =
      FleetStub("pki/operator")->GetAgent(&context, request, &agent);
  INFO(status.error_message());
  REQUIRE(status.ok());
  return agent;
}

void ServerRig::Deny(const std::string& from) const {
  const auto identity =
      OperatorIdentityFromPem(TextOf(folder / (from + "/certificate.pem")));
  REQUIRE_THAT(identity.status(), IsOk());
  REQUIRE_THAT(WriteFile(config.client_deny_list, identity->spki_sha256 + "\n"),
               IsOk());
}

void ServerRig::Provision(const testing::FakeMachine& machine) {
  REQUIRE_THAT(
      testing::EnrollMachine(*store, *AgentId::Parse(kAgent), machine, "an EK"),
      IsOk());
  v1::PutPolicyReply put;
  const grpc::Status stored =
      PutPolicy("pki/operator", "base", testing::AllowlistOf(machine), put);
  INFO(stored.error_message());
  REQUIRE(stored.ok());
  Context context;
  v1::AddAgentRequest request;
  request.set_agent_id(kAgent);
  request.set_trust_on_first_use(true);
  request.mutable_settings()->set_boot("any");
  request.mutable_settings()->add_policies("base");
  v1::AddAgentReply reply;
  const grpc::Status added =
      FleetStub("pki/operator")->AddAgent(&context, request, &reply);
  INFO(added.error_message());
  REQUIRE(added.ok());
}

std::string ServerRig::log_text() const {
  const std::lock_guard<std::mutex> lock(log_mutex_);
  return log_text_;
}

void ServerRig::AwaitLog(const std::string& text) const {
  for (int tries = 0; !absl::StrContains(log_text(), text); ++tries) {
    INFO(log_text());
    REQUIRE(tries < 3000);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

}  // namespace cupel::verifier
