// What an honest agent sees of a session, and what its record becomes.
#include "verifier/session/session.h"

#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "catch2/catch.hpp"
#include "tests/support/status_matchers.h"
#include "tests/verifier/session/session_rig.h"

namespace cupel::verifier {
namespace {

using ::cupel::crypto::HashAlgorithm;
using ::cupel::testing::FakeMachine;
using ::cupel::testing::FileDigestOf;

// Trusted after its first round.
struct Trusted {
  explicit Trusted(const SessionLimits& limits = {}) : verifier(limits) {
    verifier.Add(machine, TestAgentId());
    stream.emplace(verifier, machine);
    stream->Prove();
    stream->SendList();
    stream->RunJobs();
    stream->Wait(verifier.options.least_interval);
    REQUIRE(stream->state() == AgentState::kTrusted);
    REQUIRE(stream->output.challenges.size() == 2);
  }
  FakeMachine machine;
  Verifier verifier;
  std::optional<Stream> stream;
};

// A first quote whose policy nobody has loaded yet.
struct Loading {
  Loading() {
    verifier.Add(machine, TestAgentId());
    stream.emplace(verifier, machine);
    stream->SayHello();
    stream->session->OnQuote(stream->Quote(), verifier.now);
  }
  void CheckTrusted() {
    REQUIRE(stream->output.list_requests.size() == 1);
    stream->SendList();
    stream->RunJobs();
    CHECK(stream->state() == AgentState::kTrusted);
  }
  FakeMachine machine;
  Verifier verifier;
  std::optional<Stream> stream;
};

// A machine whose TPM has PCRs in one bank alone.
struct OneBank {
  explicit OneBank(HashAlgorithm bank) : machine({bank}) {
    verifier.Add(machine, TestAgentId());
    stream.emplace(verifier, machine);
  }
  void CheckPending(absl::string_view reason) {
    CHECK_FALSE(stream->refused());
    CHECK(stream->state() == AgentState::kPending);
    CHECK_THAT(stream->record().state_reason,
               Catch::Matchers::Contains(std::string(reason)));
    REQUIRE_FALSE(stream->output.verdicts.empty());
    CHECK(stream->output.verdicts.back().state == AgentState::kPending);
    CHECK(stream->output.verdicts.back().reason ==
          stream->record().state_reason);
    CHECK(stream->output.list_requests.empty());
  }
  FakeMachine machine;
  Verifier verifier;
  std::optional<Stream> stream;
};

TEST_CASE("A TPM that has SHA-1 alone is PENDING, and says why") {
  OneBank one(HashAlgorithm::kSha1);
  one.stream->Prove();
  one.CheckPending(
      "the TPM's sha256 bank has to be quoted, and the agent says that it is "
      "not allocated (sha1 is; tpm2_getcap pcrs shows it): allocate it");
  one.CheckPending("tpm2_pcrallocate sha256:all");
  one.CheckPending("update --allow-sha1-bank");
  // It goes on showing that it is there, at the usual times.
  for (int i = 0; i < 3; ++i) {
    one.stream->Wait(absl::Seconds(5));
    one.verifier.store.now += absl::Seconds(5);
    CHECK_FALSE(one.stream->output.challenges.back().now);
    one.stream->SendQuote();
    one.CheckPending("sha256");
    CHECK(one.stream->record().last_seen == one.verifier.store.now);
  }
  CHECK(one.stream->record().attestation_count == 0);
  SECTION("until an operator allows it") {
    one.verifier.Update(TestAgentId(), [](AgentSettings& settings) {
      settings.allow_sha1_bank = true;
    });
    one.stream->session->OnSettingsChanged(one.verifier.now);
    one.stream->SendQuote();
    one.stream->SendList();
    one.stream->RunJobs();
    CHECK(one.stream->state() == AgentState::kTrusted);
    CHECK(one.stream->output.verdicts.back().reason.empty());
  }
  SECTION("until it is allocated") {
    one.stream->session->OnClosed();
    FakeMachine both({HashAlgorithm::kSha256, HashAlgorithm::kSha1});
    one.verifier.Update(TestAgentId(),
                        [](AgentSettings& settings) { settings.boot = "any"; });
    Stream second(one.verifier, both);
    second.Prove();
    second.Wait(one.verifier.options.least_interval);
    if (second.output.list_requests.empty()) second.SendQuote();
    second.SendList();
    second.RunJobs();
    INFO(second.record().state_reason << second.refusal());
    CHECK(second.state() == AgentState::kTrusted);
  }
}

TEST_CASE("A TPM without the bank that an operator wants is PENDING") {
  OneBank one(HashAlgorithm::kSha256);
  one.verifier.Update(
      TestAgentId(), [](AgentSettings& settings) { settings.bank = "sha384"; });
  one.stream->Prove();
  one.CheckPending("the TPM's sha384 bank has to be quoted");
  one.CheckPending("update --bank");
}

TEST_CASE("What is tolerated stays so while its policy is loaded") {
  FakeMachine machine;
  machine.list.AddViolation("/usr/bin/sh");
  Verifier verifier;
  verifier.Add(machine, TestAgentId());
  verifier.Update(TestAgentId(), [](AgentSettings& settings) {
    settings.tolerated_violations = {"/usr/bin/.*"};
  });
  Stream stream(verifier, machine);
  stream.SayHello();
  stream.session->OnQuote(stream.Quote(), verifier.now);
  REQUIRE(stream.session->is_loading());
  // As whenever anybody's policies change.
  stream.session->OnSettingsChanged(verifier.now);
  stream.RunLoads();
  REQUIRE(stream.output.list_requests.size() == 1);
  stream.SendList();
  stream.RunJobs();
  CHECK(stream.state() == AgentState::kTrusted);
}

TEST_CASE("A stream whose bank is wanted no more ends, and says why") {
  OneBank one(HashAlgorithm::kSha256);
  one.stream->Prove();
  one.stream->SendList();
  one.stream->RunJobs();
  REQUIRE(one.stream->state() == AgentState::kTrusted);
  one.verifier.Update(
      TestAgentId(), [](AgentSettings& settings) { settings.bank = "sha384"; });
  one.stream->session->OnSettingsChanged(one.verifier.now);
  one.stream->SendQuote();
  // A list may be on its way already, and there is nothing to judge it by.
  REQUIRE(one.stream->refused());
  CHECK_THAT(
      std::string(one.stream->refusal()),
      Catch::Matchers::Contains("the TPM's sha384 bank has to be quoted"));
  CHECK_THAT(one.stream->record().state_reason,
             Catch::Matchers::Contains("update --bank"));
}

TEST_CASE_METHOD(Loading, "A quote waits for its policy") {
  CHECK(stream->session->is_loading());
  CHECK(stream->session->proven());
  CHECK_FALSE(stream->session->is_quick());
  CHECK(verifier.store.policy_reads == 0);
  REQUIRE(stream->output.loads.size() == 1);
  CHECK(stream->output.loads[0].names == std::vector<std::string>{"base"});
  CHECK(stream->output.list_requests.empty());
  SECTION("however long that takes") {
    stream->Wait(absl::Hours(1));
    CHECK_FALSE(stream->refused());
    stream->RunLoads();
    CheckTrusted();
  }
  SECTION("and so does every other stream that wants it") {
    Stream second(verifier, machine);
    second.SayHello();
    second.session->OnQuote(second.Quote(), verifier.now);
    CHECK(second.session->is_loading());
    // It is loaded even if the first one has gone.
    stream->session->OnDisplaced();
    stream->RunLoads();
    CHECK(stream->output.list_requests.empty());
    second.RunLoads();
    CHECK(second.output.list_requests.size() == 1);
  }
  SECTION("that the store has to give") {
    verifier.store.away = true;
    stream->RunLoads();
    verifier.store.away = false;
    CHECK(stream->refusal() == "the verifier can't reach its store");
    CHECK(stream->state() == AgentState::kPending);
  }
  SECTION("that has to be one") {
    verifier.store.damages_policies = true;
    stream->RunLoads();
    CHECK(stream->refused());
    CHECK(stream->record().state_reason == stream->refusal());
    CHECK(stream->session->finished());
  }
  SECTION("for as long as its stream lasts") {
    stream->session->OnClosed();
    CHECK(stream->session->finished());
    stream->RunLoads();
    CHECK(stream->output.list_requests.empty());
  }
}

TEST_CASE_METHOD(Loading,
                 "A32: settings that change while a policy is loaded") {
  const auto loads = std::exchange(stream->output.loads, {});
  REQUIRE(loads.size() == 1);
  FakeMachine fewer;
  fewer.policy.digests.erase("/usr/bin/init");
  const auto before = verifier.policies.Get(loads[0]);
  verifier.store.Put("default", "base", PolicyFileOf(fewer));
  stream->session->OnSettingsChanged(verifier.now);
  CHECK(stream->session->is_loading());
  // What was loaded is what counted before.
  stream->session->OnPolicyLoaded(before, verifier.now);
  CHECK(stream->session->is_loading());
  CHECK(stream->output.list_requests.empty());
  REQUIRE(stream->output.loads.size() == 1);
  stream->RunLoads();
  REQUIRE(stream->output.list_requests.size() == 1);
  stream->SendList();
  stream->RunJobs();
  CHECK(stream->state() == AgentState::kFailed);
}

TEST_CASE("An agent goes from Hello to TRUSTED, and on") {
  FakeMachine machine;
  Verifier verifier;
  verifier.Add(machine, TestAgentId());
  Stream stream(verifier, machine);
  stream.SayHello();
  REQUIRE(stream.output.challenges.size() == 1);
  const ChallengeMessage first = stream.output.challenges[0];
  CHECK(first.nonce.size() == 32);
  CHECK(first.certificate_sha256 == stream.certificate);
  CHECK(first.selection.ToString() == "sha256:0,1,2,3,4,5,6,7,8,9,10");
  CHECK(first.answer_within == absl::Seconds(10));
  CHECK(first.now);
  CHECK_FALSE(stream.session->proven());
  CHECK(verifier.store.claims == 0);

  stream.SendQuote();
  CHECK(stream.session->proven());
  CHECK(verifier.store.claims == 1);
  REQUIRE(stream.output.list_requests.size() == 1);
  CHECK(stream.output.list_requests[0].first_entry == 0);
  CHECK(stream.state() == AgentState::kPending);

  stream.SendList();
  REQUIRE(stream.output.jobs.size() == 1);
  CHECK(stream.state() == AgentState::kPending);
  stream.RunJobs();
  REQUIRE(stream.output.verdicts.size() == 1);
  CHECK(stream.output.verdicts[0].state == AgentState::kTrusted);
  CHECK(stream.output.verdicts[0].next_entry == 4);
  CHECK(stream.output.verdicts[0].findings.empty());
  CHECK(stream.state() == AgentState::kTrusted);
  CHECK(stream.record().valid_until == verifier.store.now + absl::Seconds(20));
  CHECK(stream.record().boot_composite ==
        stream.record().pinned_boot_composite);

  // The next challenge is there at once, and has a new nonce.
  REQUIRE(stream.output.challenges.size() == 2);
  CHECK(stream.output.challenges[1].least_interval == absl::Milliseconds(100));
  CHECK(stream.session->takes_quotes_from() ==
        verifier.now + absl::Milliseconds(100));
  stream.Wait(absl::Milliseconds(100));
  CHECK(stream.session->takes_quotes_from() == verifier.now);
  CHECK(stream.output.challenges[1].nonce != first.nonce);
  CHECK_FALSE(stream.output.challenges[1].now);

  // From where it stands; nothing has to be asked for.
  machine.Run("/usr/bin/sh");
  stream.Round();
  CHECK(stream.output.list_requests.size() == 1);
  CHECK(stream.output.verdicts.back().next_entry == 5);
  CHECK(stream.record().counts.entries == 5);
  CHECK(stream.state() == AgentState::kTrusted);
  CHECK_FALSE(stream.refused());
}

TEST_CASE("The first challenge tells nothing of the agent's record") {
  FakeMachine machine({HashAlgorithm::kSha256, HashAlgorithm::kSha384});
  Verifier verifier;
  verifier.Add(machine, TestAgentId(), [](Verifier::Plan& plan) {
    plan.settings.interval = absl::Seconds(2);
    plan.settings.bank = "sha384";
    plan.settings.boot = R"({"14": [")" + std::string(64, '0') + R"("]})";
    plan.boot = "";
  });
  Stream stream(verifier, machine);
  Stream unknown(verifier, machine, TestAgentId(9));
  for (Stream* one : {&stream, &unknown}) {
    one->SayHello();
    const ChallengeMessage& challenge = one->output.challenges.at(0);
    CHECK(challenge.selection.ToString() == "sha256:0,1,2,3,4,5,6,7,8,9,10");
    CHECK(challenge.answer_within == absl::Seconds(10));
  }
  unknown.session->OnClosed();
  CHECK(verifier.store.finds == 0);
  SECTION("what it lacks is asked for at once, and no list before") {
    stream.SendQuote();
    CHECK(stream.session->proven());
    CHECK(stream.output.list_requests.empty());
    REQUIRE(stream.output.verdicts.size() == 1);
    CHECK(stream.output.verdicts[0].state == AgentState::kPending);
    stream.Wait(verifier.options.least_interval);
    REQUIRE(stream.output.challenges.size() == 2);
    CHECK(stream.output.challenges[1].now);
    CHECK(stream.output.challenges[1].answer_within == absl::Seconds(2));
    CHECK(stream.output.challenges[1].selection.ToString() ==
          "sha384:0,1,2,3,4,5,6,7,8,9,10+sha256:14");
    stream.SendQuote();
    CHECK(stream.output.list_requests.size() == 1);
    stream.SendList();
    stream.RunJobs();
    CHECK_FALSE(stream.refused());
    CHECK(stream.output.verdicts.size() == 2);
  }
  SECTION("an interval that is shorter counts all the same") {
    verifier.now += absl::Milliseconds(2001);
    stream.SendQuote();
    CHECK(stream.refused());
    CHECK(verifier.store.claims == 0);
  }
}

TEST_CASE("What the policy lacks makes an agent FAILED, and it stays so") {
  Trusted t;
  t.machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
  t.stream->Round();
  CHECK(t.stream->state() == AgentState::kFailed);
  CHECK(t.stream->output.verdicts.back().state == AgentState::kFailed);
  CHECK(t.stream->output.verdicts.back().findings ==
        std::vector<std::string>{"ima.not_in_policy"});
  CHECK(t.stream->record().state_reason == "ima.not_in_policy /tmp/evil");
  REQUIRE(t.stream->record().findings.size() == 1);

  // It goes on being appraised, and what follows is on record.
  t.machine.list.AddFile("/tmp/worse", FileDigestOf("worse"));
  t.stream->Round();
  CHECK(t.stream->state() == AgentState::kFailed);
  CHECK(t.stream->record().findings.size() == 2);
}

TEST_CASE("What waits for a quote at once waits for the least interval") {
  Trusted t;
  t.stream->SendQuote();
  t.stream->session->OnAttestNow(t.verifier.now);
  t.stream->SendList();
  t.stream->RunJobs();
  CHECK(t.stream->output.verdicts.size() == 2);
  CHECK(t.stream->output.challenges.size() == 2);
  t.stream->Wait(t.verifier.options.least_interval);
  REQUIRE(t.stream->output.challenges.size() == 3);
  CHECK(t.stream->output.challenges[2].now);
}

TEST_CASE("A15: a quote that was held back brings no other one forward") {
  Trusted t;
  QuoteMessage quote = t.stream->Quote();
  quote.arrived = t.verifier.now;
  t.stream->Wait(absl::Milliseconds(90));
  t.stream->session->OnQuote(std::move(quote), t.verifier.now);
  CHECK(t.stream->session->takes_quotes_from() ==
        t.verifier.now + t.verifier.options.least_interval);
}

TEST_CASE("A verdict that changes nothing waits to be written with others") {
  Trusted t;
  CHECK(t.stream->output.urgent_count == 1);  // PENDING became TRUSTED
  t.stream->Round();
  CHECK(t.stream->output.urgent_count == 1);
  t.machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
  t.stream->Round();
  CHECK(t.stream->output.urgent_count == 2);
  // Another finding of a machine that has failed is news as well.
  t.machine.list.AddFile("/tmp/worse", FileDigestOf("worse"));
  t.stream->Round();
  CHECK(t.stream->output.urgent_count == 3);
}

TEST_CASE("A verdict is told once it is recorded, and not before") {
  Trusted t;
  t.stream->SendQuote();
  t.stream->SendList();
  AppraisalJob job = t.stream->output.jobs.at(0);
  t.stream->session->OnAppraised(job.Run(), t.verifier.now);
  REQUIRE(t.stream->output.writes.size() == 1);
  CHECK(t.stream->output.verdicts.size() == 1);
  CHECK_FALSE(t.stream->session->is_quick());
  // The timer changes nothing while the store is at work.
  t.stream->session->OnTimer(t.verifier.now + absl::Minutes(10));
  CHECK(t.stream->output.writes.size() == 1);
  t.stream->RecordWrites();
  CHECK(t.stream->output.verdicts.size() == 2);
  CHECK(t.stream->session->is_quick());
  // A result that nobody waits for is none.
  t.stream->session->OnRecorded(RecordedVerdict{}, t.verifier.now);
  CHECK(t.stream->output.verdicts.size() == 2);
}

TEST_CASE("A record that was read since a verdict's writing is the newer one") {
  Trusted t;
  t.stream->SendQuote();
  t.stream->SendList();
  AppraisalJob job = t.stream->output.jobs.at(0);
  t.stream->session->OnAppraised(job.Run(), t.verifier.now);
  auto recorded = t.verifier.store.RecordVerdicts(t.stream->output.writes);
  // Before the session hears of it, an operator changes the settings.
  t.verifier.Update(TestAgentId(), [](AgentSettings& settings) {
    settings.labels["rack"] = "7";
  });
  t.stream->session->OnSettingsChanged(t.verifier.now);
  t.stream->output.writes.clear();
  t.stream->session->OnRecorded(std::move(recorded.at(0)), t.verifier.now);
  CHECK(t.stream->output.verdicts.back().state == AgentState::kPending);
}

TEST_CASE("A change of state is told of even if the record was read before") {
  Trusted t;
  t.machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
  t.stream->SendQuote();
  t.stream->SendList();
  AppraisalJob job = t.stream->output.jobs.at(0);
  t.stream->session->OnAppraised(job.Run(), t.verifier.now);
  auto recorded = t.verifier.store.RecordVerdicts(t.stream->output.writes);
  t.stream->output.states.clear();
  // The store's notification comes first.
  t.stream->session->OnSettingsChanged(t.verifier.now);
  t.stream->session->OnRecorded(std::move(recorded.at(0)), t.verifier.now);
  CHECK(t.stream->output.states == std::vector{AgentState::kFailed});
}

TEST_CASE("A message is quick where nothing has to be asked for first") {
  FakeMachine machine;
  Verifier verifier;
  verifier.Add(machine, TestAgentId());
  Stream stream(verifier, machine);
  CHECK_FALSE(stream.session->is_quick());  // nobody knows it yet
  stream.SayHello();
  CHECK_FALSE(stream.session->is_quick());  // the first quote claims the agent
  stream.SendQuote();
  CHECK(stream.session->is_quick());
  stream.SendList();
  CHECK_FALSE(stream.session->is_quick());
  stream.RunJobs();
  CHECK(stream.session->is_quick());
  // Another policy is loaded with the next quote.
  verifier.Update(TestAgentId(), [](AgentSettings& settings) {
    settings.labels["rack"] = "7";
  });
  stream.session->OnSettingsChanged(verifier.now);
  CHECK_FALSE(stream.session->is_quick());
}

TEST_CASE("The list arrives in pieces") {
  FakeMachine machine;
  Verifier verifier;
  verifier.Add(machine, TestAgentId());
  Stream stream(verifier, machine);
  stream.Prove();
  const std::vector<uint8_t> list = stream.List();
  for (const uint8_t byte : list) {
    stream.session->OnChunk({.data = {byte}, .last = false}, verifier.now);
  }
  stream.session->OnChunk({.data = {}, .last = true}, verifier.now);
  stream.RunJobs();
  CHECK(stream.state() == AgentState::kTrusted);
}

TEST_CASE("Another stream resumes from what the first one reached") {
  Trusted t;
  t.stream->session->OnClosed();
  CHECK(t.stream->session->finished());
  t.machine.Run("/usr/bin/sh");
  Stream second(t.verifier, t.machine);
  second.Prove();
  REQUIRE(second.output.list_requests.size() == 1);
  CHECK(second.output.list_requests[0].first_entry == 4);
  second.SendList();
  second.RunJobs();
  CHECK(second.record().counts.entries == 5);
  CHECK(second.state() == AgentState::kTrusted);
}

TEST_CASE("A reboot asks for the whole list, and TRUSTED waits for it") {
  Trusted t;
  t.stream->session->OnClosed();
  t.machine.Reboot();
  Stream second(t.verifier, t.machine);
  second.Prove();
  REQUIRE(second.output.list_requests.size() == 1);
  CHECK(second.output.list_requests[0].first_entry == 0);
  CHECK(second.state() == AgentState::kPending);
  second.SendList();
  second.RunJobs();
  CHECK(second.state() == AgentState::kTrusted);
}

TEST_CASE("A suspended machine's list is asked for again, on the same stream") {
  Trusted t;
  ++t.machine.tpm.clock_info.restart_count;
  t.machine.Run("/usr/bin/sh");
  t.stream->Round();
  // It was sent from where the agent had been told: that is no fault.
  CHECK(t.stream->state() == AgentState::kTrusted);
  CHECK(t.stream->output.verdicts.back().next_entry == 0);
  CHECK(t.stream->output.challenges.back().now);
  t.stream->Round();
  CHECK(t.stream->state() == AgentState::kTrusted);
  CHECK(t.stream->record().counts.entries == 5);
  CHECK_FALSE(t.stream->refused());
}

TEST_CASE("Who was not added is told what everybody else is") {
  FakeMachine machine;
  Verifier verifier;
  verifier.Add(machine, TestAgentId());
  std::vector<std::string> reasons;
  const auto refused = [&](const AgentId& id) {
    Stream stream(verifier, machine, id);
    stream.SayHello();
    REQUIRE(stream.output.challenges.size() == 1);
    stream.SendQuote();
    REQUIRE(stream.refused());
    CHECK(stream.output.refusals[0].retry_after ==
          verifier.options.retry_after);
    CHECK(stream.session->finished());
    CHECK(verifier.store.claims == 0);
    reasons.push_back(stream.refusal());
  };
  RigStore& store = verifier.store;
  REQUIRE_THAT(store.StopAgent("default", TestAgentId(), "ann"),
               testing::IsOk());
  refused(TestAgentId());
  REQUIRE_THAT(store.DeleteAgent("default", TestAgentId(), "ann"),
               testing::IsOk());
  refused(TestAgentId());
  store.now += absl::Seconds(1);
  verifier.Enroll(machine, TestAgentId());  // of no tenant
  refused(TestAgentId());
  REQUIRE_THAT(
      store.AddAgent("default", TestAgentId(2), {}, "", "ann").status(),
      testing::IsOk());
  refused(TestAgentId(2));  // expected
  refused(TestAgentId(9));  // unknown
  // Nor does it help to name an agent that there is.
  verifier.Add(machine, TestAgentId(3), [](Verifier::Plan& plan) {
    plan.enrollment.ek_sha256 = std::string(64, 'e');
    plan.enrollment.ek_name.back() ^= 1;
  });
  refused(TestAgentId(3));
  REQUIRE(reasons.size() == 6);
  for (const std::string& reason : reasons) CHECK(reason == reasons[0]);
}

TEST_CASE("Attest now asks once, and an answer on its way still counts") {
  Trusted t;
  Stream& stream = *t.stream;
  const ChallengeMessage before = stream.output.challenges.back();
  stream.session->OnAttestNow(t.verifier.now);
  stream.session->OnAttestNow(t.verifier.now);
  REQUIRE(stream.output.challenges.size() == 3);
  CHECK(stream.output.challenges.back().now);
  stream.session->OnQuote(stream.QuoteFor(before), t.verifier.now);
  CHECK_FALSE(stream.refused());
  // Asked for while evidence is under way: once more, after it.
  stream.session->OnAttestNow(t.verifier.now);
  stream.SendList();
  stream.RunJobs();
  stream.Wait(t.verifier.options.least_interval);
  CHECK(stream.output.challenges.size() == 4);
  CHECK(stream.output.challenges.back().now);
  stream.Round();
  CHECK_FALSE(stream.output.challenges.back().now);
}

TEST_CASE("Evidence is judged by the challenge that it answered") {
  Trusted t;
  t.stream->SendQuote();
  t.stream->session->OnAttestNow(t.verifier.now);
  t.stream->SendList();
  t.stream->RunJobs();
  CHECK_FALSE(t.stream->refused());
  CHECK(t.stream->state() == AgentState::kTrusted);
}

TEST_CASE("A missing policy, or one that does not load, is a reason") {
  FakeMachine machine;
  Verifier verifier;
  verifier.Add(machine, TestAgentId());
  SECTION("missing") {
    verifier.Update(TestAgentId(),
                    [](AgentSettings& settings) { settings.policies.clear(); });
    Stream stream(verifier, machine);
    stream.Prove();
    CHECK(stream.refused());
    CHECK(stream.record().state_reason.find("no policy") != std::string::npos);
    CHECK(stream.state() == AgentState::kPending);
  }
  SECTION("broken") {
    verifier.store.Put("default", "base", "{");
    Stream stream(verifier, machine);
    stream.Prove();
    CHECK(stream.refused());
    CHECK(stream.record().state_reason.find("base") != std::string::npos);
    CHECK(stream.state() == AgentState::kPending);
  }
}

TEST_CASE("Without a boot rule nothing passes, and failures are still seen") {
  FakeMachine machine;
  Verifier verifier;
  const std::string boot = GENERATE("", "pinned");
  verifier.Add(machine, TestAgentId(), [&](Verifier::Plan& plan) {
    plan.settings.boot = boot;
    plan.boot = "";
  });
  const bool evil = GENERATE(false, true);
  if (evil) machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
  Stream stream(verifier, machine);
  stream.Prove();
  stream.SendList();
  stream.RunJobs();
  CHECK(stream.state() == (evil ? AgentState::kFailed : AgentState::kPending));
  if (!evil) {
    CHECK(stream.record().state_reason.find("boot.rule_missing") == 0);
    // What to approve.
    CHECK(stream.record().boot_composite.size() == 64);
    CHECK(stream.record().progress.key.empty());
  }
  CHECK_FALSE(stream.refused());
}

TEST_CASE("A list that uses another PCR is asked to quote it") {
  FakeMachine machine;
  Verifier verifier;
  machine.Run("/usr/bin/other", 11);
  machine.list_pcrs = {10};  // Hello doesn't say so
  verifier.Add(machine, TestAgentId());
  Stream stream(verifier, machine);
  stream.Prove();
  stream.SendList();
  stream.RunJobs();
  CHECK(stream.state() == AgentState::kPending);
  stream.Wait(verifier.options.least_interval);
  REQUIRE(stream.output.challenges.size() == 2);
  CHECK(stream.output.challenges.back().now);
  CHECK(stream.output.challenges.back().selection.Has(HashAlgorithm::kSha256,
                                                      11));
  stream.Round();
  CHECK(stream.state() == AgentState::kTrusted);
}

TEST_CASE("A policy that changed has the whole list judged again") {
  Trusted t;
  t.verifier.store.Put("default", "base",
                       PolicyFileOf(t.machine) + " ");  // other bytes
  t.stream->session->OnSettingsChanged(t.verifier.now);
  CHECK(t.stream->output.challenges.back().now);
  t.stream->Round();  // from where the agent was told: not judged
  CHECK(t.stream->output.verdicts.back().next_entry == 0);
  t.stream->Round();
  CHECK(t.stream->record().counts.entries == 4);
  CHECK(t.stream->state() == AgentState::kTrusted);
  CHECK(t.verifier.policies.compile_count() == 2);
}

TEST_CASE("The whole list is wanted for as long as progress does not fit") {
  Trusted t;
  t.machine.policy.digests["/tmp/denied"] = {FileDigestOf("denied")};
  t.verifier.store.Put("default", "base", PolicyFileOf(t.machine));
  t.machine.list.AddFile("/tmp/denied", FileDigestOf("evil"));
  t.stream->session->OnSettingsChanged(t.verifier.now);
  t.stream->Round();  // from where the agent was told: not judged
  for (int round = 0; round < 3; ++round) {
    t.stream->Round();
    CHECK(t.stream->output.verdicts.back().next_entry == 0);
    CHECK(t.stream->output.verdicts.back().findings ==
          std::vector<std::string>{"ima.digest_mismatch"});
  }
}

TEST_CASE(
    "The rest of a list is enough where progress fits, also after FAILED") {
  Trusted t;
  t.machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
  for (int round = 0; round < 3; ++round) {
    t.stream->Round();
    CHECK(t.stream->state() == AgentState::kFailed);
    CHECK(t.stream->output.verdicts.back().next_entry == 4);
  }
}

TEST_CASE("A26: a kexec that passed is none where its boot is judged later") {
  FakeMachine machine;
  Verifier verifier;
  std::string boot;
  verifier.Add(machine, TestAgentId(), [&](Verifier::Plan& plan) {
    boot = plan.boot;
    plan.settings.boot = "any";
  });
  Stream stream(verifier, machine);
  stream.Prove();
  stream.SendList();
  stream.RunJobs();
  machine.list.AddFile("boot_aggregate",
                       machine.BootAggregate(HashAlgorithm::kSha256));
  stream.Round();
  REQUIRE(stream.state() == AgentState::kTrusted);
  REQUIRE(stream.record().counts.entries == 5);
  verifier.Update(TestAgentId(), [&](AgentSettings& settings) {
    settings.boot = R"({"0": [")" +
                    machine.pcrs.at({HashAlgorithm::kSha256, 0}).Hex() +
                    R"("]})";
  });
  stream.session->OnSettingsChanged(verifier.now);
  stream.Round();
  stream.Round();
  CHECK(stream.state() == AgentState::kFailed);
  CHECK(stream.output.verdicts.back().findings ==
        std::vector<std::string>{"boot.kexec"});
}

