// A session with a machine at its other end: valid in every respect until a
// test changes one thing.
#ifndef CUPEL_TESTS_VERIFIER_SESSION_SESSION_RIG_H_
#define CUPEL_TESTS_VERIFIER_SESSION_SESSION_RIG_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "tests/support/evidence_builder.h"
#include "tests/verifier/session/rig_store.h"
#include "verifier/session/messages.h"
#include "verifier/session/policy_cache.h"
#include "verifier/session/session.h"
#include "verifier/session/session_table.h"

namespace cupel::verifier {

AgentId TestAgentId(uint8_t last = 1);
// A policy file that allows what the machine has measured.
std::string PolicyFileOf(const testing::FakeMachine& machine);

// What a session has put out, in pieces that tests take away.
class RecordedOutput : public SessionOutput {
 public:
  void SendChallenge(const ChallengeMessage& message) override {
    challenges.push_back(message);
  }
  void SendListRequest(const ListRequestMessage& message) override {
    list_requests.push_back(message);
  }
  void SendVerdict(const VerdictMessage& message) override {
    verdicts.push_back(message);
  }
  void SendRefusal(const RefusalMessage& message) override {
    refusals.push_back(message);
  }
  void OnStateRecorded(AgentState, AgentState state) override {
    states.push_back(state);
  }
  void PostPolicyLoad(PolicyRequest request) override {
    loads.push_back(std::move(request));
  }
  void PostAppraisal(AppraisalJob job) override {
    jobs.push_back(std::move(job));
  }
  void PostVerdict(VerdictWrite write, bool is_urgent) override {
    writes.push_back(std::move(write));
    urgent_count += is_urgent ? 1 : 0;
  }
  void SetTimer(absl::Time at) override { timer = at; }

  std::vector<ChallengeMessage> challenges;
  std::vector<ListRequestMessage> list_requests;
  std::vector<VerdictMessage> verdicts;
  std::vector<RefusalMessage> refusals;
  std::vector<AgentState> states;
  std::vector<PolicyRequest> loads;
  std::vector<AppraisalJob> jobs;
  std::vector<VerdictWrite> writes;
  int urgent_count = 0;
  absl::Time timer = absl::InfiniteFuture();
};

// What several streams of a test share: store, policies, table, clock.
struct Verifier {
  explicit Verifier(const SessionLimits& limits = {}) : table(limits) {}

  // Enrolled, added and PENDING, with the policy "base" and its boot approved.
  // `change` may ask for something else before; an empty `boot` approves none.
  struct Plan {
    Enrollment enrollment;
    AgentSettings settings;
    std::string boot;  // the composite that is approved, hex
  };
  void Add(const testing::FakeMachine& machine, const AgentId& id,
           const std::function<void(Plan&)>& change = nullptr);
  // As the machine's enrolment does, by its AK of now.
  void Enroll(const testing::FakeMachine& machine, const AgentId& id);
  void Enroll(const Enrollment& enrollment, const AgentId& id);
  // As an operator changes them.
  void Update(const AgentId& id,
              const std::function<void(AgentSettings&)>& change);
  AgentRecord Record(const AgentId& id) {
    return store.GetAgent("default", id).value();
  }

  RigStore store;
  PolicyCache policies{store};
  SessionTable table;
  SessionOptions options{.owner = "verifier-1",
                         .jitter = 0,
                         .failed_interval = absl::ZeroDuration()};
  absl::Time now = absl::FromUnixSeconds(5000);

 private:
  int nonce_ = 0;
};

// One stream: the verifier's session and an agent that drives it.
class Stream {
 public:
  Stream(Verifier& verifier, testing::FakeMachine& machine,
         const AgentId& id = TestAgentId());

  // The agent's part, message by message.
  HelloMessage Hello() const;
  // The answer to the last challenge.
  QuoteMessage Quote() const;
  QuoteMessage QuoteFor(const ChallengeMessage& challenge) const;
  // The list from where the verifier wants it.
  std::vector<uint8_t> List() const;

  void SayHello() { session->OnHello(Hello(), verifier.now); }
  // Hello and the quote; the list is due then.
  void Prove();
  // The policy is loaded at once.
  void SendQuote() {
    session->OnQuote(Quote(), verifier.now);
    RunLoads();
  }
  void SendList();
  // Runs what was posted and brings it back.
  void RunJobs();
  // The same of policies alone.
  void RunLoads();
  // The same of verdicts alone.
  void RecordWrites();
  // From an armed challenge to the verdict, and on to the next challenge.
  void Round();
  // Lets time pass, timers included.
  void Wait(absl::Duration duration);

  AgentRecord record() { return verifier.Record(id); }
  AgentState state() { return record().state; }
  bool refused() const { return !output.refusals.empty(); }
  std::string refusal() const {
    return refused() ? output.refusals.back().reason : "";
  }

  Verifier& verifier;
  testing::FakeMachine& machine;
  const AgentId id;
  std::vector<uint8_t> certificate;
  RecordedOutput output;
  int displaced = 0;
  std::unique_ptr<Session> session;
};

}  // namespace cupel::verifier

#endif  // CUPEL_TESTS_VERIFIER_SESSION_SESSION_RIG_H_
