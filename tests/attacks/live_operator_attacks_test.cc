// Attacks on a running verifier's port for operators, and on those who read
// what it says. Each begins with an agent that it trusts.
#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/crypto/certificate.h"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "tests/attacks/live_scene.h"
#include "tests/support/hostile_text.h"
#include "tests/support/run_command.h"
#include "tests/support/status_matchers.h"
#include "verifier/pki/certificate.h"

namespace cupel::testing {
namespace {

using ::cupel::verifier::AgentState;
using ::cupel::verifier::OperatorRole;

constexpr char kClientAuth[] = "1.3.6.1.5.5.7.3.2";
constexpr char kServerAuth[] = "1.3.6.1.5.5.7.3.1";

// What a call of the fleet's services comes to, for the agent `id` and the
// policy `policy`.
struct FleetCall {
  const char* name;
  bool changes;
  std::function<grpc::Status(Operator&, const std::string& id,
                             const std::string& policy)>
      call;
};

// Reads a stream of events until it ends or has said one thing.
grpc::Status WatchOnce(Operator& who, const std::string& id, bool& any) {
  CallContext context;
  context.set_deadline(std::chrono::system_clock::now() +
                       std::chrono::milliseconds(500));
  v1::WatchRequest request;
  request.mutable_selector()->set_agent_id(id);
  request.set_with_present(true);
  const auto reader = who.fleet->Watch(&context, request);
  v1::Event event;
  any = reader->Read(&event);
  if (any) context.TryCancel();
  return reader->Finish();
}

// Every rpc of Fleet and Policies that names an object.
std::vector<FleetCall> AllCalls() {
  using v1::Fleet;
  using v1::Policies;
  const auto by_id = [](auto request, const std::string& id) {
    request.set_agent_id(id);
    return request;
  };
  return {
      {"Fleet.UpdateAgents", true,
       [](Operator& who, const std::string& id, const std::string&) {
         v1::UpdateAgentRequest request;
         request.mutable_selector()->set_agent_id(id);
         request.mutable_settings()->set_lab(true);
         request.add_changed("lab");
         return who.Call(&Fleet::Stub::UpdateAgents, request);
       }},
      {"Fleet.DeleteAgent", true,
       [=](Operator& who, const std::string& id, const std::string&) {
         return who.Call(&Fleet::Stub::DeleteAgent,
                         by_id(v1::DeleteAgentRequest(), id));
       }},
      {"Fleet.GetAgent", false,
       [=](Operator& who, const std::string& id, const std::string&) {
         return who.Call(&Fleet::Stub::GetAgent,
                         by_id(v1::GetAgentRequest(), id));
       }},
      {"Fleet.ListAgents", false,
       [](Operator& who, const std::string& id, const std::string&) {
         v1::ListAgentsRequest request;
         request.mutable_selector()->set_agent_id(id);
         return who.Call(&Fleet::Stub::ListAgents, request);
       }},
      {"Fleet.Reactivate", true,
       [=](Operator& who, const std::string& id, const std::string&) {
         return who.Call(&Fleet::Stub::Reactivate,
                         by_id(v1::ReactivateRequest(), id));
       }},
      {"Fleet.Stop", true,
       [=](Operator& who, const std::string& id, const std::string&) {
         return who.Call(&Fleet::Stub::Stop, by_id(v1::StopRequest(), id));
       }},
      {"Fleet.AttestNow", true,
       [=](Operator& who, const std::string& id, const std::string&) {
         return who.Call(&Fleet::Stub::AttestNow,
                         by_id(v1::AttestNowRequest(), id));
       }},
      {"Policies.Put", true,
       [](Operator& who, const std::string&, const std::string& policy) {
         return who.PutPolicy(policy, std::string(64, 'a') + "  /evil\n",
                              /*create=*/false);
       }},
      {"Policies.Delete", true,
       [](Operator& who, const std::string&, const std::string& policy) {
         v1::DeletePolicyRequest request;
         request.set_name(policy);
         return who.Call(&Policies::Stub::Delete, request);
       }},
      {"Policies.Get", false,
       [](Operator& who, const std::string&, const std::string& policy) {
         std::string file;
         const grpc::Status status = who.GetPolicy(policy, file);
         CHECK(file.empty());
         return status;
       }},
  };
}

TEST_CASE("A19: another tenant's agents and policies don't exist") {
  LiveScene scene;
  Operator other = scene.verifier.As("pki/other");
  const std::string id = scene.victim.id().ToString();
  const std::string policy = PolicyNameOf(scene.victim);
  const std::string no_id = TestAgent(77).ToString();
  const std::string no_policy = "policy-of-nobody";
  for (const FleetCall& one : AllCalls()) {
    INFO(one.name);
    const grpc::Status status = one.call(other, id, policy);
    CHECK(status.error_code() == grpc::StatusCode::NOT_FOUND);
    // In the very words of what there is not.
    const grpc::Status none = one.call(other, no_id, no_policy);
    CHECK(absl::StrReplaceAll(status.error_message(),
                              {{id, "X"}, {policy, "X"}}) ==
          absl::StrReplaceAll(none.error_message(),
                              {{no_id, "X"}, {no_policy, "X"}}));
    // And what was tried is on record.
    if (one.changes) {
      CHECK(absl::StrContains(scene.verifier.log(),
                              absl::StrCat("call=", one.name)));
    }
  }
  CHECK(absl::StrContains(scene.verifier.log(), "tenant=other"));
  scene.CheckUnchanged();
  std::string file;
  CHECK(scene.verifier.As().GetPolicy(policy, file).ok());
  CHECK_FALSE(absl::StrContains(file, "/evil"));
  scene.CheckVictimLives();
}

TEST_CASE("A19: what selects several agents selects none of another tenant") {
  LiveScene scene({.settings = [](auto& settings) {
    (*settings.mutable_labels())["site"] = "x";
  }});
  Operator other = scene.verifier.As("pki/other");
  std::vector<v1::Selector> selectors(2);
  selectors[0].set_all(true);
  (*selectors[1].mutable_labels())["site"] = "x";
  for (const v1::Selector& selector : selectors) {
    v1::UpdateAgentRequest update;
    *update.mutable_selector() = selector;
    update.mutable_settings()->set_lab(true);
    update.add_changed("lab");
    v1::UpdateAgentReply updated;
    CHECK(other.Call(&v1::Fleet::Stub::UpdateAgents, update, &updated).ok());
    CHECK(updated.updated_count() == 0);
    v1::ListAgentsRequest list;
    *list.mutable_selector() = selector;
    v1::ListAgentsReply agents;
    CHECK(other.Call(&v1::Fleet::Stub::ListAgents, list, &agents).ok());
    CHECK(agents.agents().empty());
  }
  v1::ListAgentsRequest list;
  list.set_page_token(TestAgent(0).ToString());
  v1::ListAgentsReply agents;
  CHECK(other.Call(&v1::Fleet::Stub::ListAgents, list, &agents).ok());
  CHECK(agents.agents().empty());
  v1::ListEnrolledReply enrolled;
  CHECK(other
            .Call(&v1::Fleet::Stub::ListEnrolled, v1::ListEnrolledRequest(),
                  &enrolled)
            .ok());
  CHECK(enrolled.agents().empty());
  v1::ListPoliciesReply policies;
  CHECK(
      other
          .Call(&v1::Policies::Stub::List, v1::ListPoliciesRequest(), &policies)
          .ok());
  CHECK(policies.policies().empty());
  scene.CheckUnchanged();
}

TEST_CASE("A19: nobody hears of another tenant's agents") {
  LiveScene scene;
  Operator other = scene.verifier.As("pki/other");
  bool any = false;
  CHECK(WatchOnce(other, scene.victim.id().ToString(), any).error_code() ==
        grpc::StatusCode::DEADLINE_EXCEEDED);
  CHECK_FALSE(any);
  CallContext context;
  v1::WatchRequest request;
  request.set_with_present(true);
  const auto reader = other.fleet->Watch(&context, request);
  scene.victim.machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
  REQUIRE_THAT(scene.stream->Round(), StartsWith("FAILED"));
  // An agent of its own, later: it is the first that is told of.
  FakeTpmMachine own(scene.deployment.vendor, 2);
  scene.Enroll(own);
  scene.Add(own, "pki/other");
  v1::Event event;
  REQUIRE(reader->Read(&event));
  CHECK(event.agent_id() == own.id().ToString());
  context.TryCancel();
}

TEST_CASE("A19: another tenant's id, policy or enrolment can't be taken") {
  LiveScene scene;
  Operator other = scene.verifier.As("pki/other");
  v1::AddAgentRequest add;
  add.set_agent_id(scene.victim.id().ToString());
  add.set_trust_on_first_use(true);
  CHECK(other.Call(&v1::Fleet::Stub::AddAgent, add).error_code() ==
        grpc::StatusCode::ALREADY_EXISTS);
  scene.CheckUnchanged();
  // An agent of one's own can't be judged by another's policy.
  FakeTpmMachine own(scene.deployment.vendor, 2);
  scene.Enroll(own);
  add.set_agent_id(own.id().ToString());
  add.mutable_settings()->add_policies(PolicyNameOf(scene.victim));
  CHECK(other.Call(&v1::Fleet::Stub::AddAgent, add).error_code() ==
        grpc::StatusCode::NOT_FOUND);
  // One of the same name is another one.
  const std::string name = PolicyNameOf(scene.victim);
  REQUIRE(other.PutPolicy(name, std::string(64, 'a') + "  /evil\n", true).ok());
  std::string file;
  REQUIRE(scene.verifier.As().GetPolicy(name, file).ok());
  CHECK_FALSE(absl::StrContains(file, "/evil"));
  REQUIRE(other.GetPolicy(name, file).ok());
  CHECK(absl::StrContains(file, "/evil"));
  scene.CheckUnchanged();
  scene.CheckVictimLives();
}

TEST_CASE("A19: what one tenant vouches for counts for no other") {
  LiveScene scene;
  FakeTpmMachine machine(scene.deployment.vendor, 2);
  scene.Enroll(machine);
  Operator own = scene.verifier.As();
  Operator other = scene.verifier.As("pki/other");
  v1::AllowEksRequest allow;
  allow.add_ek_sha256(machine.enrollee().ek_fingerprint().Hex());
  REQUIRE(own.Call(&v1::Fleet::Stub::AllowEks, allow).ok());
  v1::AddAgentRequest add;
  add.set_agent_id(machine.id().ToString());
  add.set_vouched(true);
  CHECK(other.Call(&v1::Fleet::Stub::AddAgent, add).error_code() ==
        grpc::StatusCode::FAILED_PRECONDITION);
  v1::ListAllowedEksReply eks;
  REQUIRE(other
              .Call(&v1::Fleet::Stub::ListAllowedEks,
                    v1::ListAllowedEksRequest(), &eks)
              .ok());
  CHECK(eks.eks().empty());
  // Nor does the other one take it back.
  allow.set_remove(true);
  other.Call(&v1::Fleet::Stub::AllowEks, allow);
  REQUIRE(own.Call(&v1::Fleet::Stub::ListAllowedEks,
                   v1::ListAllowedEksRequest(), &eks)
              .ok());
  CHECK(eks.eks_size() == 1);
  CHECK(own.Call(&v1::Fleet::Stub::AddAgent, add).ok());
}

TEST_CASE("A19: what all tenants share is changed by its own operators alone") {
  LiveScene scene;
  scene.deployment.IssueOperator("keeper", "shared", OperatorRole::kAdmin);
  Operator keeper = scene.verifier.As("pki/keeper");
  const std::string allowed = scene.victim.Allowlist();
  REQUIRE(keeper.PutPolicy("common", allowed, /*create=*/true).ok());
  // Its own policy is not needed any more.
  v1::AgentSettings settings;
  settings.add_policies("shared/common");
  scene.UpdateSettings(settings, {"policies"});
  REQUIRE(scene.stream->Settle() == "TRUSTED");
  scene.Remember();
  for (const char* const from : {"pki/operator", "pki/other", "pki/viewer"}) {
    CAPTURE(from);
    Operator other = scene.verifier.As(from);
    std::string file;
    CHECK(other.GetPolicy("shared/common", file).ok());
    CHECK_FALSE(file.empty());
    v1::ListPoliciesReply list;
    REQUIRE(
        other.Call(&v1::Policies::Stub::List, v1::ListPoliciesRequest(), &list)
            .ok());
    REQUIRE_FALSE(list.policies().empty());
    const v1::PolicyInfo& last = *list.policies().rbegin();
    CHECK(last.name() == "shared/common");
    // Nobody is told of another tenant's agents.
    CHECK(last.agent_count() == (from == std::string("pki/other") ? 0 : 1));

    for (const bool create : {true, false}) {
      CHECK(other.PutPolicy("shared/common", allowed, create).error_code() ==
            grpc::StatusCode::PERMISSION_DENIED);
    }
    v1::DeletePolicyRequest remove;
    remove.set_name("shared/common");
    CHECK(other.Call(&v1::Policies::Stub::Delete, remove).error_code() ==
          grpc::StatusCode::PERMISSION_DENIED);
  }
  scene.CheckUnchanged();
  v1::DeletePolicyRequest remove;
  remove.set_name("common");
  CHECK(keeper.Call(&v1::Policies::Stub::Delete, remove).error_code() ==
        grpc::StatusCode::FAILED_PRECONDITION);
  // Whoever keeps it decides for all who name it.
  const std::string other_digest =
      absl::StrCat(std::string(64, '1'), "  /usr/bin/sh\n");
  REQUIRE(keeper.PutPolicy("common", other_digest, /*create=*/false).ok());
  CHECK_THAT(scene.stream->Settle(), StartsWith("FAILED"));
}

TEST_CASE("A19: a viewer changes nothing") {
  LiveScene scene;
  Operator viewer = scene.verifier.As("pki/viewer");
  const std::string id = scene.victim.id().ToString();
  for (const FleetCall& one : AllCalls()) {
    if (!one.changes) continue;
    INFO(one.name);
    CHECK(one.call(viewer, id, PolicyNameOf(scene.victim)).error_code() ==
          grpc::StatusCode::PERMISSION_DENIED);
  }
  v1::AddAgentRequest add;
  add.set_agent_id(TestAgent(9).ToString());
  add.set_trust_on_first_use(true);
  CHECK(viewer.Call(&v1::Fleet::Stub::AddAgent, add).error_code() ==
        grpc::StatusCode::PERMISSION_DENIED);
  CHECK(viewer.Call(&v1::Fleet::Stub::CreateToken, v1::CreateTokenRequest())
            .error_code() == grpc::StatusCode::PERMISSION_DENIED);
  v1::AllowEksRequest allow;
  allow.add_ek_sha256(std::string(64, 'a'));
  CHECK(viewer.Call(&v1::Fleet::Stub::AllowEks, allow).error_code() ==
        grpc::StatusCode::PERMISSION_DENIED);
  CHECK(viewer.PutPolicy("new", std::string(64, 'a') + "  /evil\n", true)
            .error_code() == grpc::StatusCode::PERMISSION_DENIED);
  scene.CheckUnchanged();
}

// --- What readers are shown.

TEST_CASE("A20: what an agent says can't steer a log, a terminal or a page") {
  LiveScene scene;
  const std::string nasty = std::string(kHostileText);
  // In what it says before it has proven anything.
  const auto stream = scene.Connect({.hello = [&](auto& hello) {
    hello.set_agent_version("\x1b[2J\nINFO - all is well");
    hello.add_banks("\x1b[2J");
  }});
  REQUIRE(stream->SendHello());
  REQUIRE(stream->AwaitChallenge().has_value());
  v1::AgentMessage message;
  v1::PcrValue& value = *message.mutable_quote()->add_pcrs();
  value.set_bank("\x1b[2J\n2026 INFO - all is well");
  REQUIRE(stream->Send(message));
  CHECK_THAT(stream->Outcome(), StartsWith("refused: "));
  CHECK(IsPlain(stream->refusal().reason()));
  // In an enrolment.
  FakeTpmMachine machine(scene.deployment.vendor, 2);
  const auto enrolled = EnrollHeld(
      scene.verifier.Attest(), machine,
      {.begin = [&](auto& begin) { begin.ek_template = "\x1b[2J\nL"; }});
  CHECK_FALSE(enrolled.ok());
  // In its list.
  FakeMachine& held = scene.victim.machine;
  held.list.AddFile(nasty, FileDigestOf("evil"));
  held.list.AddViolation(nasty);
  held.list.Add(10, "ima-ng", AsBytes(nasty));
  CHECK_THAT(scene.stream->Round(), StartsWith("FAILED"));

  CHECK(IsPlain(scene.verifier.log()));
  CHECK_FALSE(
      absl::StrContains(scene.verifier.log(), "\n2026 INFO - all is well"));
  // Its path is told as it is, in a field that holds bytes; all else is text.
  const v1::Agent agent = scene.Shown();
  REQUIRE(agent.findings_size() > 2);
  for (const v1::Finding& finding : agent.findings()) {
    CHECK((finding.path().empty() || finding.path() == nasty));
    CHECK(IsPlain(finding.id()));
    CHECK(IsPlain(finding.expected()));
    CHECK(IsPlain(finding.found()));
    CHECK(IsPlain(finding.detail()));
  }
  CHECK(IsPlain(agent.state_reason()));

  // And as people read it.
  const std::string fleet = scene.verifier.addresses().fleet;
  const std::string folder = scene.deployment.folder / "pki/operator";
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{
           {"status", scene.victim.id().ToString()},
           {"status", scene.victim.id().ToString(), "--json"},
           {"list"},
           {"list", "--json"},
           {"explain", scene.victim.id().ToString()},
           {"explain", scene.victim.id().ToString(), "--json"}}) {
    std::vector<std::string> command = {CUPEL_TENANT};
    command.insert(command.end(), arguments.begin(), arguments.end());
    for (const std::string& option :
         {std::string("-v"), std::string("127.0.0.1"),
          std::string("--verifier-port"), fleet.substr(fleet.rfind(':') + 1),
          std::string("--ca"), folder + "/ca.pem", std::string("--cert"),
          folder + "/certificate.pem", std::string("--key"),
          folder + "/key.pem"}) {
      command.push_back(option);
    }
    for (const Stream out : {Stream::kCaptured, Stream::kTerminal}) {
      CommandOptions options;
      options.out = out;
      const auto result = RunCommand(command, options);
      REQUIRE_THAT(result.status(), IsOk());
      INFO(arguments[0] << result->out << result->err);
      CHECK_FALSE(result->out.empty());
      // A terminal's driver ends lines with both.
      CHECK(IsPlain(absl::StrReplaceAll(result->out, {{"\r\n", "\n"}})));
      CHECK(IsPlain(result->err));
      CHECK_FALSE(absl::StrContains(result->out, "\n INFO - all is well"));
    }
  }
}

TEST_CASE("A20: what an operator says can't steer the log") {
  LiveScene scene;
  Operator who = scene.verifier.As();
  v1::DeletePolicyRequest remove;
  remove.set_name("\x1b[2J\n2026 INFO - all is well");
  CHECK_FALSE(who.Call(&v1::Policies::Stub::Delete, remove).ok());
  v1::GetAgentRequest get;
  get.set_agent_id("\x1b[2J\n2026 INFO - all is well");
  const grpc::Status status = who.Call(&v1::Fleet::Stub::GetAgent, get);
  CHECK(status.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  CHECK(IsPlain(status.error_message()));
  CHECK(IsPlain(scene.verifier.log()));
  CHECK_FALSE(
      absl::StrContains(scene.verifier.log(), "\n2026 INFO - all is well"));
}

// --- Certificates.

// A certificate as the CA for clients could be brought to make it out.
CertificateSpec OperatorSpec() {
  CertificateSpec spec;
  spec.subject = {{"CN", "crafted"}};
  spec.key_index = 400;
  spec.not_before = absl::Now() - absl::Hours(1);
  spec.not_after = absl::Now() + absl::Hours(1);
  spec.ekus = {kClientAuth};
  spec.san_uris = {"cupel://tenant/default/role/admin"};
  return spec;
}

TestCertificate Issuer(const Deployment& deployment, const std::string& from) {
  auto certificate =
      crypto::Certificate::FromPem(deployment.Read(from + "/certificate.pem"));
  REQUIRE_THAT(certificate.status(), IsOk());
  auto key = verifier::KeyFromPem(deployment.Read(from + "/key.pem"));
  REQUIRE_THAT(key.status(), IsOk());
  return {*std::move(certificate),
          std::shared_ptr<EVP_PKEY>(key->release(), EVP_PKEY_free)};
}

// As the operator pki/crafted, whose certificate `spec` describes.
Operator Crafted(LiveScene& scene, const CertificateSpec& spec,
                 const TestCertificate* issuer,
                 const std::string& more_pem = "") {
  const Deployment& deployment = scene.deployment;
  const TestCertificate made = MakeCertificate(spec, issuer);
  const std::string folder = deployment.folder / "pki/crafted";
  std::filesystem::create_directory(folder);
  REQUIRE_THAT(WriteFile(folder + "/certificate.pem",
                         ToPem(made.certificate) + more_pem),
               IsOk());
  const auto key = verifier::KeyToPem(*made.key);
  REQUIRE_THAT(key.status(), IsOk());
  REQUIRE_THAT(
      WriteFile(folder + "/key.pem", std::string(AsText(key->Reveal()))),
      IsOk());
  return scene.verifier.As("pki/crafted");
}

// Neither reading nor changing.
void CheckNobody(LiveScene& scene, Operator who) {
  const std::string id = scene.victim.id().ToString();
  for (const FleetCall& one : AllCalls()) {
    INFO(one.name);
    const grpc::StatusCode code =
        one.call(who, id, PolicyNameOf(scene.victim)).error_code();
    CHECK((code == grpc::StatusCode::UNAUTHENTICATED ||
           code == grpc::StatusCode::UNAVAILABLE));
  }
  bool any = false;
  CHECK_FALSE(WatchOnce(who, id, any).ok());
  CHECK_FALSE(any);
  v1::AddAgentRequest add;
  add.set_agent_id(TestAgent(9).ToString());
  add.set_trust_on_first_use(true);
  CHECK_FALSE(who.Call(&v1::Fleet::Stub::AddAgent, add).ok());
  scene.CheckUnchanged();
}

TEST_CASE("A41: certificates that are not an operator's") {
  LiveScene scene;
  const TestCertificate ca = Issuer(scene.deployment, "pki/client-ca");
  // As it is, it is one: so it is what is changed that is refused.
  v1::Agent agent;
  REQUIRE(Crafted(scene, OperatorSpec(), &ca)
              .GetAgent(scene.victim.id(), agent)
              .ok());
  SECTION("none at all, as an agent has none") {
    CheckNobody(scene, scene.verifier.As(""));
  }
  SECTION("the server's") {
    CheckNobody(scene, scene.verifier.As("pki/server"));
  }
  SECTION("the CA's own") {
    CheckNobody(scene, scene.verifier.As("pki/client-ca"));
  }
  SECTION("one by the CA of servers") {
    const TestCertificate servers = Issuer(scene.deployment, "pki/ca");
    CheckNobody(scene, Crafted(scene, OperatorSpec(), &servers));
  }
  SECTION("one by itself") {
    CheckNobody(scene, Crafted(scene, OperatorSpec(), nullptr));
  }
  SECTION("one by the TPM vendor") {
    CheckNobody(scene, Crafted(scene, OperatorSpec(),
                               &scene.deployment.vendor.intermediate));
  }
  SECTION("one by an operator, with the operator's beside it") {
    const TestCertificate viewer = Issuer(scene.deployment, "pki/viewer");
    CheckNobody(scene,
                Crafted(scene, OperatorSpec(), &viewer,
                        scene.deployment.Read("pki/viewer/certificate.pem")));
  }
}

TEST_CASE("A41: certificates whose words are crafted") {
  LiveScene scene;
  const TestCertificate ca = Issuer(scene.deployment, "pki/client-ca");
  const std::string good = "cupel://tenant/default/role/admin";
  const std::vector<
      std::pair<const char*, std::function<void(CertificateSpec&)>>>
      changes = {
          {"the role in the subject",
           [&](auto& spec) {
             spec.subject = {{"CN", good}, {"O", "default"}, {"OU", "admin"}};
             spec.san_uris.clear();
           }},
          {"two of them",
           [&](auto& spec) {
             spec.san_uris = {good, "cupel://tenant/other/role/admin"};
           }},
          {"the same twice",
           [&](auto& spec) {
             spec.san_uris = {good, good};
           }},
          {"one of another scheme beside it",
           [&](auto& spec) {
             spec.san_uris = {good, "spiffe://x/y"};
           }},
          {"something behind it",
           [&](auto& spec) { spec.san_uris = {good + "/"}; }},
          {"a query", [&](auto& spec) { spec.san_uris = {good + "?x"}; }},
          {"a NUL",
           [&](auto& spec) {
             spec.san_uris = {good + std::string("\0viewer", 7)};
           }},
          {"upper case",
           [](auto& spec) {
             spec.san_uris = {"cupel://tenant/DEFAULT/role/admin"};
           }},
          {"an encoded letter",
           [](auto& spec) {
             spec.san_uris = {"cupel://tenant/%64efault/role/admin"};
           }},
          {"no tenant",
           [](auto& spec) { spec.san_uris = {"cupel://tenant//role/admin"}; }},
          {"any tenant",
           [](auto& spec) { spec.san_uris = {"cupel://tenant/*/role/admin"}; }},
          {"a path for a tenant",
           [](auto& spec) {
             spec.san_uris = {"cupel://tenant/a/../default/role/admin"};
           }},
          {"a role that there is not",
           [](auto& spec) {
             spec.san_uris = {"cupel://tenant/default/role/root"};
           }},
          {"another scheme",
           [](auto& spec) {
             spec.san_uris = {"https://tenant/default/role/admin"};
           }},
          {"no use", [](auto& spec) { spec.ekus.clear(); }},
          {"a server's use", [](auto& spec) { spec.ekus = {kServerAuth}; }},
          {"both uses",
           [](auto& spec) {
             spec.ekus = {kClientAuth, kServerAuth};
           }},
          {"any use", [](auto& spec) { spec.ekus = {"2.5.29.37.0"}; }},
          {"a CA", [](auto& spec) { spec.is_ca = true; }},
          {"expired",
           [](auto& spec) { spec.not_after = absl::Now() - absl::Seconds(5); }},
          {"not valid yet",
           [](auto& spec) { spec.not_before = absl::Now() + absl::Hours(1); }},
      };
  for (const auto& [what, change] : changes) {
    INFO(what);
    CertificateSpec spec = OperatorSpec();
    change(spec);
    CheckNobody(scene, Crafted(scene, spec, &ca));
  }
}

TEST_CASE("A41: a certificate that is revoked, or ends, in mid-stream") {
  LiveScene scene;
  scene.deployment.IssueOperator("short", "default", OperatorRole::kAdmin,
                                 absl::Seconds(3));
  const bool ends = GENERATE(false, true);
  const std::string from = ends ? "pki/short" : "pki/operator";
  Operator who = scene.verifier.As(from);
  // A watch, a policy that is on its way, and a connection.
  CallContext watching;
  v1::WatchRequest watch;
  watch.set_with_present(true);
  const auto events = who.fleet->Watch(&watching, watch);
  v1::Event event;
  REQUIRE(events->Read(&event));
  CallContext putting;
  v1::PutPolicyReply reply;
  const auto put = who.policies->Put(&putting, &reply);
  v1::PutPolicyRequest piece;
  const std::string file = std::string(64, 'a') + "  /evil\n";
  piece.set_name("late");
  piece.set_create(true);
  piece.set_size(file.size());
  REQUIRE(put->Write(piece));

  if (!ends) scene.deployment.Revoke(from);
  CHECK_FALSE(events->Read(&event));
  CHECK(events->Finish().error_code() == grpc::StatusCode::UNAUTHENTICATED);
  piece.Clear();
  piece.set_data(file);
  put->Write(piece);
  put->WritesDone();
  CHECK(put->Finish().error_code() == grpc::StatusCode::UNAUTHENTICATED);
  v1::Agent agent;
  CHECK(who.GetAgent(scene.victim.id(), agent).error_code() ==
        grpc::StatusCode::UNAUTHENTICATED);
  // Nothing of it was kept.
  std::string kept;
  CHECK(scene.verifier.As("pki/viewer").GetPolicy("late", kept).error_code() ==
        grpc::StatusCode::NOT_FOUND);
  scene.CheckUnchanged();
  CHECK(scene.Shown().state() == v1::STATE_TRUSTED);
}

TEST_CASE("A41: a deny list that can't be read lets nobody in") {
  LiveScene scene;
  REQUIRE_THAT(WriteFile(scene.deployment.folder / "denied", "no digest\n"),
               IsOk());
  if (GENERATE(false, true)) {
    std::filesystem::remove(scene.deployment.folder / "denied");
  }
  CheckNobody(scene, scene.verifier.As());
}

TEST_CASE("A41: agents' services are not at the operators' port, nor theirs") {
  LiveScene scene;
  // An operator's certificate is of no use there.
  Operator who(scene.deployment.FleetChannel(scene.verifier.addresses().attest,
                                             "pki/operator"));
  v1::Agent agent;
  CHECK(who.GetAgent(scene.victim.id(), agent).error_code() ==
        grpc::StatusCode::UNIMPLEMENTED);
  const auto channel = scene.deployment.FleetChannel(
      scene.verifier.addresses().fleet, "pki/operator");
  HostileStream stream(channel, scene.victim);
  CHECK(stream.Attest() == "ended: UNIMPLEMENTED");
  scene.CheckUnchanged();
}

}  // namespace
}  // namespace cupel::testing