TEST_CASE("Each challenge's time is shortened by chance, never lengthened") {
  FakeMachine machine;
  Verifier verifier;
  verifier.options.jitter = 0.1;
  verifier.Add(machine, TestAgentId());
  Stream stream(verifier, machine);
  stream.Prove();
  stream.SendList();
  stream.RunJobs();
  stream.Wait(verifier.options.least_interval);
  std::set<absl::Duration> times;
  for (int i = 0; i < 20; ++i) {
    stream.Round();
    times.insert(stream.output.challenges.back().answer_within);
  }
  CHECK(times.size() > 10);
  CHECK(*times.begin() >= absl::Seconds(9));
  CHECK(*times.rbegin() <= absl::Seconds(10));
}

TEST_CASE("An agent that has failed is asked less often, until reactivated") {
  FakeMachine machine;
  Verifier verifier;
  verifier.options.failed_interval = absl::Seconds(1);
  verifier.Add(machine, TestAgentId());
  machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
  Stream stream(verifier, machine);
  stream.Prove();
  stream.SendList();
  stream.RunJobs();
  REQUIRE(stream.state() == AgentState::kFailed);
  stream.Wait(absl::Milliseconds(900));
  CHECK(stream.output.challenges.size() == 1);
  SECTION("a second after its quote") {
    stream.Wait(absl::Milliseconds(100));
    CHECK(stream.output.challenges.size() == 2);
  }
  SECTION("at once when it has another chance") {
    REQUIRE_THAT(verifier.store.Reactivate("default", TestAgentId(), {}, "ann"),
                 testing::IsOk());
    stream.session->OnSettingsChanged(verifier.now);
    REQUIRE(stream.output.challenges.size() == 2);
    CHECK(stream.output.challenges.back().now);
  }
}

