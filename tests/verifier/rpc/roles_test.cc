// Who may do what on the fleet's listener, call by call.
#include <cstdio>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "catch2/catch.hpp"
#include "google/protobuf/descriptor.h"
#include "tests/support/evidence_builder.h"
#include "tests/support/status_matchers.h"
#include "tests/verifier/rpc/server_rig.h"
#include "verifier/pki/certificate.h"
#include "verifier/pki/pki.h"

namespace cupel::verifier {
namespace {

using ::cupel::testing::FakeMachine;
using ::cupel::testing::IsOk;
using Code = grpc::StatusCode;

// A call with the least that it needs, about the agent kAgent and the policy
// "base" or "mine".
using Call = std::function<grpc::Status(const ServerRig&, const std::string&)>;

template <typename Request, typename Reply>
Call Unary(grpc::Status (v1::Fleet::Stub::*method)(grpc::ClientContext*,
                                                   const Request&, Reply*),
           std::function<void(Request&)> fill) {
  return [=](const ServerRig& rig, const std::string& from) {
    Context context;
    Request request;
    fill(request);
    Reply reply;
    return ((*rig.FleetStub(from)).*method)(&context, request, &reply);
  };
}

template <typename Request>
void FillId(Request& request) {
  request.set_agent_id(kAgent);
}

grpc::Status Watch(const ServerRig& rig, const std::string& from) {
  Context context;
  v1::WatchRequest request;
  request.set_with_present(true);
  const auto stub = rig.FleetStub(from);
  const auto reader = stub->Watch(&context, request);
  v1::Event event;
  // Whoever is let in sees the agent.
  if (reader->Read(&event)) {
    context.TryCancel();
    reader->Finish();
    return grpc::Status::OK;
  }
  return reader->Finish();
}

grpc::Status GetPolicy(const ServerRig& rig, const std::string& from) {
  Context context;
  v1::GetPolicyRequest request;
  request.set_name("base");
  const auto stub = rig.PoliciesStub(from);
  const auto reader = stub->Get(&context, request);
  v1::PolicyChunk chunk;
  while (reader->Read(&chunk)) {
  }
  return reader->Finish();
}

grpc::Status ListPolicies(const ServerRig& rig, const std::string& from) {
  Context context;
  v1::ListPoliciesReply reply;
  return rig.PoliciesStub(from)->List(&context, v1::ListPoliciesRequest(),
                                      &reply);
}

grpc::Status DeletePolicy(const ServerRig& rig, const std::string& from) {
  Context context;
  v1::DeletePolicyRequest request;
  request.set_name("base");
  v1::DeletePolicyReply reply;
  return rig.PoliciesStub(from)->Delete(&context, request, &reply);
}

grpc::Status PutPolicy(const ServerRig& rig, const std::string& from) {
  v1::PutPolicyReply reply;
  return rig.PutPolicy(from, "mine", std::string(64, 'a') + "  /bin/true\n",
                       reply);
}

const std::map<std::string, Call>& Changes() {
  static const auto& calls = *new std::map<std::string, Call>{
      {"AddAgent",
       [](const ServerRig& rig, const std::string& from) {
         return rig.Add(from, "d432fbb3-d2f1-4a97-9ef7-75bd81c00009");
       }},
      {"UpdateAgents", Unary<v1::UpdateAgentRequest, v1::UpdateAgentReply>(
                           &v1::Fleet::Stub::UpdateAgents,
                           [](v1::UpdateAgentRequest& request) {
                             request.mutable_selector()->set_agent_id(kAgent);
                             request.add_changed("labels");
                           })},
      {"DeleteAgent",
       Unary<v1::DeleteAgentRequest, v1::DeleteAgentReply>(
           &v1::Fleet::Stub::DeleteAgent, FillId<v1::DeleteAgentRequest>)},
      {"Reactivate",
       Unary<v1::ReactivateRequest, v1::ReactivateReply>(
           &v1::Fleet::Stub::Reactivate, FillId<v1::ReactivateRequest>)},
      {"Stop", Unary<v1::StopRequest, v1::StopReply>(&v1::Fleet::Stub::Stop,
                                                     FillId<v1::StopRequest>)},
      {"AttestNow",
       Unary<v1::AttestNowRequest, v1::AttestNowReply>(
           &v1::Fleet::Stub::AttestNow, FillId<v1::AttestNowRequest>)},
      {"CreateToken",
       Unary<v1::CreateTokenRequest, v1::CreateTokenReply>(
           &v1::Fleet::Stub::CreateToken, [](v1::CreateTokenRequest&) {})},
      {"AllowEks", Unary<v1::AllowEksRequest, v1::AllowEksReply>(
                       &v1::Fleet::Stub::AllowEks,
                       [](v1::AllowEksRequest& request) {
                         request.add_ek_sha256(std::string(64, 'a'));
                       })},
      {"Put", PutPolicy},
      {"Delete", DeletePolicy},
  };
  return calls;
}

const std::map<std::string, Call>& Looks() {
  static const auto& calls = *new std::map<std::string, Call>{
      {"GetAgent",
       Unary<v1::GetAgentRequest, v1::Agent>(&v1::Fleet::Stub::GetAgent,
                                             FillId<v1::GetAgentRequest>)},
      {"ListAgents",
       Unary<v1::ListAgentsRequest, v1::ListAgentsReply>(
           &v1::Fleet::Stub::ListAgents, [](v1::ListAgentsRequest&) {})},
      {"ListEnrolled",
       Unary<v1::ListEnrolledRequest, v1::ListEnrolledReply>(
           &v1::Fleet::Stub::ListEnrolled, [](v1::ListEnrolledRequest&) {})},
      {"ListAllowedEks",
       Unary<v1::ListAllowedEksRequest, v1::ListAllowedEksReply>(
           &v1::Fleet::Stub::ListAllowedEks,
           [](v1::ListAllowedEksRequest&) {})},
      {"Watch", Watch},
      {"List", ListPolicies},
      {"Get", GetPolicy},
  };
  return calls;
}

std::map<std::string, Call> AllCalls() {
  std::map<std::string, Call> calls = Changes();
  calls.insert(Looks().begin(), Looks().end());
  return calls;
}

// What the store holds of "default", for who compares.
std::string Content(const ServerRig& rig) {
  std::string content;
  AgentFilter filter;
  filter.tenant = "default";
  const auto agents = rig.store->ListAgents(filter);
  REQUIRE_THAT(agents.status(), IsOk());
  for (const AgentRecord& agent : *agents) {
    absl::StrAppend(&content, agent.id.ToString(), " ",
                    AgentStateName(agent.state), " ", agent.policy_epoch, "\n");
  }
  const auto policies = rig.store->ListPolicies("default");
  REQUIRE_THAT(policies.status(), IsOk());
  for (const PolicyRecord& policy : *policies) {
    absl::StrAppend(&content, policy.name, " ", policy.version, "\n");
  }
  return content;
}

TEST_CASE("Every call of both services is in one of the tables") {
  size_t count = 0;
  const auto calls = AllCalls();
  for (const char* const service : {"cupel.v1.Fleet", "cupel.v1.Policies"}) {
    const auto* const descriptor =
        google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(
            service);
    REQUIRE(descriptor != nullptr);
    for (int i = 0; i < descriptor->method_count(); ++i, ++count) {
      CAPTURE(descriptor->method(i)->full_name());
      CHECK(calls.contains(descriptor->method(i)->name()));
    }
  }
  CHECK(count == calls.size());
}

TEST_CASE("A viewer looks at everything and changes nothing [A19]") {
  ServerRig rig;
  rig.Provision(FakeMachine());
  const std::string before = Content(rig);
  for (const auto& [name, call] : Changes()) {
    CAPTURE(name);
    const grpc::Status status = call(rig, "pki/viewer");
    CHECK(status.error_code() == Code::PERMISSION_DENIED);
    CHECK(absl::StrContains(status.error_message(), "admin"));
    rig.AwaitLog(absl::StrCat(
        "operator refused call=",
        name == "Put" || name == "Delete" ? "Policies." : "Fleet.", name));
  }
  CHECK(Content(rig) == before);
  for (const auto& [name, call] : Looks()) {
    CAPTURE(name);
    const grpc::Status status = call(rig, "pki/viewer");
    INFO(status.error_message());
    CHECK(status.ok());
  }
}

TEST_CASE("Another tenant's objects don't exist, whoever asks [A19]") {
  ServerRig rig;
  rig.Provision(FakeMachine());
  const std::string before = Content(rig);
  for (const char* const name :
       {"UpdateAgents", "DeleteAgent", "Reactivate", "Stop", "AttestNow",
        "GetAgent", "Get", "Delete"}) {
    CAPTURE(name);
    const grpc::Status foreign = AllCalls().at(name)(rig, "pki/other");
    CHECK(foreign.error_code() == Code::NOT_FOUND);
    // In the words of what is nobody's.
    CHECK_FALSE(absl::StrContains(foreign.error_message(), "tenant"));
  }
  CHECK(rig.List("pki/other").empty());
  Context context;
  v1::ListPoliciesReply policies;
  REQUIRE(rig.PoliciesStub("pki/other")
              ->List(&context, v1::ListPoliciesRequest(), &policies)
              .ok());
  CHECK(policies.policies().empty());
  // An id that is taken is taken, and no more is said.
  CHECK(rig.Add("pki/other", kAgent).error_code() == Code::ALREADY_EXISTS);
  CHECK(Content(rig) == before);

  // Nor does it hear of what happens there.
  Context watching;
  const auto stub = rig.FleetStub("pki/other");
  v1::WatchRequest request;
  request.set_with_present(true);
  const auto reader = stub->Watch(&watching, request);
  const std::string own = "d432fbb3-d2f1-4a97-9ef7-75bd81c00007";
  REQUIRE(Changes().at("Stop")(rig, "pki/operator").ok());
  REQUIRE(rig.Add("pki/other", own).ok());
  v1::Event event;
  REQUIRE(reader->Read(&event));
  CHECK(event.agent_id() == own);
}

TEST_CASE("A key that is denied is refused at each call, on open connections") {
  ServerRig rig;
  rig.Provision(FakeMachine());
  for (const auto& [name, call] : Looks()) {
    CAPTURE(name);
    CHECK(call(rig, "pki/viewer").ok());
  }
  const auto connected = rig.FleetStub("pki/operator");
  Context context;
  v1::ListAgentsReply reply;
  REQUIRE(
      connected->ListAgents(&context, v1::ListAgentsRequest(), &reply).ok());
  rig.Deny("pki/operator");
  Context again;
  CHECK(connected->ListAgents(&again, v1::ListAgentsRequest(), &reply)
            .error_code() == Code::UNAUTHENTICATED);
  const std::string before = Content(rig);
  for (const auto& [name, call] : AllCalls()) {
    CAPTURE(name);
    CHECK(call(rig, "pki/operator").error_code() == Code::UNAUTHENTICATED);
  }
  CHECK(Content(rig) == before);
  CHECK(Looks().at("ListAgents")(rig, "pki/viewer").ok());
}

TEST_CASE("A watch ends when its operator's key is denied [A41]") {
  ServerRig rig;
  rig.Provision(FakeMachine());
  Context context;
  v1::WatchRequest request;
  request.set_with_present(true);
  const auto stub = rig.FleetStub("pki/viewer");
  const auto reader = stub->Watch(&context, request);
  v1::Event event;
  REQUIRE(reader->Read(&event));
  rig.Deny("pki/viewer");
  CHECK_FALSE(reader->Read(&event));
  CHECK(reader->Finish().error_code() == Code::UNAUTHENTICATED);
  // And while the list can't be read, nobody watches.
  Context other;
  const auto admin = rig.FleetStub("pki/operator");
  const auto second = admin->Watch(&other, request);
  REQUIRE(second->Read(&event));
  REQUIRE(std::remove(rig.config.client_deny_list.c_str()) == 0);
  CHECK_FALSE(second->Read(&event));
  CHECK(second->Finish().error_code() == Code::UNAUTHENTICATED);
}

TEST_CASE("Calls and streams end with the operator's certificate [A41]") {
  ServerRig rig;
  rig.Provision(FakeMachine());
  REQUIRE_THAT(IssueOperator(rig.folder / "pki", "brief", "default",
                             OperatorRole::kAdmin, absl::Now(),
                             {.leaf = absl::Seconds(8)}),
               IsOk());
  const auto stub = rig.FleetStub("pki/brief");
  const auto policies = rig.PoliciesStub("pki/brief");
  Context watching;
  v1::WatchRequest request;
  request.set_with_present(true);
  const auto reader = stub->Watch(&watching, request);
  v1::Event event;
  REQUIRE(reader->Read(&event));
  // A policy that is on its way is not kept for who is no operator any more.
  Context putting;
  v1::PutPolicyReply put;
  const auto writer = policies->Put(&putting, &put);
  v1::PutPolicyRequest piece;
  const std::string file = std::string(64, 'a') + "  /bin/true\n";
  piece.set_name("late");
  piece.set_create(true);
  piece.set_size(file.size());
  REQUIRE(writer->Write(piece));

  CHECK_FALSE(reader->Read(&event));
  const grpc::Status ended = reader->Finish();
  CHECK(ended.error_code() == Code::UNAUTHENTICATED);
  CHECK(absl::StrContains(ended.error_message(), "expired"));

  piece.Clear();
  piece.set_data(file);
  writer->Write(piece);
  writer->WritesDone();
  CHECK(writer->Finish().error_code() == Code::UNAUTHENTICATED);
  CHECK_FALSE(rig.store->GetPolicy("default", "late").ok());
  // The connection is open still, and carries no further call.
  Context context;
  v1::ListAgentsReply reply;
  CHECK(stub->ListAgents(&context, v1::ListAgentsRequest(), &reply)
            .error_code() == Code::UNAUTHENTICATED);
}

TEST_CASE("What an operator changes stands in the log, escaped") {
  ServerRig rig;
  rig.Provision(FakeMachine());
  REQUIRE(Changes().at("Stop")(rig, "pki/operator").ok());
  rig.AwaitLog(
      "INFO - operator's call call=Fleet.Stop operator=\"admin cupel admin of "
      "default (spki ");
  CHECK(absl::StrContains(rig.log_text(), "tenant=default result=OK"));
  CHECK(Changes().at("Delete")(rig, "pki/operator").error_code() ==
        Code::FAILED_PRECONDITION);
  rig.AwaitLog("call=Policies.Delete");
  CHECK(absl::StrContains(rig.log_text(), "result=\"FAILED_PRECONDITION: "));
  CHECK_FALSE(absl::StrContains(rig.log_text(), "call=Fleet.GetAgent"));
}

}  // namespace
}  // namespace cupel::verifier
