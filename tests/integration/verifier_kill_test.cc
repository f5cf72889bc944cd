// kill -9 of a verifier that is writing verdicts: none that anybody was told of
// is lost, and none is in the store that no evidence explains.
#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "grpcpp/client_context.h"
#include "proto/cupel/v1/fleet.grpc.pb.h"
#include "tests/integration/verifier_program.h"
#include "tests/support/evidence_builder.h"
#include "tests/support/status_matchers.h"
#include "tests/support/stream_agent.h"
#include "verifier/rpc/policies_service.h"

namespace cupel::verifier {
namespace {

using testing::FakeMachine;
using testing::IsOk;
using testing::StreamAgent;

constexpr int kMachineCount = 6;
constexpr int kKillCount = 30;
constexpr char kTenant[] = "default";

// What was told of one machine, and what it has done. Its thread's while a
// verifier runs, else the test's.
struct Machine {
  explicit Machine(int the_number)
      : number(the_number),
        id(*AgentId::Parse(
            absl::StrCat("d432fbb3-d2f1-4a97-9ef7-75bd81c0000", the_number))),
        machine({crypto::HashAlgorithm::kSha256},
                {.key_index = the_number, .ek_name = EkName(the_number)}),
        random(static_cast<uint32_t>(the_number)) {}

  static std::vector<uint8_t> EkName(int number) {
    std::vector<uint8_t> name = {0x00, 0x0b};  // SHA-256
    const crypto::Digest digest = crypto::Hash(crypto::HashAlgorithm::kSha256,
                                               AsBytes(std::to_string(number)));
    Append(name, digest.bytes());
    return name;
  }

  const int number;
  const AgentId id;
  FakeMachine machine;
  std::minstd_rand random;
  std::string last_told;            // the state
  size_t told = 0;                  // verdicts
  size_t begun = 0;                 // rounds whose evidence may be complete
  std::set<std::string> evil;       // every path that it ever ran
  std::string present_evil;         // in the present list, and not told of yet
  std::set<std::string> told_evil;  // FAILED was told with it
  bool reactivating = false;        // asked for, and not answered
  std::vector<std::string> wrong;
};

// As the watcher was told.
using ToldEvent = std::tuple<int64_t, std::string, int, std::string>;

class Drill {
 public:
  Drill() {
    for (int i = 0; i < kMachineCount; ++i) {
      machines_.push_back(std::make_unique<Machine>(i));
    }
    const auto store = program.OpenStore();
    const auto file = CheckPolicyFile(
        ToVector(AsBytes(testing::AllowlistOf(machines_.front()->machine))),
        "base", /*signers=*/{});
    REQUIRE_THAT(file.status(), IsOk());
    REQUIRE_THAT(store
                     ->PutPolicy(kTenant, "base", file->file,
                                 file->digest_count, true, "test")
                     .status(),
                 IsOk());
    for (const auto& machine : machines_) {
      REQUIRE_THAT(testing::EnrollMachine(*store, machine->id, machine->machine,
                                          absl::StrCat("EK ", machine->number)),
                   IsOk());
      AgentSettings settings;
      settings.boot = "any";
      settings.policies = {"base"};
      REQUIRE_THAT(
          store->AddAgent(kTenant, machine->id, settings, "", "test").status(),
          IsOk());
    }
  }

  // One verifier, from its start until it is killed.
  void RunUntilKilled(std::chrono::milliseconds lifetime) {
    stop_ = false;
    program.Start();
    std::vector<std::thread> threads;
    threads.emplace_back([this] { Watch(); });
    for (const auto& machine : machines_) {
      threads.emplace_back([this, &machine] { Drive(*machine); });
    }
    std::this_thread::sleep_for(lifetime);
    program.Kill();
    stop_ = true;
    for (std::thread& thread : threads) thread.join();
  }

  void CheckStore() {
    const auto store = program.OpenStore();
    const auto events = store->EventsAfter(kTenant, 0, 1'000'000);
    REQUIRE_THAT(events.status(), IsOk());
    CheckEvents(*events);
    for (const auto& machine : machines_) {
      CAPTURE(machine->number);
      CHECK(machine->wrong == std::vector<std::string>());
      const auto record = store->GetAgent(kTenant, machine->id);
      REQUIRE_THAT(record.status(), IsOk());
      CheckRecord(*machine, *record);
    }
  }

  size_t told() const {
    size_t sum = 0;
    for (const auto& machine : machines_) sum += machine->told;
    return sum;
  }
  size_t told_failures() const {
    size_t sum = 0;
    for (const auto& machine : machines_) sum += machine->told_evil.size();
    return sum;
  }
  size_t watched() const { return watched_.size(); }

  VerifierProgram program;

 private:
  void Watch() {
    const auto stub = v1::Fleet::NewStub(program.Fleet("operator"));
    grpc::ClientContext context;
    const auto reader = stub->Watch(&context, v1::WatchRequest());
    v1::Event event;
    while (reader->Read(&event)) {
      watched_.insert(
          {event.time().seconds() * 1'000'000'000 + event.time().nanos(),
           event.agent_id(), event.state(), event.text()});
    }
    context.TryCancel();
  }

  // True if the agent is PENDING now, as far as anybody can know.
  bool Reactivate(Machine& machine) {
    const auto stub = v1::Fleet::NewStub(program.Fleet("operator"));
    grpc::ClientContext context;
    v1::ReactivateRequest request;
    request.set_agent_id(machine.id.ToString());
    v1::ReactivateReply reply;
    machine.reactivating = true;
    const grpc::Status status = stub->Reactivate(&context, request, &reply);
    // FAILED_PRECONDITION: one that nobody was answered had been done.
    if (!status.ok() &&
        status.error_code() != grpc::StatusCode::FAILED_PRECONDITION) {
      return false;
    }
    machine.reactivating = false;
    machine.last_told = "PENDING";
    return true;
  }