TEST_CASE("A store that is away for a moment loses no verdict") {
  Trusted t;
  t.machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
  t.stream->SendQuote();
  t.stream->SendList();
  t.verifier.store.away = true;
  t.stream->RunJobs();
  const size_t told = t.stream->output.verdicts.size();
  t.stream->Wait(absl::Seconds(5));
  CHECK(t.stream->output.verdicts.size() == told);  // nobody heard of it
  t.verifier.store.away = false;
  t.stream->Wait(absl::Seconds(2));
  CHECK(t.stream->state() == AgentState::kFailed);
  CHECK(t.stream->output.verdicts.size() == told + 1);
}

TEST_CASE("A store that stays away ends the stream") {
  Trusted t;
  t.stream->SendQuote();
  t.stream->SendList();
  t.verifier.store.away = true;
  t.stream->RunJobs();
  t.stream->Wait(absl::Minutes(2));
  CHECK(t.stream->refused());
  CHECK(t.stream->session->finished());
}

TEST_CASE("A rotated certificate is accepted on streams from before") {
  Trusted t;
  const std::vector<uint8_t> fresh(32, 0xdd);
  t.stream->session->OnCertificate(fresh);
  t.stream->Round();
  ChallengeMessage challenge = t.stream->output.challenges.back();
  challenge.certificate_sha256 = fresh;
  t.stream->session->OnQuote(t.stream->QuoteFor(challenge), t.verifier.now);
  t.stream->SendList();
  CHECK_FALSE(t.stream->refused());
  t.stream->RunJobs();
  CHECK(t.stream->state() == AgentState::kTrusted);
  // Told of twice, or of another one, it is still one that was served.
  t.stream->Wait(absl::Milliseconds(100));
  t.stream->session->OnCertificate(fresh);
  t.stream->session->OnCertificate(std::vector<uint8_t>(32, 0xee));
  t.stream->Round();
  CHECK_FALSE(t.stream->refused());
  challenge = t.stream->output.challenges.back();
  challenge.certificate_sha256 = std::vector<uint8_t>(32, 0xef);
  t.stream->session->OnQuote(t.stream->QuoteFor(challenge), t.verifier.now);
  CHECK(t.stream->refused());
}

TEST_CASE("Fresh replaces the nonce without giving time") {
  FakeMachine machine;
  Verifier verifier;
  verifier.options.fresh = absl::Seconds(3);
  verifier.Add(machine, TestAgentId());
  Stream stream(verifier, machine);
  stream.Prove();
  stream.SendList();
  stream.RunJobs();
  stream.Wait(absl::Milliseconds(100));
  const ChallengeMessage old = stream.output.challenges.back();
  stream.Wait(absl::Seconds(4));
  REQUIRE(stream.output.challenges.size() == 3);
  CHECK(stream.output.challenges.back().answer_within == absl::Seconds(7));
  CHECK_FALSE(stream.output.challenges.back().now);
  SECTION("the one before counts for two seconds") {
    stream.session->OnQuote(stream.QuoteFor(old), verifier.now);
    CHECK_FALSE(stream.refused());
  }
  SECTION("and no longer") {
    stream.Wait(absl::Milliseconds(1500));
    stream.session->OnQuote(stream.QuoteFor(old), verifier.now);
    CHECK(stream.refused());
  }
}

}  // namespace
}  // namespace cupel::verifier
