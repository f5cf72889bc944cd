// Attacks on a verdict between its making and its reading, with a running
// verifier: what throws, two verifiers, verdicts that are to be washed off,
// policies that change. Each begins with an agent that it trusts.
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/notification.h"
#include "common/util/bytes.h"
#include "tests/attacks/live_scene.h"
#include "tests/support/status_matchers.h"

namespace cupel::testing {
namespace {

using ::cupel::verifier::AgentEvent;
using ::cupel::verifier::AgentRecord;
using ::cupel::verifier::AgentState;

// What a verifier's store does instead of one of its calls, so many times.
class Faults {
 public:
  using Fault = std::function<absl::Status()>;

  void Set(std::string call, Fault fault, int count = 1'000'000) {
    const std::lock_guard<std::mutex> lock(mutex_);
    call_ = std::move(call);
    fault_ = std::move(fault);
    count_ = count;
  }
  void Clear() { Set("", {}, 0); }

  absl::Status Take(absl::string_view call) {
    Fault fault;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (call != call_ || count_ == 0) return absl::OkStatus();
      --count_;
      fault = fault_;
    }
    return fault();
  }

 private:
  std::mutex mutex_;  // guards all below
  std::string call_;
  Fault fault_;
  int count_ = 0;
};

LiveSceneOptions With(const std::shared_ptr<Faults>& faults) {
  return {.configure =
              [](auto& config) {
                // The victim's stream, and one that is tried.
                config.max_streams = 2;
                config.max_unproven_streams = 2;
              },
          .before_store_call =
              [faults](absl::string_view call) { return faults->Take(call); }};
}

// A trust that is not earned anew.
struct Trust {
  explicit Trust(const AgentRecord& record)
      : state(record.state),
        valid_until(record.valid_until),
        last_attested(record.last_attested),
        count(record.attestation_count) {}
  friend bool operator==(const Trust&, const Trust&) = default;

  AgentState state;
  std::optional<absl::Time> valid_until;
  std::optional<absl::Time> last_attested;
  uint64_t count;
};

TEST_CASE("A17: the store throws, or is away, in the middle of a check") {
  const auto faults = std::make_shared<Faults>();
  LiveScene scene(With(faults));
  const std::string call =
      GENERATE("FindAgent", "ClaimAgent", "PolicyContentId");
  Faults::Fault fault;
  std::string outcome = "ended: INTERNAL";
  SECTION("an exception") {
    fault = []() -> absl::Status { throw std::runtime_error("broken"); };
  }
  SECTION("memory") {
    fault = []() -> absl::Status { throw std::bad_alloc(); };
  }
  SECTION("something else") {
    fault = []() -> absl::Status { throw 7; };
  }
  SECTION("it is away") {
    fault = [] { return absl::UnavailableError("the disk is gone"); };
    outcome = "refused: the verifier can't reach its store";
  }
  const Trust before(scene.Record());
  faults->Set(call, fault);
  {
    const auto stream = scene.Connect();
    CHECK(stream->Attest() == outcome);
  }
  faults->Clear();
  CHECK(Trust(scene.Record()) == before);
  // Nothing is left behind that would keep the next one out.
  Await([&] {
    scene.stream = scene.Connect();
    return scene.stream->Attest() == "TRUSTED";
  });
}

TEST_CASE("A17: the store throws as a verdict is written") {
  const auto faults = std::make_shared<Faults>();
  LiveScene scene(With(faults));
  const bool is_evil = GENERATE(false, true);
  if (is_evil) {
    scene.victim.machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
  }
  const Trust before(scene.Record());
  faults->Set("RecordVerdict",
              []() -> absl::Status { throw std::runtime_error("broken"); });
  CHECK(scene.stream->Round() == "ended: INTERNAL");
  CHECK(Trust(scene.Record()) == before);
  faults->Clear();
  // What was not written is found again, whichever it was.
  std::string outcome;
  Await([&] {
    scene.stream = scene.Connect();
    outcome = scene.stream->Attest();
    return outcome.rfind("refused", 0) != 0;
  });
  CHECK(outcome == (is_evil ? "FAILED ima.not_in_policy" : "TRUSTED"));
}

TEST_CASE("A17: a verdict that the store does not take is not forgotten") {
  const auto faults = std::make_shared<Faults>();
  LiveScene scene(With(faults));
  scene.victim.machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
  faults->Set(
      "RecordVerdict",
      [] { return absl::UnavailableError("the disk is full"); }, 1);
  const auto challenge = scene.stream->AwaitChallenge();
  REQUIRE(challenge.has_value());
  REQUIRE(scene.stream->SendQuote(*challenge));
  REQUIRE(scene.stream->SendList());
  // It hangs up on its own verdict.
  if (GENERATE(false, true)) {
    Await(
        [&] { return absl::StrContains(scene.verifier.log(), "IMA ERRORS"); });
    scene.HangUp();
  }
  Await([&] { return scene.State() == AgentState::kFailed; });
}

constexpr char kUnmatchable[] =
    R"json({"meta": {"version": 1}, "release": 0, "digests": {},
            "excludes": ["(?=x)"]})json";

