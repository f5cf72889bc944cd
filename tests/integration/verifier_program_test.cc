// The program as a user runs it: made, renewed, backed up, ended, and out of
// luck with its disk.
#include "tests/integration/verifier_program.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "catch2/catch.hpp"
#include "common/crypto/certificate.h"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "grpcpp/client_context.h"
#include "proto/cupel/v1/fleet.grpc.pb.h"
#include "tests/support/evidence_builder.h"
#include "tests/support/status_matchers.h"
#include "tests/support/stream_agent.h"
#include "tests/support/text_of.h"
#include "verifier/rpc/policies_service.h"

namespace cupel::verifier {
namespace {

namespace fs = std::filesystem;

using testing::FakeMachine;
using testing::IsOk;
using testing::StreamAgent;
using testing::TextOf;

constexpr char kId[] = "d432fbb3-d2f1-4a97-9ef7-75bd81c00000";
constexpr char kDefaultTenant[] = "default";
constexpr auto kSeconds = std::chrono::seconds(10);
AgentId Id() { return *AgentId::Parse(kId); }

mode_t ModeOf(const std::string& path) {
  struct stat info = {};
  REQUIRE(stat(path.c_str(), &info) == 0);
  return info.st_mode & 07777;
}

void Provision(Store& store, const FakeMachine& machine) {
  const auto file = CheckPolicyFile(
      ToVector(AsBytes(testing::AllowlistOf(machine))), "base", /*signers=*/{});
  REQUIRE_THAT(file.status(), IsOk());
  REQUIRE_THAT(store
                   .PutPolicy(kDefaultTenant, "base", file->file,
                              file->digest_count, true, "test")
                   .status(),
               IsOk());
  REQUIRE_THAT(testing::EnrollMachine(store, Id(), machine, "EK"), IsOk());
  AgentSettings settings;
  settings.boot = "any";
  settings.policies = {"base"};
  REQUIRE_THAT(
      store.AddAgent(kDefaultTenant, Id(), settings, "", "test").status(),
      IsOk());
}

// The agent's state, as an operator is told; a gRPC code's number if it is not.
std::string StateOf(const VerifierProgram& program) {
  grpc::ClientContext context;
  v1::GetAgentRequest request;
  request.set_agent_id(kId);
  v1::Agent agent;
  const grpc::Status status = v1::Fleet::NewStub(program.Fleet("operator"))
                                  ->GetAgent(&context, request, &agent);
  return status.ok() ? v1::State_Name(agent.state())
                     : absl::StrCat(static_cast<int>(status.error_code()));
}

TEST_CASE("init makes what can be served, private, and never again") {
  const VerifierProgram program;
  const std::string pki = program.folder / "pki";
  CHECK(ModeOf(pki) == 0700);
  for (const char* const name : {"ca", "client-ca", "server", "operator"}) {
    CHECK(ModeOf(absl::StrCat(pki, "/", name)) == 0700);
    CHECK(ModeOf(absl::StrCat(pki, "/", name, "/key.pem")) == 0600);
    CHECK(ModeOf(absl::StrCat(pki, "/", name, "/certificate.pem")) == 0644);
  }
  const std::string before = TextOf(pki + "/server/key.pem");
  const auto again = program.Run({"init", "--dir", pki, "--name", "localhost"});
  CHECK(again.exit_code == 1);
  CHECK(absl::StrContains(again.err, pki));
  CHECK(absl::StrContains(again.err, "renew"));
  CHECK(TextOf(pki + "/server/key.pem") == before);
}

TEST_CASE("operator makes one more certificate, and overwrites none") {
  const VerifierProgram program;
  const std::string pki = program.folder / "pki";
  const std::vector<std::string> command = {"operator", "alice",    "--dir",
                                            pki,        "--tenant", "acme",
                                            "--role",   "viewer"};
  CHECK(program.Run(command).exit_code == 0);
  CHECK(ModeOf(pki + "/alice/key.pem") == 0600);
  const std::string key = TextOf(pki + "/alice/key.pem");
  const auto again = program.Run(command);
  CHECK(again.exit_code == 1);
  CHECK(absl::StrContains(again.err, pki + "/alice"));
  CHECK(TextOf(pki + "/alice/key.pem") == key);
  CHECK(program.Run({"operator", "bob", "--dir", pki, "--role", "god"})
            .exit_code == 2);
  CHECK_FALSE(fs::exists(pki + "/bob"));
  const auto nowhere =
      program.Run({"operator", "bob", "--dir", program.folder / "none"});
  CHECK(nowhere.exit_code == 1);
  CHECK(absl::StrContains(nowhere.err, program.folder / "none"));
}

TEST_CASE("What keeps it from starting is named, with path and cure") {
  VerifierProgram program;
  const std::string pki = program.folder / "pki";
  std::vector<std::string> words;
  std::vector<std::string> settings;
  SECTION("no certificate") {
    fs::remove_all(pki + "/server");
    words = {"tls_certificate", pki + "/server/certificate.pem",
             "cupel-verifier init"};
  }
  SECTION("a key that everybody can read") {
    fs::permissions(pki + "/server/key.pem", fs::perms(0644));
    words = {"tls_key", pki + "/server/key.pem", "0600"};
  }
  SECTION("no CA of operators") {
    settings = {"client_ca=" + pki + "/none"};
    words = {"client_ca", pki + "/none"};
  }
  SECTION("no roots of TPMs") {
    fs::create_directory(program.folder / "roots");
    settings = {"accept_unknown_ek_issuer=false",
                "ek_roots=" + (program.folder / "roots")};
    words = {"ek_roots", program.folder / "roots", "TPM vendors' roots"};
  }
  SECTION("another program's store") {
    fs::create_directory(program.folder / "state");
    REQUIRE_THAT(WriteFile(program.store_path(), std::string(5000, 'x')),
                 IsOk());
    words = {"store", "backup"};
  }
  SECTION("a store in a folder that is not there") {
    settings = {"store_path=" + (program.folder / "no/store.db")};
    words = {program.folder / "no/store.db"};
  }
  SECTION("an option that is none") {
    settings = {"intervall=10s"};
    words = {"intervall"};
  }
  program.Launch(settings);
  CHECK_FALSE(program.AwaitListening());
  for (const std::string& word : words) {
    INFO(program.Log());
    CHECK(absl::StrContains(program.Log(), word));
  }
  // And nothing was made in its place.
  CHECK_FALSE(fs::exists(pki + "/server.new"));
  if (!fs::exists(pki + "/server")) CHECK(fs::exists(pki + "/ca"));
}

TEST_CASE(
    "renew is taken up by the verifier that runs, and by SIGHUP at once") {
  VerifierProgram program;
  FakeMachine machine;
  Provision(*program.OpenStore(), machine);
  program.Start();
  StreamAgent agent(program.Attest(), machine, Id());
  REQUIRE(agent.SayHello());
  REQUIRE(agent.Round()->state() == "TRUSTED");
  const crypto::Digest first = agent.ServerCertificate();

  for (const bool hang_up : {false, true}) {
    const auto renewed =
        program.Run({"renew", "--dir", program.folder / "pki"});
    INFO(renewed.err);
    REQUIRE(renewed.exit_code == 0);
    const auto made = crypto::Certificate::FromPem(
        TextOf(program.folder / "pki/server/certificate.pem"));
    REQUIRE_THAT(made.status(), IsOk());
    if (hang_up) REQUIRE(kill(program.pid(), SIGHUP) == 0);
    program.AwaitLog(made->fingerprint().Hex());

    // On a connection of its own, which ends before the agent's goes on: else
    // one would displace the other.
    grpc::ClientContext context;
    v1::ListAgentsReply reply;
    REQUIRE(v1::Fleet::NewStub(program.Fleet("operator"))
                ->ListAgents(&context, v1::ListAgentsRequest(), &reply)
                .ok());
    const auto shown =
        context.auth_context()->FindPropertyValues("x509_pem_cert");
    REQUIRE(shown.size() == 1);
    CHECK(crypto::Certificate::FromPem({shown[0].data(), shown[0].size()})
              ->fingerprint() == made->fingerprint());
    REQUIRE(agent.Round()->state() == "TRUSTED");
    CHECK(agent.ServerCertificate() == first);
  }
  StreamAgent after(program.Attest(), machine, Id());
  REQUIRE(after.SayHello());
  REQUIRE(after.Round()->state() == "TRUSTED");
  CHECK_FALSE(after.ServerCertificate() == first);
  CHECK(program.Terminate(kSeconds) == 0);
}

TEST_CASE("SIGTERM ends it within seconds, whoever is connected") {
  VerifierProgram program;
  FakeMachine machine;
  Provision(*program.OpenStore(), machine);
  program.Start();
  StreamAgent agent(program.Attest(), machine, Id());
  REQUIRE(agent.SayHello());
  REQUIRE(agent.Round()->state() == "TRUSTED");
  REQUIRE(agent.Receive()->has_challenge());
  // A stream that says nothing, and one that only listens.
  StreamAgent silent(program.Attest(), machine, Id());
  const auto fleet = v1::Fleet::NewStub(program.Fleet("operator"));
  grpc::ClientContext context;
  v1::WatchRequest watch;
  watch.set_with_present(true);
  const auto events = fleet->Watch(&context, watch);
  v1::Event event;
  REQUIRE(events->Read(&event));

  CHECK(program.Terminate(kSeconds) == 0);
  CHECK_FALSE(fs::exists(program.folder / "state/listening"));
  // The agent was told when to come back, and the watcher that it is over.
  while (agent.Receive().has_value()) {
  }
  CHECK(absl::StrContains(agent.refusal(), "shutting down"));
  CHECK_FALSE(events->Read(&event));
  CHECK(events->Finish().error_code() == grpc::StatusCode::UNAVAILABLE);
  CHECK(program.OpenStore()->GetAgent(kDefaultTenant, Id())->state ==
        AgentState::kTrusted);
  // And it starts again where it ended.
  program.Start();
  CHECK(StateOf(program) == "STATE_TRUSTED");
}

TEST_CASE("A backup made while verdicts are written is a store at one moment") {
  VerifierProgram program;
  FakeMachine machine;
  Provision(*program.OpenStore(), machine);
  program.Start();
  // Settings change, and with them several tables, as fast as they can.
  std::atomic<bool> stop = false;
  std::thread writer([&] {
    const auto fleet = v1::Fleet::NewStub(program.Fleet("operator"));
    for (int i = 0; !stop; ++i) {
      grpc::ClientContext context;
      v1::UpdateAgentRequest request;
      request.mutable_selector()->set_agent_id(kId);
      request.add_changed("labels");
      (*request.mutable_settings()->mutable_labels())["round"] =
          std::to_string(i);
      v1::UpdateAgentReply reply;
      fleet->UpdateAgents(&context, request, &reply);
    }
  });
  StreamAgent agent(program.Attest(), machine, Id());
  REQUIRE(agent.SayHello());
  uint64_t last = 0;
  for (int i = 0; i < 5; ++i) {
    agent.Round();
    const std::string copy = program.folder / absl::StrCat("copy", i);
    const auto made = program.Run({"backup", copy});
    INFO(made.err);
    REQUIRE(made.exit_code == 0);
    CHECK(ModeOf(copy) == ModeOf(program.store_path()));
    CHECK(ModeOf(copy) == 0600);
    CHECK_FALSE(fs::exists(copy + ".part"));
    // Nothing is overwritten.
    CHECK(program.Run({"backup", copy}).exit_code == 1);

    auto opened = SqlStore::Open(copy);
    REQUIRE_THAT(opened.status(), IsOk());
    const auto record = (*opened)->GetAgent(kDefaultTenant, Id());
    REQUIRE_THAT(record.status(), IsOk());
    // Record, labels and events are of the same transaction.
    const auto events = (*opened)->EventsAfter(kDefaultTenant, 0, 1'000'000);
    REQUIRE_THAT(events.status(), IsOk());
    REQUIRE_FALSE(events->empty());
    CHECK(events->back().state == record->state);
    AgentFilter filter;
    filter.tenant = kDefaultTenant;
    filter.labels = record->settings.labels;
    CHECK((*opened)->ListAgents(filter)->size() == 1);
    CHECK(events->back().sequence >= last);
    last = events->back().sequence;
  }
  stop = true;
  writer.join();
  CHECK(last > 5);
  const auto missing =
      program.Run({"--set", "store_path=" + (program.folder / "none.db"),
                   "backup", program.folder / "copy of none"});
  CHECK(missing.exit_code == 1);
  CHECK(absl::StrContains(missing.err, program.folder / "none.db"));
  CHECK_FALSE(fs::exists(program.folder / "none.db"));
}

TEST_CASE("The command line means what it says, or is refused") {
  VerifierProgram program;
  REQUIRE(program.OpenStore() != nullptr);
  const std::string copy = program.folder / "copy";
  // An option takes one value, and leaves the file to its command.
  CHECK(program.Run({"backup", "--set", "log_level=info", copy}).exit_code ==
        0);
  CHECK(fs::exists(copy));
  const auto nameless =
      testing::RunCommand({CUPEL_VERIFIER, "--config", "", "backup", copy});
  REQUIRE_THAT(nameless.status(), IsOk());
  CHECK(nameless->exit_code == 2);
  CHECK(absl::StrContains(nameless->err, "--config: the file has no name"));
  const auto misspelt = program.Run({"--set", "log_leve=info", "backup", copy});
  CHECK(misspelt.exit_code == 2);
  CHECK(absl::StrContains(misspelt.err, "--set log_leve: unknown option"));
}

// The disk is full, for the verifier's process alone: nothing is written to a
// file behind its first bytes, which are left to the log.
void SetDiskFull(const VerifierProgram& program, bool full) {
  const rlimit limit = {full ? 4000 : RLIM_INFINITY, RLIM_INFINITY};
  REQUIRE(prlimit(program.pid(), RLIMIT_FSIZE, &limit, nullptr) == 0);
}

TEST_CASE("A disk that is full makes nobody trusted, and is got over") {
  VerifierProgram program;
  FakeMachine machine;
  Provision(*program.OpenStore(), machine);
  program.Start();
  SetDiskFull(program, true);
  std::thread agent_thread;
  std::atomic<bool> stop = false;
  std::set<std::string> told;
  agent_thread = std::thread([&] {
    while (!stop) {
      StreamAgent agent(program.Attest(), machine, Id());
      if (!agent.SayHello()) continue;
      while (const auto verdict = agent.Round()) {
        told.insert(verdict->state());
        if (verdict->state() == "TRUSTED") stop = true;
        if (stop) break;
      }
    }
  });
  program.AwaitLog("the store fails");
  for (int i = 0; i < 20; ++i) {
    CHECK(StateOf(program) == "STATE_PENDING");
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  // An operator is told that it did not work.
  grpc::ClientContext context;
  v1::StopRequest request;
  request.set_agent_id(kId);
  v1::StopReply reply;
  CHECK(v1::Fleet::NewStub(program.Fleet("operator"))
            ->Stop(&context, request, &reply)
            .error_code() == grpc::StatusCode::UNAVAILABLE);
  CHECK_FALSE(stop);

  SetDiskFull(program, false);
  agent_thread.join();
  CHECK(told.contains("TRUSTED"));
  CHECK_FALSE(told.contains("FAILED"));
  CHECK(program.Terminate(kSeconds) == 0);
  CHECK(program.OpenStore()->GetAgent(kDefaultTenant, Id())->state ==
        AgentState::kTrusted);
}

TEST_CASE("Trust that can't be renewed for a full disk runs out, and returns") {
  VerifierProgram program;
  FakeMachine machine;
  Provision(*program.OpenStore(), machine);
  program.Start({"interval=1s", "grace=1s"});
  std::atomic<bool> stop = false;
  std::thread agent_thread([&] {
    while (!stop) {
      StreamAgent agent(program.Attest(), machine, Id());
      if (!agent.SayHello()) continue;
      while (!stop && agent.Round().has_value()) {
      }
    }
  });
  const auto await_state = [&](const std::string& state) {
    for (int i = 0; StateOf(program) != state; ++i) {
      INFO(program.Log());
      REQUIRE(i < 1200);
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  };
  await_state("STATE_TRUSTED");
  SetDiskFull(program, true);
  await_state("STATE_PENDING");
  SetDiskFull(program, false);
  await_state("STATE_TRUSTED");
  stop = true;
  agent_thread.join();
}

}  // namespace
}  // namespace cupel::verifier
