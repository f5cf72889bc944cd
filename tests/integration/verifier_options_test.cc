// Each option of the configuration does something: in the program, as its user
// would see it.
#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "agent/enrollment/enrollee.h"
#include "agent/rpc/enrollment_client.h"
#include "catch2/catch.hpp"
#include "common/config/verifier_config.h"
#include "common/crypto/certificate.h"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "grpcpp/client_context.h"
#include "proto/cupel/v1/fleet.grpc.pb.h"
#include "tests/integration/verifier_program.h"
#include "tests/support/certificate_builder.h"
#include "tests/support/dsse_signer.h"
#include "tests/support/evidence_builder.h"
#include "tests/support/fake_ek.h"
#include "tests/support/status_matchers.h"
#include "tests/support/stream_agent.h"
#include "tests/support/text_of.h"
#include "verifier/pki/operator_identity.h"
#include "verifier/rpc/policies_service.h"

namespace cupel::verifier {
namespace {

namespace fs = std::filesystem;

using testing::FakeMachine;
using testing::IsOk;
using testing::StatusIs;
using testing::StreamAgent;
using testing::TextOf;

AgentId IdOf(int number) {
  return *AgentId::Parse(
      absl::StrCat("d432fbb3-d2f1-4a97-9ef7-75bd81c0000", number));
}

struct Context : grpc::ClientContext {
  Context() {
    set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
  }
};

// A machine that enrols over the wire.
class NewMachine {
 public:
  explicit NewMachine(int number)
      : tpm_({.key_index = 200 + number}),
        ek_(tpm::EkTemplate::kL2, testing::FakeKeyKind::kEcP256, 210 + number),
        issuer_(testing::MakeCertificate(Now(testing::CaSpec("CA", 220)))),
        certificate_(testing::MakeCertificate(
            Now(testing::EkSpec(testing::FakeKeyKind::kEcP256, 210 + number)),
            &issuer_)),
        enrollee_(agent::Enrollee::Create({.agent_id = IdOf(number),
                                           .ek_template = tpm::EkTemplate::kL2,
                                           .ek_certificates = {ToVector(
                                               certificate_.certificate.der())},
                                           .ek_public = ek_.area().Serialize(),
                                           .ak_public = tpm_.ak().Serialize(),
                                           .enrollment_token = "",
                                           .agent_version = "test"})
                      .value()) {}

  std::string IssuerPem() const { return testing::ToPem(issuer_.certificate); }

  // The whole exchange, with a pause before its second half.
  absl::Status Enroll(const VerifierProgram& program,
                      absl::Duration pause = absl::ZeroDuration()) const {
    const auto client = agent::EnrollmentClient::Create(
        program.AddressOf("attest"),
        {.root_certificates =
             TextOf(program.folder / "pki/ca/certificate.pem")});
    REQUIRE_THAT(client.status(), IsOk());
    const auto begun = client->Begin(enrollee_.request(), absl::Seconds(20));
    if (!begun.ok()) return begun.status();
    const auto answer = enrollee_.Answer(
        begun->challenge, begun->certificate_sha256,
        [this](std::span<const uint8_t> blob, std::span<const uint8_t> secret) {
          return ek_.Activate(blob, secret, tpm_.ak().Name());
        });
    REQUIRE_THAT(answer.status(), IsOk());
    absl::SleepFor(pause);
    return client->Complete(*answer, absl::Seconds(20)).status();
  }

 private:
  static testing::CertificateSpec Now(testing::CertificateSpec spec) {
    spec.not_before = absl::Now() - absl::Hours(1);
    spec.not_after = absl::Now() + absl::Hours(1);
    return spec;
  }

  testing::FakeTpm tpm_;
  testing::FakeEk ek_;
  testing::TestCertificate issuer_;
  testing::TestCertificate certificate_;
  agent::Enrollee enrollee_;
};

constexpr char kPolicy[] =
    R"({"meta":{"version":1},"release":0,"digests":{"/bin/x":[")"
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
    R"("]},"excludes":[],"keyrings":{},"ima":{"ignored_keyrings":[],)"
    R"("log_hash_alg":"sha1"},"ima-buf":{},"verification-keys":""})";