TEST_CASE("A37: excludes that count no more have all judged again") {
  LiveScene scene;
  Operator own = scene.verifier.As();
  REQUIRE(
      own.PutPolicy("loose",
                    R"({"meta":{"version":1},"release":0,"digests":{},)"
                    R"("excludes":["/tmp/.*"],"keyrings":{},)"
                    R"("ima":{"ignored_keyrings":[],"log_hash_alg":"sha1"},)"
                    R"("ima-buf":{},"verification-keys":""})",
                    /*create=*/true)
          .ok());
  v1::AgentSettings settings;
  settings.add_policies(PolicyNameOf(scene.victim));
  settings.add_policies("loose");
  scene.UpdateSettings(settings, {"policies"});
  scene.victim.machine.list.AddFile("/tmp/x", FileDigestOf("anything"));
  REQUIRE(scene.stream->Settle() == "TRUSTED");
  CHECK(scene.Record().counts.excluded == 1);
  // Nothing new has run. What was passed over is looked at now.
  settings.add_without_excludes("loose");
  scene.UpdateSettings(settings, {"policies", "without_excludes"});
  CHECK(scene.stream->Settle() == "FAILED ima.not_in_policy");
  CHECK(scene.Shown().settings().without_excludes(0) == "loose");
}

TEST_CASE("A13: violations that are tolerated no more fail") {
  LiveScene scene;
  v1::AgentSettings settings;
  settings.add_tolerated_violations("/usr/bin/sh$");
  scene.UpdateSettings(settings, {"tolerated_violations"});
  scene.victim.machine.list.AddViolation("/usr/bin/sh");
  REQUIRE(scene.stream->Settle() == "TRUSTED");
  CHECK(scene.Record().counts.violations == 1);
  scene.UpdateSettings({}, {"tolerated_violations"});
  CHECK(scene.stream->Settle() == "FAILED ima.violation");
}

TEST_CASE("A32: a verdict says which policies it was reached with") {
  LiveScene scene;
  const auto stored = [&] {
    return scene.verifier.store()
        .GetPolicy("default", PolicyNameOf(scene.victim))
        ->content_id;
  };
  const auto last_event = [&] {
    return scene.verifier.store().EventsAfter("default", 0, 1000)->back();
  };
  const std::string first = stored();
  REQUIRE(scene.Shown().judged_policies_size() == 1);
  CHECK(scene.Shown().judged_policies(0).name() == PolicyNameOf(scene.victim));
  CHECK(scene.Shown().judged_policies(0).content_id() == first);
  REQUIRE(last_event().policies.size() == 1);
  CHECK(last_event().policies[0].content_id == first);

  // Another version: until it is judged by that, nothing says that it was.
  scene.victim.machine.policy.digests["/tmp/more"] = {FileDigestOf("more")};
  scene.UpdatePolicy(scene.victim);
  REQUIRE(stored() != first);
  REQUIRE(scene.stream->Settle() == "TRUSTED");
  CHECK(scene.Shown().judged_policies(0).content_id() == stored());
  CHECK(last_event().policies[0].content_id == stored());
  scene.victim.machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
  CHECK_THAT(scene.stream->Settle(), StartsWith("FAILED"));
  CHECK(last_event().policies[0].content_id == stored());
}