  void Drive(Machine& machine) {
    while (!stop_) {
      if (machine.last_told == "FAILED" && !Reactivate(machine)) return;
      StreamAgent agent(program.Attest(), machine.machine, machine.id);
      if (!agent.SayHello()) continue;
      while (!stop_ && Round(machine, agent)) {
      }
    }
  }

  // False if the stream is over.
  bool Round(Machine& machine, StreamAgent& agent) {
    if (machine.last_told == "TRUSTED" && machine.present_evil.empty() &&
        machine.random() % 3 == 0) {
      machine.present_evil =
          absl::StrCat("/evil/", machine.number, "/", machine.evil.size());
      machine.evil.insert(machine.present_evil);
      machine.machine.list.AddFile(machine.present_evil,
                                   testing::FileDigestOf("evil"));
    }
    ++machine.begun;
    const auto verdict = agent.Round();
    if (!verdict.has_value()) return false;
    ++machine.told;
    machine.last_told = verdict->state();
    if (verdict->state() == "TRUSTED" && !machine.present_evil.empty()) {
      machine.wrong.push_back("TRUSTED with " + machine.present_evil);
    }
    if (verdict->state() != "FAILED") return true;
    if (machine.present_evil.empty()) {
      machine.wrong.push_back(absl::StrCat(
          "FAILED without cause: ",
          verdict->findings_size() > 0 ? verdict->findings(0) : ""));
    }
    machine.told_evil.insert(machine.present_evil);
    machine.present_evil.clear();
    // A new boot for the next attempt, once an operator has said so.
    machine.machine.Reboot();
    return false;
  }

  void CheckEvents(const std::vector<AgentEvent>& events) {
    std::set<ToldEvent> stored;
    std::map<std::string, AgentState> states;
    std::map<std::string, std::set<std::string>> failed_for;
    uint64_t sequence = 0;
    for (const AgentEvent& event : events) {
      const std::string id = event.id.ToString();
      CAPTURE(id, event.sequence, event.text);
      CHECK(event.sequence > sequence);
      sequence = event.sequence;
      stored.insert({absl::ToUnixNanos(event.time), id,
                     static_cast<int>(event.state), event.text});
      // Each one goes on where the one before it ended.
      if (states.contains(id)) CHECK(event.previous == states.at(id));
      states[id] = event.state;
      if (event.state == AgentState::kTrusted) {
        CHECK(event.previous == AgentState::kPending);
      }
      if (event.previous == AgentState::kFailed &&
          event.state != AgentState::kFailed) {
        CHECK(absl::StartsWith(event.text, "reactivated by "));
      }
      if (event.state == AgentState::kFailed) {
        size_t failures = 0;
        for (const appraisal::Finding& finding : event.findings) {
          if (finding.severity != appraisal::Severity::kFailure) continue;
          ++failures;
          CHECK(finding.id == "ima.not_in_policy");
          CHECK(failed_for[id].insert(finding.path).second);
        }
        CHECK(failures == 1);
      }
    }
    for (const ToldEvent& told : watched_) {
      CAPTURE(std::get<1>(told), std::get<3>(told));
      CHECK(stored.contains(told));
    }
    for (const auto& machine : machines_) {
      CAPTURE(machine->number);
      const std::set<std::string>& paths = failed_for[machine->id.ToString()];
      for (const std::string& path : paths) {
        CAPTURE(path);
        CHECK(machine->evil.contains(path));
      }
      for (const std::string& path : machine->told_evil) {
        CAPTURE(path);
        CHECK(paths.contains(path));
      }
    }
  }

  void CheckRecord(const Machine& machine, const AgentRecord& record) {
    CAPTURE(machine.last_told, AgentStateName(record.state),
            machine.present_evil, machine.reactivating);
    // Each verdict that was told counts, and no more were made than begun.
    CHECK(record.attestation_count >= machine.told);
    CHECK(record.attestation_count <= machine.begun);
    if (machine.last_told == "FAILED") {
      CHECK((record.state == AgentState::kFailed ||
             (machine.reactivating && record.state == AgentState::kPending)));
    } else if (machine.last_told == "TRUSTED") {
      CHECK((record.state == AgentState::kTrusted ||
             (!machine.present_evil.empty() &&
              record.state == AgentState::kFailed)));
    } else {  // PENDING, or nothing: what was made of it may not have been told
      CHECK((record.state == AgentState::kPending ||
             record.state == AgentState::kTrusted));
    }
    // Verdict and progress are of one write: what is trusted was seen to here.
    if (record.state == AgentState::kTrusted) {
      CHECK(record.progress.entry_count == 4);
      CHECK(record.counts.good == 4);
      CHECK(record.valid_until.has_value());
    }
  }

  std::vector<std::unique_ptr<Machine>> machines_;
  std::atomic<bool> stop_ = false;
  std::set<ToldEvent> watched_;  // the watcher's thread's while one runs
};

TEST_CASE("kill -9 of a verifier loses no verdict and invents none") {
  Drill drill;
  std::mt19937 random(20240229);
  for (int kill_number = 0; kill_number < kKillCount; ++kill_number) {
    CAPTURE(kill_number);
    drill.RunUntilKilled(std::chrono::milliseconds(random() % 700));
    drill.CheckStore();
  }
  // It was about something.
  CHECK(drill.told() > 100);
  CHECK(drill.told_failures() > 20);
  CHECK(drill.watched() > 50);
}

}  // namespace
}  // namespace cupel::verifier