std::string SignedPolicy(const testing::Signer& signer) {
  return testing::EnvelopeJson(signer.Envelope(kPolicy));
}

// One program, and a machine that it knows.
struct Bench {
  Bench() {
    const auto store = program.OpenStore();
    const auto file =
        CheckPolicyFile(ToVector(AsBytes(testing::AllowlistOf(machine))),
                        "base", /*signers=*/{});
    REQUIRE_THAT(file.status(), IsOk());
    REQUIRE_THAT(store
                     ->PutPolicy("default", "base", file->file,
                                 file->digest_count, true, "test")
                     .status(),
                 IsOk());
    REQUIRE_THAT(testing::EnrollMachine(*store, IdOf(0), machine, "EK"),
                 IsOk());
    settings.boot = "any";
    settings.policies = {"base"};
  }
  void Add() {
    REQUIRE_THAT(program.OpenStore()
                     ->AddAgent("default", IdOf(0), settings, "", "test")
                     .status(),
                 IsOk());
  }

  std::unique_ptr<StreamAgent> Connect() {
    return std::make_unique<StreamAgent>(program.Attest(), machine, IdOf(0));
  }
  // A stream up to its first challenge.
  v1::Challenge FirstChallenge(StreamAgent& agent) {
    REQUIRE(agent.SayHello());
    const auto message = agent.Receive();
    REQUIRE(message.has_value());
    INFO(agent.refusal());
    REQUIRE(message->has_challenge());
    return message->challenge();
  }
  grpc::StatusCode ListAs(const std::string& from) {
    Context context;
    v1::ListAgentsReply reply;
    return v1::Fleet::NewStub(program.Fleet(from))
        ->ListAgents(&context, v1::ListAgentsRequest(), &reply)
        .error_code();
  }
  v1::Agent Get() {
    Context context;
    v1::GetAgentRequest request;
    request.set_agent_id(IdOf(0).ToString());
    v1::Agent agent;
    REQUIRE(v1::Fleet::NewStub(program.Fleet("operator"))
                ->GetAgent(&context, request, &agent)
                .ok());
    return agent;
  }
  grpc::Status Put(const std::string& name, const std::string& file) {
    Context context;
    v1::PutPolicyReply reply;
    const auto stub = v1::Policies::NewStub(program.Fleet("operator"));
    const auto writer = stub->Put(&context, &reply);
    v1::PutPolicyRequest request;
    request.set_name(name);
    request.set_create(true);
    request.set_size(file.size());
    request.set_data(file);
    writer->Write(request);
    writer->WritesDone();
    return writer->Finish();
  }
  // Another agent, which needn't be there.
  grpc::Status AddPinned(int number) {
    Context context;
    v1::AddAgentRequest request;
    request.set_agent_id(IdOf(number).ToString());
    request.set_ek_sha256(std::string(64, static_cast<char>('0' + number)));
    v1::AddAgentReply reply;
    return v1::Fleet::NewStub(program.Fleet("operator"))
        ->AddAgent(&context, request, &reply);
  }
  // For policy_keys.
  std::string KeyFile(const testing::Signer& signer) {
    const std::string path = program.folder / "policy-key.pem";
    REQUIRE_THAT(WriteFile(path, signer.Pem()), IsOk());
    return path;
  }
  // A second PKI beside the first.
  std::string OtherPki() {
    const std::string dir = program.folder / "other";
    REQUIRE(program
                .Run({"init", "--dir", dir, "--name", "localhost", "--address",
                      "127.0.0.1"})
                .exit_code == 0);
    return dir;
  }
  // True if it doesn't start, and says why in `words`.
  bool FailsWith(const std::vector<std::string>& options,
                 const std::string& words) {
    program.Launch(options);
    const bool listens = program.AwaitListening();
    INFO(program.Log());
    return !listens && absl::StrContains(program.Log(), words);
  }
  // The end of a stream that was not let in.
  grpc::Status EndOf(StreamAgent& agent) {
    while (agent.Receive().has_value()) {
    }
    return agent.Finish();
  }

  VerifierProgram program;
  FakeMachine machine;
  AgentSettings settings;
};