TEST_CASE("A17: a policy that can't be read is no pass") {
  LiveScene scene;
  verifier::SqlStore& store = scene.verifier.store();
  const std::string name = PolicyNameOf(scene.victim);
  SECTION("it is none") {
    REQUIRE_THAT(StatusOf(store.PutPolicy("default", name, AsBytes("{\"a\": "),
                                          0, false, "test")),
                 IsOk());
  }
  SECTION("it has a pattern that nobody can match") {
    REQUIRE_THAT(StatusOf(store.PutPolicy(
                     "default", name, AsBytes(kUnmatchable), 0, false, "test")),
                 IsOk());
  }
  // A changed policy ends the trust in what the old one allowed.
  Await([&] { return scene.State() == AgentState::kPending; });
  scene.stream = scene.Connect();
  CHECK_THAT(scene.stream->Attest(), StartsWith("refused: "));
  CHECK(scene.State() == AgentState::kPending);
  CHECK(scene.Findings().empty());
  // It says why.
  CHECK_FALSE(scene.Shown().state_reason().empty());
  scene.UpdatePolicy(scene.victim);
  scene.stream = scene.Connect();
  CHECK(scene.stream->Attest() == "TRUSTED");
}

TEST_CASE("A18: a verifier that has lost the agent writes nothing") {
  LiveScene scene;
  LiveVerifier second(scene.deployment);
  HostileStream there(second.Attest(), scene.victim);
  REQUIRE(there.Attest() == "TRUSTED");
  scene.Remember();
  const bool is_evil = GENERATE(false, true);
  if (is_evil) {
    scene.victim.machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
  }
  CHECK_THAT(scene.stream->Round(),
             StartsWith("refused: another stream of this agent"));
  scene.CheckUnchanged();
  // But what it saw is told.
  const auto events = scene.verifier.store().EventsAfter("default", 0, 1000);
  REQUIRE_THAT(StatusOf(events), IsOk());
  CHECK(absl::StrContains(events->back().text, "found by a verifier that") ==
        is_evil);
  // The new owner goes on, and sees what there is to be seen.
  CHECK(there.Round() == (is_evil ? "FAILED ima.not_in_policy" : "TRUSTED"));
}

TEST_CASE("A18: a verifier loses the agent while it judges it") {
  const auto faults = std::make_shared<Faults>();
  LiveScene scene(With(faults));
  LiveVerifier second(scene.deployment);
  // Between the first one's judgement and its write the other takes over and
  // finds something bad.
  faults->Set(
      "RecordVerdict",
      [&] {
        auto record = second.store().ClaimAgent(scene.victim.id(), "second");
        if (!record.ok()) return record.status();
        appraisal::Finding finding;
        finding.id = "ima.not_in_policy";
        finding.severity = appraisal::Severity::kFailure;
        return second.store()
            .RecordVerdict({.id = record->id,
                            .owner_epoch = record->owner_epoch,
                            .policy_epoch = record->policy_epoch,
                            .state = AgentState::kFailed,
                            .reason = "ima.not_in_policy",
                            .findings = std::vector{finding},
                            .progress = record->progress,
                            .decided = true})
            .status();
      },
      1);
  CHECK_THAT(scene.stream->Round(),
             StartsWith("refused: another stream of this agent"));
  CHECK(scene.State() == AgentState::kFailed);
  CHECK(scene.Findings() == std::vector<std::string>{"ima.not_in_policy"});
}

TEST_CASE("A31: an agent that takes its stream away from a bad verdict") {
  absl::Notification judged;
  absl::Notification taken;
  const auto faults = std::make_shared<Faults>();
  LiveScene scene(With(faults));
  faults->Set(
      "RecordVerdict",
      [&] {
        judged.Notify();
        taken.WaitForNotificationWithTimeout(absl::Seconds(20));
        return absl::OkStatus();
      },
      1);
  scene.victim.machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
  const auto challenge = scene.stream->AwaitChallenge();
  REQUIRE(challenge.has_value());
  REQUIRE(scene.stream->SendQuote(*challenge));
  REQUIRE(scene.stream->SendList());
  REQUIRE(judged.WaitForNotificationWithTimeout(absl::Seconds(20)));
  // Evil, and at once clean: the file went with a reboot.
  scene.victim.machine.Reboot();
  const bool hangs_up = GENERATE(false, true);
  if (hangs_up) scene.stream->HangUp();
  std::unique_ptr<HostileStream> next = scene.Connect();
  CHECK(next->Prove());
  taken.Notify();
  CHECK(next->SendList());
  next->Outcome();
  Await([&] { return scene.State() == AgentState::kFailed; });
  const appraisal::Finding first = scene.Record().findings.at(0);
  CHECK(first.id == "ima.not_in_policy");
  CHECK(first.path == "/tmp/evil");
  // The line follows the write.
  Await([&] { return absl::StrContains(scene.verifier.log(), "failed"); });
  CHECK_THAT(next->Round(), StartsWith("FAILED"));
}

TEST_CASE("A18: an agent that no verifier watches is seen to be so") {
  LiveScene scene;
  LiveVerifier second(scene.deployment, [](auto& config) {
    config.grace = absl::Milliseconds(100);
  });
  const uint64_t before = *second.store().LastEventSequence();
  scene.verifier.Stop();
  v1::Agent agent;
  REQUIRE(second.As("pki/viewer").GetAgent(scene.victim.id(), agent).ok());
  CHECK(agent.state() == v1::STATE_TRUSTED);
  // Nobody need do anything for it.
  scene.deployment.Advance(absl::Hours(1));
  REQUIRE(second.As("pki/viewer").GetAgent(scene.victim.id(), agent).ok());
  CHECK(agent.state() == v1::STATE_PENDING);
  CHECK_FALSE(agent.live());
  // And people hear of it.
  std::vector<AgentEvent> events;
  Await([&] {
    events = *second.store().EventsAfter("default", before, 10);
    return !events.empty();
  });
  CHECK(events[0].previous == AgentState::kTrusted);
  CHECK(events[0].state == AgentState::kPending);
}

TEST_CASE("A31: nothing washes FAILED off") {
  LiveScene scene;
  scene.victim.machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
  REQUIRE(scene.stream->Round() == "FAILED ima.not_in_policy");
  const auto check = [&] {
    CHECK(scene.State() == AgentState::kFailed);
    CHECK(scene.Shown().state() == v1::STATE_FAILED);
    CHECK(scene.Record().findings.at(0).path == "/tmp/evil");
  };
  SECTION("silence") {
    scene.HangUp();
    scene.deployment.Advance(absl::Hours(24 * 365));
    // A sweep comes by once a second; the next one is of the new time.
    const uint64_t sequence = *scene.verifier.store().LastEventSequence();
    REQUIRE_THAT(
        StatusOf(scene.verifier.store().ExpireVerdicts(scene.deployment.Now())),
        IsOk());
    CHECK(*scene.verifier.store().LastEventSequence() == sequence);
    check();
  }
  SECTION("a reboot without the evil file") {
    scene.HangUp();
    scene.victim.machine.Reboot();
    scene.stream = scene.Connect();
    CHECK_THAT(scene.stream->Attest(), StartsWith("FAILED"));
    check();
  }
  SECTION("a renewed AK") {
    scene.victim.RenewAk();
    scene.Enroll(scene.victim);
    check();
    // Which ends the stream of the old one.
    CHECK_THAT(scene.stream->Outcome(), StartsWith("refused: the agent has"));
    scene.victim.machine.Reboot();
    scene.stream = scene.Connect();
    CHECK_THAT(scene.stream->Attest(), StartsWith("FAILED"));
    check();
  }
  SECTION("a policy that allows it") {
    scene.victim.machine.policy.digests["/tmp/evil"] = {FileDigestOf("evil")};
    scene.UpdatePolicy(scene.victim);
    CHECK_THAT(scene.stream->Settle(), StartsWith("FAILED"));
    check();
  }
  SECTION("other settings") {
    v1::UpdateAgentRequest update;
    update.mutable_selector()->set_all(true);
    update.mutable_settings()->set_tolerate_violations(true);
    update.add_changed("tolerate_violations");
    REQUIRE(
        scene.verifier.As().Call(&v1::Fleet::Stub::UpdateAgents, update).ok());
    check();
  }
  SECTION("the verifier's restart") {
    scene.HangUp();
    scene.verifier.Restart();
    check();
    scene.victim.machine.Reboot();
    scene.stream = scene.Connect();
    CHECK_THAT(scene.stream->Attest(), StartsWith("FAILED"));
    check();
  }
  SECTION("another verifier") {
    LiveVerifier second(scene.deployment);
    scene.victim.machine.Reboot();
    HostileStream there(second.Attest(), scene.victim);
    CHECK_THAT(there.Attest(), StartsWith("FAILED"));
    check();
  }
  SECTION("an enrolment that is repeated") {
    scene.Enroll(scene.victim);
    check();
  }
  SECTION("a reactivation, while what it failed for is still there") {
    v1::ReactivateRequest reactivate;
    reactivate.set_agent_id(scene.victim.id().ToString());
    REQUIRE(scene.verifier.As()
                .Call(&v1::Fleet::Stub::Reactivate, reactivate)
                .ok());
    CHECK(scene.State() == AgentState::kPending);
    CHECK_THAT(scene.stream->Settle(), StartsWith("FAILED ima.not_in_policy"));
    check();
  }
}