void ListensAt(Bench& bench, const std::string& listener) {
  bench.program.Start({absl::StrCat(listener, "_listen=127.0.0.2:8891")});
  CHECK(absl::StartsWith(bench.program.AddressOf(listener), "127.0.0.2:"));
}

void UsesOtherPair(Bench& bench, bool certificate) {
  const std::string pki = bench.OtherPki();
  const std::string one =
      absl::StrCat("tls_certificate=", pki, "/server/certificate.pem");
  const std::string other = absl::StrCat("tls_key=", pki, "/server/key.pem");
  CHECK(bench.FailsWith({certificate ? one : other}, "is not the key of"));
  bench.program.Start({one, other});
  CHECK(absl::StrContains(
      bench.program.Log(),
      crypto::Certificate::FromPem(TextOf(pki + "/server/certificate.pem"))
          ->fingerprint()
          .Hex()));
}

size_t ThreadCount(const VerifierProgram& program) {
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry :
       fs::directory_iterator(absl::StrCat("/proc/", program.pid(), "/task"))) {
    ++count;
  }
  return count;
}

// The refusal that a second stream ends with.
void SecondStream(Bench& bench, const std::string& setting,
                  const std::string& words) {
  bench.Add();
  bench.program.Start({setting});
  const auto first = bench.Connect();
  bench.FirstChallenge(*first);
  const auto second = bench.Connect();
  second->SayHello();
  const grpc::Status status = bench.EndOf(*second);
  INFO(status.error_message());
  if (second->refusal().empty()) {
    CHECK(status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
    CHECK(absl::StrContains(status.error_message(), words));
  } else {
    CHECK(absl::StrContains(second->refusal(), words));
  }
}

const std::map<std::string, std::function<void(Bench&)>>& Effects() {
  using Effect = std::function<void(Bench&)>;
  static const auto& effects = *new std::map<std::string, Effect>{
      {"attest_listen", [](Bench& bench) { ListensAt(bench, "attest"); }},
      {"fleet_listen", [](Bench& bench) { ListensAt(bench, "fleet"); }},
      {"metrics_listen",
       [](Bench& bench) {
         ListensAt(bench, "metrics");
         bench.program.Start({"metrics_listen=off"});
         CHECK(bench.program.AddressOf("metrics").empty());
       }},
      {"state_dir",
       [](Bench& bench) {
         const std::string dir = bench.program.folder / "elsewhere";
         bench.program.Launch({"state_dir=" + dir});
         for (int i = 0; !fs::exists(dir + "/listening"); ++i) {
           INFO(bench.program.Log());
           REQUIRE(i < 6000);
           absl::SleepFor(absl::Milliseconds(10));
         }
         CHECK(fs::exists(dir + "/verifier.db"));
         CHECK(fs::status(dir).permissions() == fs::perms(0700));
       }},
      {"store_path",
       [](Bench& bench) {
         const std::string path = bench.program.folder / "other.db";
         bench.program.Start({"store_path=" + path});
         CHECK(fs::exists(path));
       }},
      {"tls_certificate", [](Bench& bench) { UsesOtherPair(bench, true); }},
      {"tls_key", [](Bench& bench) { UsesOtherPair(bench, false); }},
      {"client_ca",
       [](Bench& bench) {
         const std::string pki = bench.OtherPki();
         bench.program.Start(
             {absl::StrCat("client_ca=", pki, "/client-ca/certificate.pem")});
         CHECK(bench.ListAs("operator") == grpc::StatusCode::UNAVAILABLE);
         CHECK(bench.ListAs("../other/operator") == grpc::StatusCode::OK);
       }},
      {"client_deny_list",
       [](Bench& bench) {
         const auto identity = OperatorIdentityFromPem(
             TextOf(bench.program.folder / "pki/operator/certificate.pem"));
         const std::string path = bench.program.folder / "denied";
         REQUIRE_THAT(WriteFile(path, identity->spki_sha256), IsOk());
         bench.program.Start();
         CHECK(bench.ListAs("operator") == grpc::StatusCode::OK);
         bench.program.Start({"client_deny_list=" + path});
         CHECK(bench.ListAs("operator") == grpc::StatusCode::UNAUTHENTICATED);
       }},
      {"ek_roots",
       [](Bench& bench) {
         const NewMachine machine(1);
         const std::string path = bench.program.folder / "roots.pem";
         REQUIRE_THAT(WriteFile(path, TextOf(bench.program.folder /
                                             "pki/ca/certificate.pem")),
                      IsOk());
         const std::vector<std::string> settings = {
             "accept_unknown_ek_issuer=false", "ek_roots=" + path};
         bench.program.Start(settings);
         CHECK_THAT(machine.Enroll(bench.program),
                    StatusIs(absl::StatusCode::kPermissionDenied));
         REQUIRE_THAT(WriteFile(path, machine.IssuerPem()), IsOk());
         bench.program.Start(settings);
         CHECK_THAT(machine.Enroll(bench.program), IsOk());
       }},
      {"accept_unknown_ek_issuer",
       [](Bench& bench) {
         CHECK(bench.FailsWith({"accept_unknown_ek_issuer=false",
                                "ek_roots=" + (bench.program.folder / "none")},
                               "ek_roots"));
         bench.program.Start({"accept_unknown_ek_issuer=true"});
         CHECK(absl::StrContains(bench.program.Log(),
                                 "WARNING - accept_unknown_ek_issuer"));
         CHECK_THAT(NewMachine(1).Enroll(bench.program), IsOk());
       }},
      {"max_unclaimed_per_address",
       [](Bench& bench) {
         bench.program.Start({"max_unclaimed_per_address=1"});
         CHECK_THAT(NewMachine(1).Enroll(bench.program), IsOk());
         CHECK_THAT(NewMachine(2).Enroll(bench.program),
                    StatusIs(absl::StatusCode::kResourceExhausted));
         bench.program.Start({"max_unclaimed_per_address=2"});
         CHECK_THAT(NewMachine(2).Enroll(bench.program), IsOk());
       }},
      {"unclaimed_lifetime",
       [](Bench& bench) {
         const FakeMachine other(
             {crypto::HashAlgorithm::kSha256},
             {.key_index = 3, .ek_name = std::vector<uint8_t>(34, 3)});
         REQUIRE_THAT(
             testing::EnrollMachine(*bench.program.OpenStore(), IdOf(3), other,
                                    "old", absl::Now() - absl::Hours(2)),
             IsOk());
         const auto enrolled = [&] {
           Context context;
           v1::ListEnrolledReply reply;
           REQUIRE(
               v1::Fleet::NewStub(bench.program.Fleet("operator"))
                   ->ListEnrolled(&context, v1::ListEnrolledRequest(), &reply)
                   .ok());
           return reply.agents_size();
         };
         bench.program.Start({"unclaimed_lifetime=3h"});
         absl::SleepFor(absl::Seconds(2));
         CHECK(enrolled() == 2);
         bench.program.Start({"unclaimed_lifetime=1h"});
         for (int i = 0; enrolled() != 1; ++i) {
           REQUIRE(i < 600);
           absl::SleepFor(absl::Milliseconds(100));
         }
       }},
      {"cookie_lifetime",
       [](Bench& bench) {
         bench.program.Start({"cookie_lifetime=1s"});
         CHECK_THAT(
             NewMachine(1).Enroll(bench.program, absl::Milliseconds(1200)),
             StatusIs(absl::StatusCode::kFailedPrecondition,
                      "expired after 1s"));
         bench.program.Start();
         CHECK_THAT(
             NewMachine(1).Enroll(bench.program, absl::Milliseconds(1200)),
             IsOk());
       }},
      {"interval",
       [](Bench& bench) {
         bench.Add();
         bench.program.Start({"interval=20s"});
         const auto agent = bench.Connect();
         CHECK(bench.FirstChallenge(*agent).answer_within().seconds() == 20);
       }},
      {"fresh",
       [](Bench& bench) {
         bench.Add();
         bench.program.Start({"fresh=100ms", "interval=20s"});
         const auto agent = bench.Connect();
         REQUIRE(agent->SayHello());
         REQUIRE(agent->Round()->state() == "TRUSTED");
         const auto armed = agent->Receive();
         REQUIRE(armed->has_challenge());
         const auto replaced = agent->Receive();
         REQUIRE(replaced->has_challenge());
         CHECK_FALSE(replaced->challenge().now());
         CHECK(replaced->challenge().nonce() != armed->challenge().nonce());
       }},
      {"grace",
       [](Bench& bench) {
         bench.Add();
         bench.program.Start({"grace=5h"});
         const auto agent = bench.Connect();
         REQUIRE(agent->SayHello());
         REQUIRE(agent->Round()->state() == "TRUSTED");
         const v1::Agent shown = bench.Get();
         const int64_t trusted_for =
             shown.valid_until().seconds() - shown.last_attested().seconds();
         CHECK(trusted_for >= 5 * 3600);
         CHECK(trusted_for < 6 * 3600);
       }},
      {"pending_timeout",
       [](Bench& bench) {
         bench.program.Start({"pending_timeout=1s", "grace=100ms"});
         const auto fleet = v1::Fleet::NewStub(bench.program.Fleet("operator"));
         Context adding;
         v1::AddAgentRequest add;
         add.set_agent_id(IdOf(0).ToString());
         add.set_trust_on_first_use(true);
         v1::AddAgentReply added;
         REQUIRE(fleet->AddAgent(&adding, add, &added).ok());
         CHECK(added.agent().state() == v1::STATE_PENDING);
         CHECK_FALSE(added.agent().has_valid_until());  // that is trust's
         Context context;
         v1::WatchRequest request;
         request.set_with_present(true);
         const auto events = fleet->Watch(&context, request);
         v1::Event event;
         do {
           REQUIRE(events->Read(&event));
         } while (!absl::StrContains(event.text(), "in time"));
         CHECK(event.previous() == v1::STATE_PENDING);
         CHECK(event.state() == v1::STATE_PENDING);
       }},
      {"worker_threads",
       [](Bench& bench) {
         bench.program.Start({"worker_threads=1"});
         const size_t few = ThreadCount(bench.program);
         bench.program.Start({"worker_threads=65"});
         CHECK(ThreadCount(bench.program) > few + 32);
       }},
      {"max_streams",
       [](Bench& bench) {
         bench.Add();
         bench.program.Start({"max_streams=1", "max_unproven_streams=1"});
         const auto first = bench.Connect();
         REQUIRE(first->SayHello());
         REQUIRE(first->Round().has_value());
         const auto second = bench.Connect();
         const grpc::Status status = bench.EndOf(*second);
         CHECK(status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
         CHECK(status.error_message() == "too many streams");
       }},
      {"max_unproven_streams",
       [](Bench& bench) {
         SecondStream(bench, "max_unproven_streams=1",
                      "1 streams that have not shown a quote");
       }},
      {"max_unproven_per_address",
       [](Bench& bench) {
         SecondStream(bench, "max_unproven_per_address=1", "of this address");
       }},
      {"max_unproven_per_agent",
       [](Bench& bench) {
         SecondStream(bench, "max_unproven_per_agent=1",
                      "streams that say they are this agent");
       }},
      {"unproven_timeout",
       [](Bench& bench) {
         bench.Add();
         bench.program.Start({"unproven_timeout=200ms"});
         const auto agent = bench.Connect();
         bench.EndOf(*agent);
         CHECK(agent->refusal() == "no Hello");
         const auto second = bench.Connect();
         REQUIRE(second->SayHello());
         bench.EndOf(*second);
         CHECK(second->refusal() == "no quote in time");
       }},
      {"max_list_size",
       [](Bench& bench) {
         bench.Add();
         bench.program.Start({"max_list_size=1MiB"});
         const auto agent = bench.Connect();
         REQUIRE(agent->SendQuote(bench.FirstChallenge(*agent)));
         v1::AgentMessage piece;
         piece.mutable_chunk()->set_data(std::string(64 << 10, 'x'));
         for (int i = 0; i < 16; ++i) REQUIRE(agent->Send(piece));
         piece.mutable_chunk()->set_data("x");
         agent->Send(piece);
         bench.EndOf(*agent);
         CHECK(agent->refusal() == "a list of more than 1048576 bytes");
       }},
      {"list_timeout",
       [](Bench& bench) {
         bench.Add();
         bench.program.Start({"list_timeout=200ms"});
         const auto agent = bench.Connect();
         REQUIRE(agent->SendQuote(bench.FirstChallenge(*agent)));
         bench.EndOf(*agent);
         CHECK(agent->refusal() == "the list took too long");
       }},
      // Two lists of which either fits.
      {"max_list_memory",
       [](Bench& bench) {
         CHECK(bench.FailsWith({"max_list_size=2MiB", "max_list_memory=1MiB"},
                               "max_list_memory"));
         bench.Add();
         std::vector<uint8_t> ek_name(34, 7);  // of another EK
         ek_name[0] = 0x00;                    // TPM_ALG_SHA256
         ek_name[1] = 0x0b;
         FakeMachine other({crypto::HashAlgorithm::kSha256},
                           {.key_index = 30, .ek_name = ek_name});
         {
           const auto store = bench.program.OpenStore();
           REQUIRE_THAT(
               testing::EnrollMachine(*store, IdOf(1), other, "EK of another"),
               IsOk());
           REQUIRE_THAT(
               store->AddAgent("default", IdOf(1), bench.settings, "", "test")
                   .status(),
               IsOk());
         }
         bench.program.Start(
             {"max_list_size=1MiB", "max_list_memory=1MiB", "list_timeout=1s"});
         const auto first = bench.Connect();
         const auto second = std::make_unique<StreamAgent>(
             bench.program.Attest(), other, IdOf(1));
         v1::AgentMessage piece;
         piece.mutable_chunk()->set_data(std::string(64 << 10, 'x'));
         for (StreamAgent* agent : {first.get(), second.get()}) {
           REQUIRE(agent->SendQuote(bench.FirstChallenge(*agent)));
           for (int i = 0; i < 16; ++i) agent->Send(piece);
         }
         std::set<std::string> refusals;
         for (StreamAgent* agent : {first.get(), second.get()}) {
           bench.EndOf(*agent);
           refusals.insert(agent->refusal());
         }
         CHECK(refusals ==
               std::set<std::string>{
                   "the list took too long",
                   "the verifier has no room for so large a list now"});
       }},
      {"event_lifetime",
       [](Bench& bench) {
         CHECK(bench.FailsWith({"event_lifetime=1s"}, "event_lifetime"));
         const auto add = [&bench](int number, absl::Duration age) {
           const auto store =
               SqlStore::Open(bench.program.store_path(),
                              {.clock = [age] { return absl::Now() - age; }});
           REQUIRE_THAT(store.status(), IsOk());
           REQUIRE_THAT((*store)
                            ->AddAgent("default", IdOf(number), bench.settings,
                                       std::string(64, 'a'), "test")
                            .status(),
                        IsOk());
         };
         add(3, absl::Hours(3));
         add(4, absl::Minutes(1));
         bench.program.Start({"event_lifetime=2h"});
         std::set<AgentId> agents = {IdOf(3), IdOf(4)};
         for (int i = 0; agents.contains(IdOf(3)); ++i) {
           REQUIRE(i < 600);
           absl::SleepFor(absl::Milliseconds(100));
           const auto events =
               bench.program.OpenStore()->EventsAfter("default", 0, 1000);
           REQUIRE_THAT(events.status(), IsOk());
           agents.clear();
           for (const AgentEvent& event : *events) agents.insert(event.id);
         }
         CHECK(agents == std::set<AgentId>{IdOf(4)});
       }},
      {"policy_keys",
       [](Bench& bench) {
         CHECK(bench.FailsWith({"policy_keys=/no/such/key"}, "policy_keys"));
         const testing::Signer signer("P-256");
         const testing::Signer other("P-256");
         bench.program.Start({"policy_keys=" + bench.KeyFile(signer)});
         CHECK(bench.Put("one", SignedPolicy(signer)).ok());
         CHECK_FALSE(bench.Put("two", SignedPolicy(other)).ok());
         CHECK(bench.Put("three", kPolicy).ok());
         bench.program.Start();
         CHECK_FALSE(bench.Put("four", SignedPolicy(signer)).ok());
       }},
      {"require_signed_policies",
       [](Bench& bench) {
         CHECK(bench.FailsWith({"require_signed_policies=true"},
                               "require_signed_policies without policy_keys"));
         const testing::Signer signer("P-256");
         bench.program.Start({"policy_keys=" + bench.KeyFile(signer),
                              "require_signed_policies=true"});
         CHECK(bench.Put("one", SignedPolicy(signer)).ok());
         const grpc::Status refused = bench.Put("two", kPolicy);
         CHECK(refused.error_code() == grpc::StatusCode::FAILED_PRECONDITION);
         CHECK(absl::StrContains(refused.error_message(), "not signed"));
       }},
      {"max_policy_size",
       [](Bench& bench) {
         bench.program.Start({"max_policy_size=64KiB"});
         const grpc::Status status =
             bench.Put("large", std::string(70'000, '#'));
         CHECK(status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
         CHECK(absl::StrContains(status.error_message(), "max_policy_size"));
       }},
      {"max_agents_per_tenant",
       [](Bench& bench) {
         bench.program.Start({"max_agents_per_tenant=1"});
         CHECK(bench.AddPinned(1).ok());
         const grpc::Status status = bench.AddPinned(2);
         CHECK(status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
         CHECK(absl::StrContains(status.error_message(),
                                 "max_agents_per_tenant"));
         bench.program.Start({"max_agents_per_tenant=2"});
         CHECK(bench.AddPinned(2).ok());
       }},
      // There is one policy from the start.
      {"max_policies_per_tenant",
       [](Bench& bench) {
         bench.program.Start({"max_policies_per_tenant=2"});
         CHECK(bench.Put("one", kPolicy).ok());
         const grpc::Status status = bench.Put("two", kPolicy);
         CHECK(status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
         CHECK(absl::StrContains(status.error_message(),
                                 "max_policies_per_tenant"));
         bench.program.Start({"max_policies_per_tenant=3"});
         CHECK(bench.Put("two", kPolicy).ok());
       }},
      {"max_policy_bytes_per_tenant",
       [](Bench& bench) {
         CHECK(bench.FailsWith(
             {"max_policy_size=2MiB", "max_policy_bytes_per_tenant=1MiB"},
             "max_policy_bytes_per_tenant"));
         const std::string large = kPolicy + std::string(40'000, ' ');
         bench.program.Start(
             {"max_policy_size=64KiB", "max_policy_bytes_per_tenant=64KiB"});
         CHECK(bench.Put("one", large).ok());
         const grpc::Status status = bench.Put("two", large);
         CHECK(status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
         CHECK(absl::StrContains(status.error_message(),
                                 "max_policy_bytes_per_tenant"));
         bench.program.Start(
             {"max_policy_size=64KiB", "max_policy_bytes_per_tenant=128KiB"});
         CHECK(bench.Put("two", large).ok());
       }},
      {"max_attest_now_per_tenant",
       [](Bench& bench) {
         bench.Add();
         const auto attest = [&bench] {
           Context context;
           v1::AttestNowRequest request;
           request.set_agent_id(IdOf(0).ToString());
           v1::AttestNowReply reply;
           return v1::Fleet::NewStub(bench.program.Fleet("operator"))
               ->AttestNow(&context, request, &reply);
         };
         bench.program.Start({"max_attest_now_per_tenant=1"});
         grpc::Status status = attest();
         // It is not connected.
         CHECK(status.error_code() == grpc::StatusCode::FAILED_PRECONDITION);
         for (int i = 0;
              status.error_code() != grpc::StatusCode::RESOURCE_EXHAUSTED;
              ++i) {
           REQUIRE(i < 1000);
           status = attest();
         }
         CHECK(absl::StrContains(status.error_message(),
                                 "max_attest_now_per_tenant"));
         bench.program.Start({"max_attest_now_per_tenant=1000"});
         for (int i = 0; i < 20; ++i) {
           CHECK(attest().error_code() ==
                 grpc::StatusCode::FAILED_PRECONDITION);
         }
       }},
      {"max_enrollment_tokens_per_tenant",
       [](Bench& bench) {
         const auto create = [&bench] {
           Context context;
           v1::CreateTokenReply reply;
           return v1::Fleet::NewStub(bench.program.Fleet("operator"))
               ->CreateToken(&context, v1::CreateTokenRequest(), &reply);
         };
         bench.program.Start({"max_enrollment_tokens_per_tenant=1"});
         CHECK(create().ok());
         const grpc::Status status = create();
         CHECK(status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
         CHECK(absl::StrContains(status.error_message(),
                                 "max_enrollment_tokens_per_tenant"));
         bench.program.Start({"max_enrollment_tokens_per_tenant=2"});
         CHECK(create().ok());
       }},
      {"max_allowed_eks_per_tenant",
       [](Bench& bench) {
         const auto allow = [&bench](char digit) {
           Context context;
           v1::AllowEksRequest request;
           request.add_ek_sha256(std::string(64, digit));
           v1::AllowEksReply reply;
           return v1::Fleet::NewStub(bench.program.Fleet("operator"))
               ->AllowEks(&context, request, &reply);
         };
         bench.program.Start({"max_allowed_eks_per_tenant=1"});
         CHECK(allow('1').ok());
         const grpc::Status status = allow('2');
         CHECK(status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
         CHECK(absl::StrContains(status.error_message(),
                                 "max_allowed_eks_per_tenant"));
         bench.program.Start({"max_allowed_eks_per_tenant=2"});
         CHECK(allow('2').ok());
       }},
      {"max_watches_per_tenant",
       [](Bench& bench) {
         struct Watch {
           explicit Watch(Bench& bench)
               : fleet(v1::Fleet::NewStub(bench.program.Fleet("operator"))) {
             v1::WatchRequest request;
             request.set_with_present(true);
             stream = fleet->Watch(&context, request);
           }
           bool HasBegun() {
             v1::Event event;
             return stream->Read(&event);
           }
           Context context;
           std::unique_ptr<v1::Fleet::Stub> fleet;
           std::unique_ptr<grpc::ClientReader<v1::Event>> stream;
         };
         bench.Add();
         bench.program.Start({"max_watches_per_tenant=1"});
         {
           Watch first(bench);
           CHECK(first.HasBegun());
           Watch second(bench);
           CHECK_FALSE(second.HasBegun());
           const grpc::Status status = second.stream->Finish();
           CHECK(status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
           CHECK(absl::StrContains(status.error_message(),
                                   "max_watches_per_tenant"));
           first.context.TryCancel();
         }
         bench.program.Start({"max_watches_per_tenant=2"});
         Watch first(bench);
         CHECK(first.HasBegun());
         Watch second(bench);
         CHECK(second.HasBegun());
         first.context.TryCancel();
         second.context.TryCancel();
       }},
      {"log_level",
       [](Bench& bench) {
         bench.program.Start();
         bench.program.AwaitLog("INFO - cupel-verifier listens");
         bench.program.Start({"log_level=error"});
         CHECK(bench.program.Log().empty());
       }},
      {"log_format",
       [](Bench& bench) {
         bench.program.Start({"log_format=json"});
         bench.program.AwaitLog("\"message\":\"cupel-verifier listens\"");
         for (const absl::string_view line :
              absl::StrSplit(bench.program.Log(), '\n', absl::SkipEmpty())) {
           CHECK(absl::StartsWith(line, "{\"time\":\""));
           CHECK(absl::EndsWith(line, "}"));
         }
       }},
  };
  return effects;
}

TEST_CASE("There is an effect to each option, and an option to each effect") {
  std::vector<std::string> options;
  for (const auto& option : config::VerifierOptions()) {
    options.push_back(option.key);
    CAPTURE(option.key);
    CHECK(Effects().contains(option.key));
  }
  CHECK(options.size() == Effects().size());
}

TEST_CASE("Each option has the effect that it is for") {
  for (const auto& [option, effect] : Effects()) {
    DYNAMIC_SECTION(option) {
      Bench bench;
      effect(bench);
    }
  }
}

}  // namespace
}  // namespace cupel::verifier