TEST_CASE("A31: hanging up does not prevent a verdict") {
  LiveScene scene;
  scene.victim.machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
  const auto challenge = scene.stream->AwaitChallenge();
  REQUIRE(challenge.has_value());
  REQUIRE(scene.stream->SendQuote(*challenge));
  REQUIRE(scene.stream->SendList());
  SECTION("in order") { scene.stream->HalfClose(); }
  SECTION("by more than is due") { scene.stream->SendList(); }
  Await([&] { return scene.State() == AgentState::kFailed; });
}

TEST_CASE(
    "A32: a policy that changes while evidence is judged by the old one") {
  const auto faults = std::make_shared<Faults>();
  LiveScene scene(With(faults));
  LiveVerifier second(scene.deployment);
  // It allows a file, and no longer does by the time of the verdict's write.
  const std::string without = scene.victim.Allowlist();
  scene.victim.machine.Run("/usr/bin/new");
  scene.UpdatePolicy(scene.victim);
  // Of this process, which is told; or of another one: a notification is lost.
  LiveVerifier& where = GENERATE(false, true) ? second : scene.verifier;
  faults->Set(
      "RecordVerdict",
      [&] {
        const grpc::Status put = where.As().PutPolicy(
            PolicyNameOf(scene.victim), without, /*create=*/false);
        return put.ok() ? absl::OkStatus()
                        : absl::InternalError(put.error_message());
      },
      1);
  std::string outcome = scene.stream->Settle();
  // At once, or after a verdict that was made before the policy came and went.
  if (outcome == "TRUSTED") outcome = scene.stream->Settle();
  CHECK(outcome == "FAILED ima.not_in_policy");
  CHECK(scene.Record().findings.at(0).path == "/usr/bin/new");
}

TEST_CASE("A32: progress of another policy is not resumed from") {
  LiveScene scene;
  scene.HangUp();
  // A file that was judged long ago is allowed no more.
  std::string fewer;
  for (const absl::string_view line :
       absl::StrSplit(scene.victim.Allowlist(), '\n')) {
    if (!absl::StrContains(line, "/usr/bin/init")) {
      absl::StrAppend(&fewer, line, "\n");
    }
  }
  REQUIRE(scene.verifier.As()
              .PutPolicy(PolicyNameOf(scene.victim), fewer, /*create=*/false)
              .ok());
  CHECK(scene.State() == AgentState::kPending);
  scene.stream = scene.Connect();
  REQUIRE(scene.stream->Prove());
  CHECK(scene.stream->offset() == 0);
  REQUIRE(scene.stream->SendList());
  CHECK(scene.stream->Outcome() == "FAILED ima.not_in_policy");
}

TEST_CASE("A32: a policy in use can't be deleted or left out") {
  LiveScene scene;
  v1::DeletePolicyRequest remove;
  remove.set_name(PolicyNameOf(scene.victim));
  CHECK(scene.verifier.As()
            .Call(&v1::Policies::Stub::Delete, remove)
            .error_code() == grpc::StatusCode::FAILED_PRECONDITION);
  v1::UpdateAgentRequest update;
  update.mutable_selector()->set_agent_id(scene.victim.id().ToString());
  update.mutable_settings()->add_policies("missing");
  update.add_changed("policies");
  CHECK(scene.verifier.As()
            .Call(&v1::Fleet::Stub::UpdateAgents, update)
            .error_code() == grpc::StatusCode::NOT_FOUND);
  scene.CheckUnchanged();
  // Without any there is no pass.
  update.mutable_settings()->clear_policies();
  REQUIRE(
      scene.verifier.As().Call(&v1::Fleet::Stub::UpdateAgents, update).ok());
  Await([&] { return scene.State() == AgentState::kPending; });
  scene.stream = scene.Connect();
  CHECK_THAT(scene.stream->Attest(), StartsWith("refused: "));
  CHECK(scene.State() == AgentState::kPending);
}

}  // namespace
}  // namespace cupel::testing
