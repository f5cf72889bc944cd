// Attacks on the stream, by their rows of docs/attacks.md. Each starts from a
// stream that would pass.
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "tests/support/status_matchers.h"
#include "tests/verifier/session/session_rig.h"

namespace cupel::verifier {
namespace {

using ::cupel::crypto::HashAlgorithm;
using ::cupel::testing::FakeMachine;
using ::cupel::testing::FileDigestOf;

struct Rig {
  explicit Rig(std::vector<HashAlgorithm> banks = {HashAlgorithm::kSha256},
               const SessionLimits& limits = {})
      : machine(std::move(banks)), verifier(limits) {
    verifier.Add(machine, TestAgentId());
    stream.emplace(verifier, machine);
    owner_epoch = stream->record().owner_epoch;
  }
  // TRUSTED, with the next challenge armed.
  Rig& Trust() {
    stream->Prove();
    stream->SendList();
    stream->RunJobs();
    stream->Wait(verifier.options.least_interval);
    REQUIRE(stream->state() == AgentState::kTrusted);
    return *this;
  }
  // The stream is over and the record is what it was.
  void CheckRefused() {
    CHECK(stream->refused());
    CHECK(stream->session->finished());
    CHECK(verifier.store.writes.empty());
    CHECK(verifier.store.claims == 0);
    CHECK(verifier.store.seen == 0);
    CHECK(stream->record().owner_epoch == owner_epoch);
    CHECK(stream->output.list_requests.empty());
    CHECK(verifier.table.unproven_count() == 0);
  }

  FakeMachine machine;
  Verifier verifier;
  std::optional<Stream> stream;
  uint64_t owner_epoch = 0;
};

TEST_CASE("A1: a quote for another challenge, agent or verifier") {
  Rig rig;
  Stream& stream = *rig.stream;
  stream.SayHello();
  ChallengeMessage challenge = stream.output.challenges[0];
  SECTION("a nonce that nobody sent") {
    challenge.nonce[0] ^= 1;
    stream.session->OnQuote(stream.QuoteFor(challenge), rig.verifier.now);
  }
  SECTION("the right nonce beside a quote for another one") {
    challenge.nonce[0] ^= 1;
    QuoteMessage quote = stream.QuoteFor(challenge);
    quote.nonce[0] ^= 1;
    stream.session->OnQuote(std::move(quote), rig.verifier.now);
  }
  SECTION("another verifier's certificate") {
    challenge.certificate_sha256[0] ^= 1;
    stream.session->OnQuote(stream.QuoteFor(challenge), rig.verifier.now);
  }
  SECTION("another agent's id in it") {
    Stream other(rig.verifier, rig.machine, TestAgentId(2));
    const QuoteMessage quote = other.QuoteFor(challenge);
    other.session->OnClosed();
    stream.session->OnQuote(quote, rig.verifier.now);
  }
  SECTION("the bare nonce") {
    testing::FakeTpm tpm = rig.machine.tpm;
    QuoteMessage quote = stream.QuoteFor(challenge);
    tpm.pcrs = quote.pcrs;
    const auto bare = tpm.Quote(challenge.selection, challenge.nonce);
    quote.attest = bare.attest;
    quote.signature = bare.signature;
    stream.session->OnQuote(std::move(quote), rig.verifier.now);
  }
  rig.CheckRefused();
}

TEST_CASE("A1: a quote is taken once") {
  Rig rig;
  rig.Trust();
  const QuoteMessage quote = rig.stream->Quote();
  rig.stream->session->OnQuote(quote, rig.verifier.now);
  rig.stream->SendList();
  rig.stream->RunJobs();
  rig.stream->Wait(rig.verifier.options.least_interval);
  rig.stream->session->OnQuote(quote, rig.verifier.now);
  CHECK(rig.stream->refused());
}

TEST_CASE("A2, A7, A24: another key, selection or signer changes nothing") {
  Rig rig;
  Stream& stream = *rig.stream;
  stream.SayHello();
  const ChallengeMessage& challenge = stream.output.challenges[0];
  SECTION("another AK") {
    rig.machine.tpm = testing::FakeTpm({.key_index = 7});
    stream.SendQuote();
  }
  SECTION("fewer PCRs") {
    ChallengeMessage fewer = challenge;
    fewer.selection = tpm::PcrSelection::FromString("sha256:10").value();
    stream.session->OnQuote(stream.QuoteFor(fewer), rig.verifier.now);
  }
  SECTION("another value than the signed one") {
    QuoteMessage quote = stream.Quote();
    tpm::PcrValues values;
    quote.pcrs.ForEach([&](uint32_t pcr, const crypto::Digest& value) {
      values.Set(pcr, pcr == 4 ? FileDigestOf("other") : value).IgnoreError();
    });
    quote.pcrs = values;
    stream.session->OnQuote(std::move(quote), rig.verifier.now);
  }
  SECTION("a value left out") {
    QuoteMessage quote = stream.Quote();
    tpm::PcrValues values;
    quote.pcrs.ForEach([&](uint32_t pcr, const crypto::Digest& value) {
      if (pcr != 10) values.Set(pcr, value).IgnoreError();
    });
    quote.pcrs = values;
    stream.session->OnQuote(std::move(quote), rig.verifier.now);
  }
  SECTION("an AK under another EK") {
    // As if it had been enrolled there.
    const AgentId id = TestAgentId(2);
    rig.verifier.Add(rig.machine, id, [](Verifier::Plan& plan) {
      plan.enrollment.ek_sha256 = std::string(64, 'e');
      plan.enrollment.ek_name.back() ^= 1;
    });
    Stream second(rig.verifier, rig.machine, id);
    second.Prove();
    CHECK(second.refused());
    stream.session->Refuse("", absl::ZeroDuration());
  }
  SECTION("an enrolment without an EK") {
    const AgentId id = TestAgentId(2);
    rig.verifier.Add(rig.machine, id, [](Verifier::Plan& plan) {
      plan.enrollment.ek_sha256 = std::string(64, 'e');
      plan.enrollment.ek_name.clear();
    });
    Stream second(rig.verifier, rig.machine, id);
    second.Prove();
    CHECK(second.refused());
    stream.session->Refuse("", absl::ZeroDuration());
  }
  rig.CheckRefused();
}

TEST_CASE("A5: an old boot's clock is a clone's") {
  Rig rig;
  rig.machine.tpm.clock_info.clock = 100'000;
  rig.Trust();
  rig.stream->session->OnClosed();
  rig.machine.tpm.clock_info.clock = 50'000;
  Stream second(rig.verifier, rig.machine);
  second.Prove();
  second.SendList();
  second.RunJobs();
  CHECK(second.state() == AgentState::kFailed);
  CHECK(second.record().findings.front().id == "tpm.clone_suspected");
}

TEST_CASE("A8: a list that is not the rest that was asked for") {
  Rig rig;
  rig.Trust();
  rig.machine.Run("/usr/bin/sh").Run("/usr/lib/libc");
  Stream& stream = *rig.stream;
  stream.SendQuote();
  std::vector<uint8_t> list = stream.List();
  const auto first_record = static_cast<std::ptrdiff_t>(
      rig.machine.list.offsets()[5] - rig.machine.list.offsets()[4]);
  SECTION("the same piece twice") {
    stream.session->OnChunk(
        {.data = {list.begin(), list.begin() + first_record}, .last = false},
        rig.verifier.now);
  }
  SECTION("the last entry cut off") {
    list.erase(list.begin() + first_record, list.end());
  }
  SECTION("from an entry later") {
    list.erase(list.begin(), list.begin() + first_record);
  }
  SECTION("nothing at all") { list.clear(); }
  SECTION("from the start") { list = rig.machine.list.bytes(); }
  stream.session->OnChunk({.data = list, .last = true}, rig.verifier.now);
  stream.RunJobs();
  CHECK(stream.state() == AgentState::kFailed);
}

TEST_CASE(
    "A8: a list cut inside of a record proves nothing, and is due again") {
  Rig rig;
  rig.Trust();
  rig.machine.Run("/usr/bin/sh");
  const absl::Time valid_until = *rig.stream->record().valid_until;
  rig.verifier.store.now += absl::Seconds(3);
  rig.stream->SendQuote();
  std::vector<uint8_t> list = rig.stream->List();
  list.pop_back();
  rig.stream->session->OnChunk({.data = list, .last = true}, rig.verifier.now);
  rig.stream->RunJobs();
  CHECK(rig.stream->record().valid_until == valid_until);
  CHECK(rig.stream->output.verdicts.back().next_entry == 0);
  rig.stream->Wait(rig.verifier.options.least_interval);
  rig.stream->Round();
  CHECK(rig.stream->record().valid_until > valid_until);
}

TEST_CASE("A9: entries that no quote covers are not judged") {
  Rig rig;
  rig.Trust();
  rig.stream->SendQuote();
  rig.machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
  rig.stream->SendList();
  rig.stream->RunJobs();
  CHECK(rig.stream->state() == AgentState::kTrusted);
  CHECK(rig.stream->output.verdicts.back().pending_count == 1);
  SECTION("until one does") {
    rig.stream->Wait(rig.verifier.options.least_interval);
    rig.stream->Round();
    CHECK(rig.stream->state() == AgentState::kFailed);
  }
}

TEST_CASE("A15: sizes and times are bounded") {
  Rig rig;
  Stream& stream = *rig.stream;
  SECTION("no Hello") {
    stream.Wait(absl::Seconds(11));
    rig.CheckRefused();
  }
  SECTION("no quote") {
    stream.SayHello();
    stream.Wait(absl::Seconds(11));
    rig.CheckRefused();
  }
  SECTION("a quote over 16 KiB") {
    stream.SayHello();
    QuoteMessage quote = stream.Quote();
    quote.signature.resize(kMaxQuoteSize);
    stream.session->OnQuote(std::move(quote), rig.verifier.now);
    rig.CheckRefused();
  }
  SECTION("a piece over 64 KiB") {
    stream.Prove();
    stream.session->OnChunk(
        {.data = std::vector<uint8_t>(kMaxChunkSize + 1), .last = false},
        rig.verifier.now);
    CHECK(stream.refused());
  }
  SECTION("empty pieces for ever") {
    stream.Prove();
    stream.session->OnChunk({.data = {}, .last = false}, rig.verifier.now);
    CHECK(stream.refused());
  }
  SECTION("a byte now and then") {
    stream.Prove();
    for (int i = 0; i < 70 && !stream.refused(); ++i) {
      stream.session->OnChunk({.data = {0}, .last = false}, rig.verifier.now);
      stream.Wait(absl::Seconds(5));
    }
    CHECK(stream.refused());
  }
  SECTION("silence in the middle of a list") {
    stream.Prove();
    stream.Wait(absl::Seconds(11));
    CHECK(stream.refused());
  }
  CHECK(stream.state() == AgentState::kPending);
  CHECK(rig.verifier.store.writes.empty());
}

TEST_CASE("A15: a list over the limit, judged or not") {
  FakeMachine machine;
  Verifier verifier;
  verifier.options.max_list_size = machine.list.bytes().size();
  verifier.Add(machine, TestAgentId());
  Stream stream(verifier, machine);
  stream.Prove();
  stream.SendList();
  stream.RunJobs();
  CHECK(stream.state() == AgentState::kTrusted);
  stream.Wait(verifier.options.least_interval);
  if (GENERATE(false, true)) ++machine.tpm.clock_info.restart_count;
  stream.SendQuote();
  stream.session->OnChunk(
      {.data = std::vector<uint8_t>(verifier.options.max_list_size),
       .last = false},
      verifier.now);
  CHECK_FALSE(stream.refused());
  stream.session->OnChunk({.data = {1}, .last = true}, verifier.now);
  CHECK(stream.refused());
}

TEST_CASE("A15: lists share a bounded memory, until they are judged") {
  FakeMachine machine;
  Verifier verifier;
  verifier.options.list_memory = std::make_shared<ByteBudget>(512 << 10);
  verifier.Add(machine, TestAgentId());
  Stream stream(verifier, machine);
  stream.Prove();
  const std::vector<uint8_t> piece(kMaxChunkSize);
  for (size_t sent = 0; sent < 512 << 10; sent += piece.size()) {
    stream.session->OnChunk({.data = piece, .last = false}, verifier.now);
  }
  CHECK_FALSE(stream.refused());
  CHECK(verifier.options.list_memory->used() == 256 << 10);
  SECTION("too much") {
    for (size_t sent = 0; sent < 256 << 10; sent += piece.size()) {
      CHECK_FALSE(stream.refused());
      stream.session->OnChunk({.data = piece, .last = false}, verifier.now);
    }
    CHECK_FALSE(stream.refused());
    stream.session->OnChunk({.data = {1}, .last = false}, verifier.now);
    CHECK(stream.refused());
    CHECK(verifier.options.list_memory->used() == 0);
  }
  SECTION("held by what waits to be judged, and then given back") {
    stream.session->OnChunk({.data = {1}, .last = true}, verifier.now);
    stream.session->OnClosed();
    CHECK(verifier.options.list_memory->used() == (256 << 10) + 1);
    stream.RunJobs();
    CHECK(verifier.options.list_memory->used() == 0);
  }
  SECTION("a small list needs none of it") {
    ByteBudget::Reservation all(verifier.options.list_memory);
    REQUIRE(all.GrowTo(256 << 10));
    stream.session->OnClosed();
    Stream second(verifier, machine);
    second.Prove();
    second.SendList();
    second.RunJobs();
    CHECK(second.state() == AgentState::kTrusted);
  }
}

TEST_CASE("A15, A33: a stream without proof displaces nobody") {
  Rig rig;
  rig.Trust();
  FakeMachine hostile;
  hostile.tpm = testing::FakeTpm({.key_index = 7});
  Stream second(rig.verifier, hostile);
  second.Prove();
  CHECK(second.refused());
  CHECK(rig.stream->displaced == 0);
  rig.stream->Round();
  CHECK_FALSE(rig.stream->refused());
  CHECK(rig.stream->state() == AgentState::kTrusted);
}

TEST_CASE("A16: garbage on an unproven stream changes nothing") {
  Rig rig;
  Stream& stream = *rig.stream;
  SECTION("a quote before Hello") {
    stream.session->OnQuote({}, rig.verifier.now);
  }
  SECTION("a list before Hello") { stream.SendList(); }
  SECTION("a list before the quote") {
    stream.SayHello();
    stream.SendList();
  }
  SECTION("Hello twice") {
    stream.SayHello();
    stream.SayHello();
  }
  SECTION("a quote of noise") {
    stream.SayHello();
    QuoteMessage quote;
    quote.nonce = stream.output.challenges[0].nonce;
    quote.attest = std::vector<uint8_t>(100, 0xff);
    stream.session->OnQuote(std::move(quote), rig.verifier.now);
  }
  SECTION("another protocol") {
    HelloMessage hello = stream.Hello();
    hello.protocol_version = 2;
    stream.session->OnHello(hello, rig.verifier.now);
  }
  rig.CheckRefused();
}

TEST_CASE("A16: an ended stream hears nothing more") {
  Rig rig;
  rig.stream->SayHello();
  const QuoteMessage quote = rig.stream->Quote();
  rig.stream->session->OnClosed();
  rig.stream->session->OnQuote(quote, rig.verifier.now);
  rig.stream->SayHello();
  rig.stream->SendList();
  rig.stream->session->OnAttestNow(rig.verifier.now);
  rig.stream->session->OnSettingsChanged(rig.verifier.now);
  rig.stream->session->OnTimer(rig.verifier.now + absl::Hours(1));
  CHECK(rig.stream->output.refusals.empty());
  CHECK(rig.verifier.store.claims == 0);
}

TEST_CASE("A17: an appraisal that could not be made is no evidence") {
  Rig rig;
  rig.Trust();
  const absl::Time valid_until = *rig.stream->record().valid_until;
  rig.verifier.store.now += absl::Seconds(3);
  rig.stream->SendQuote();
  rig.stream->SendList();
  REQUIRE(rig.stream->output.jobs.size() == 1);
  AppraisalOutcome outcome{.job_id = rig.stream->output.jobs[0].id,
                           .appraisal = absl::InternalError("out of memory")};
  rig.stream->output.jobs.clear();
  SECTION("its own") {
    rig.stream->session->OnAppraised(outcome, rig.verifier.now);
    CHECK(rig.stream->output.verdicts.size() == 2);
  }
  SECTION("an old job's pass") {
    AppraisalOutcome old = outcome;
    --old.job_id;
    old.appraisal = appraisal::Appraisal{.verdict = appraisal::Verdict::kPass,
                                         .proof = appraisal::Proof::kQuote,
                                         .findings = {},
                                         .counts = {},
                                         .bank = {},
                                         .progress = {}};
    rig.stream->session->OnAppraised(old, rig.verifier.now);
    CHECK(rig.stream->output.verdicts.size() == 1);
  }
  CHECK(rig.verifier.store.writes.size() == 1);
  CHECK(rig.stream->record().valid_until == valid_until);
}

TEST_CASE("A18: who has lost the agent writes nothing") {
  Rig rig;
  rig.Trust();
  rig.machine.Run("/usr/bin/sh");
  rig.stream->SendQuote();
  rig.stream->SendList();
  // Another verifier takes over.
  REQUIRE(rig.verifier.store.ClaimAgent(TestAgentId(), "verifier-2").ok());
  const size_t writes = rig.verifier.store.writes.size();
  SECTION("and this one finds out as it writes") { rig.stream->RunJobs(); }
  SECTION("and this one is told") {
    rig.stream->session->OnSettingsChanged(rig.verifier.now);
    rig.stream->RunJobs();
  }
  CHECK(rig.verifier.store.writes.size() == writes);
  CHECK(rig.stream->refused());
  CHECK(rig.stream->session->finished());
}

// A verdict that its stream's agent has taken the stream away from.
struct Displaced : Rig {
  Displaced() {
    Trust();
    machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
    stream->SendQuote();
    stream->SendList();
  }
  std::string LastEvent() {
    return verifier.store.EventsAfter("default", 0, 1000)->back().text;
  }
};

TEST_CASE_METHOD(Displaced, "A31: a stream that its own agent displaces") {
  FakeMachine clean;
  clean.tpm.clock_info = machine.tpm.clock_info;
  clean.Reboot();
  Stream second(verifier, clean);
  second.Prove();
  SECTION("before it is judged") { stream->session->OnDisplaced(); }
  SECTION("and which hears of it as it writes") {}
  SECTION("and whose peer is gone") { stream->session->OnClosed(); }
  SECTION("again and again") {
    Stream third(verifier, clean);
    third.Prove();
    second.session->OnDisplaced();
    stream->RunJobs();
    CHECK(stream->state() == AgentState::kFailed);
  }
  SECTION("while the other one is trusted") {
    second.SendList();
    second.RunJobs();
    REQUIRE(stream->state() == AgentState::kTrusted);
  }
  SECTION("while the store is away") {
    stream->RunJobs();
    verifier.store.away = true;
  }
  stream->RunJobs();
  verifier.store.away = false;
  stream->Wait(absl::Seconds(2));
  stream->RunJobs();
  CHECK(stream->session->finished());
  CHECK(stream->state() == AgentState::kFailed);
  REQUIRE(stream->record().findings.size() == 1);
  CHECK(stream->record().findings[0].path == "/tmp/evil");
  CHECK(stream->output.states.back() == AgentState::kFailed);
  CHECK(LastEvent() ==
        "found by a stream that another one has taken over from: "
        "ima.not_in_policy /tmp/evil");
  // What the other one shows washes nothing off.
  second.session->OnSettingsChanged(verifier.now);
  if (!second.output.verdicts.empty()) {
    second.Wait(verifier.options.least_interval);
    second.SendQuote();
  }
  second.SendList();
  second.RunJobs();
  CHECK(second.state() == AgentState::kFailed);
}

TEST_CASE_METHOD(Displaced, "A18: what was found late changes no other's") {
  SECTION("another verifier has the agent") {
    REQUIRE(verifier.store.ClaimAgent(TestAgentId(), "verifier-2").ok());
    stream->RunJobs();
    CHECK(LastEvent() ==
          "found by a verifier that another one has taken over from: "
          "ima.not_in_policy /tmp/evil");
  }
  SECTION("its settings have changed") {
    REQUIRE(verifier.store.ClaimAgent(TestAgentId(), "verifier-1").ok());
    verifier.Update(TestAgentId(), [](AgentSettings& settings) {
      settings.labels["site"] = "x";
    });
    stream->RunJobs();
    CHECK(absl::StartsWith(LastEvent(), "judged by settings or policies that"));
  }
  SECTION("another machine has its id") {
    const AgentRecord before = stream->record();
    REQUIRE(verifier.store.DeleteAgent("default", TestAgentId(), "ann").ok());
    Enrollment other = *before.enrollment;
    other.ek_sha256.back() = other.ek_sha256.back() == 'a' ? 'b' : 'a';
    other.ek_name.back() ^= 1;
    verifier.store.now += absl::Seconds(1);
    verifier.Enroll(other, TestAgentId());
    REQUIRE(verifier.store
                .AddAgent("default", TestAgentId(), before.settings, "", "ann")
                .ok());
    for (int i = 0; i < 5; ++i) {
      REQUIRE(verifier.store.ClaimAgent(TestAgentId(), "verifier-1").ok());
    }
    const std::string last = LastEvent();
    stream->RunJobs();
    CHECK(LastEvent() == last);
  }
  CHECK(stream->state() != AgentState::kFailed);
  CHECK(stream->record().findings.empty());
  CHECK(stream->session->finished());
}

TEST_CASE("A27: a reset while the stream stays open") {
  Rig rig;
  rig.Trust();
  rig.machine.Reboot();
  rig.stream->Round();  // from where the agent was told
  CHECK(rig.stream->state() == AgentState::kPending);
  rig.stream->Round();
  CHECK(rig.stream->state() == AgentState::kFailed);
  CHECK(rig.stream->record().findings.front().id == "tpm.reset_in_stream");
}

TEST_CASE("A27: a TPM restart with another beginning of the list") {
  Rig rig;
  rig.Trust();
  rig.stream->session->OnClosed();
  ++rig.machine.tpm.clock_info.restart_count;
  rig.machine.list = {};
  rig.machine.list.AddFile("boot_aggregate",
                           rig.machine.BootAggregate(HashAlgorithm::kSha256));
  for (int i = 0; i < 5; ++i) rig.machine.Run("/usr/bin/sh");
  Stream second(rig.verifier, rig.machine);
  second.Prove();
  second.SendList();
  second.RunJobs();
  CHECK(second.state() == AgentState::kFailed);
}

TEST_CASE("A28: evil, silence, a reboot, all clean") {
  Rig rig;
  const bool fails = GENERATE(false, true);
  if (fails) {
    rig.verifier.Update(TestAgentId(), [](AgentSettings& settings) {
      settings.on_gap = "failure";
    });
  }
  rig.Trust();
  rig.stream->session->OnClosed();
  rig.machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
  rig.machine.Reboot();
  rig.machine.Reboot();
  const uint64_t sequence = rig.verifier.store.LastEventSequence().value();
  Stream second(rig.verifier, rig.machine);
  second.Prove();
  const auto events =
      rig.verifier.store.EventsAfter("default", sequence, 10).value();
  REQUIRE(events.size() == 1);
  CHECK(events[0].text.find("continuity.gap: the TPM was reset 2 times") !=
        std::string::npos);
  second.SendList();
  second.RunJobs();
  CHECK(second.state() == (fails ? AgentState::kFailed : AgentState::kTrusted));
  CHECK(second.record().state_reason.find("continuity.gap") !=
        std::string::npos);
}

TEST_CASE("A27, A28: each boot is an event, whatever the state") {
  Rig rig;
  rig.machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
  rig.stream->Prove();
  rig.stream->SendList();
  rig.stream->RunJobs();
  REQUIRE(rig.stream->state() == AgentState::kFailed);
  rig.stream->session->OnClosed();
  rig.machine.Reboot();
  const uint64_t sequence = rig.verifier.store.LastEventSequence().value();
  for (int i = 0; i < 2; ++i) {  // once
    Stream next(rig.verifier, rig.machine);
    next.Prove();
    next.session->OnClosed();
  }
  const auto events =
      rig.verifier.store.EventsAfter("default", sequence, 10).value();
  REQUIRE(events.size() == 1);
  CHECK(events[0].state == AgentState::kFailed);
  CHECK(events[0].previous == AgentState::kFailed);
  CHECK(events[0].text.find("the TPM was reset 1 time") != std::string::npos);
  CHECK(rig.stream->record().state_reason == "ima.not_in_policy /tmp/evil");
}

TEST_CASE("A29: a quote that is held back") {
  Rig rig;
  rig.Trust();
  SECTION("over the interval, on a stream whose timer is late") {
    const QuoteMessage quote = rig.stream->Quote();
    rig.stream->session->OnQuote(quote,
                                 rig.verifier.now + absl::Milliseconds(10'001));
  }
  SECTION("and never sent") { rig.stream->Wait(absl::Seconds(11)); }
  SECTION("while it is asked for at once, again and again") {
    for (int i = 0; i < 30; ++i) {
      rig.stream->session->OnAttestNow(rig.verifier.now);
      rig.stream->Wait(absl::Seconds(1));
    }
  }
  CHECK(rig.stream->refused());
  CHECK(rig.verifier.store.writes.size() == 1);
}

TEST_CASE("A29: a quote made for a challenge that was replaced long ago") {
  Rig rig;
  rig.Trust();
  const ChallengeMessage old = rig.stream->output.challenges.back();
  rig.stream->session->OnAttestNow(rig.verifier.now);
  rig.stream->Wait(absl::Milliseconds(2001));
  rig.stream->session->OnQuote(rig.stream->QuoteFor(old), rig.verifier.now);
  CHECK(rig.stream->refused());
}

// Quotes once a second for as long as the clocks say, and lets the TPM's clock
// go on by `factor` as fast as the verifier's.
void Go(
    Rig& rig, absl::Duration duration, double factor,
    const std::function<void()>& between = [] {}) {
  for (absl::Duration passed; passed < duration && !rig.stream->refused() &&
                              rig.stream->state() == AgentState::kTrusted;
       passed += absl::Seconds(1)) {
    between();
    rig.stream->Round();
    rig.stream->Wait(absl::Seconds(1) - rig.verifier.options.least_interval);
    rig.machine.tpm.clock_info.clock +=
        static_cast<uint64_t>(1000 * (factor - 1));
  }
}

TEST_CASE("A29: the TPM's clock is set ahead") {
  Rig rig;
  rig.Trust();
  SECTION("by two minutes") {
    Go(rig, absl::Seconds(5), 1);
    rig.machine.tpm.clock_info.clock += 120'000;
    rig.stream->Round();
  }
  SECTION("bit by bit") { Go(rig, absl::Minutes(10), 1.5); }
  CHECK(rig.stream->state() == AgentState::kFailed);
  REQUIRE_FALSE(rig.stream->record().findings.empty());
  CHECK(rig.stream->record().findings[0].id == "tpm.clock_ahead");
}

TEST_CASE("A29: a clock that is off by a quarter is an honest one") {
  Rig rig;
  rig.Trust();
  Go(rig, absl::Minutes(20), 1.25);
  CHECK(rig.stream->state() == AgentState::kTrusted);
  // So is one beside which this process has been stopped for a while, as the
  // store's clock knows.
  rig.verifier.store.now += absl::Minutes(20) + absl::Hours(1);
  rig.machine.tpm.clock_info.clock += 3'600'000;
  rig.stream->Round();
  CHECK(rig.stream->state() == AgentState::kTrusted);
  // And one of another boot begins anew.
  rig.stream->session->OnClosed();
  rig.machine.Reboot();
  rig.machine.tpm.clock_info.clock += 36'000'000;
  Stream second(rig.verifier, rig.machine);
  second.Prove();
  second.SendList();
  second.RunJobs();
  CHECK(second.state() == AgentState::kTrusted);
}

TEST_CASE("A8: a tail that stays behind the quotes") {
  Rig rig;
  rig.Trust();
  testing::ListBuilder shown = rig.machine.list;
  shown.AddFile("/usr/bin/sh", FileDigestOf("/usr/bin/sh"));
  const auto round = [&] {
    rig.stream->SendQuote();
    const auto start = static_cast<std::ptrdiff_t>(
        rig.stream->output.verdicts.back().next_byte_offset);
    rig.stream->session->OnChunk(
        {.data = {shown.bytes().begin() + start, shown.bytes().end()},
         .last = true},
        rig.verifier.now);
    rig.stream->RunJobs();
    rig.stream->Wait(absl::Seconds(5));
    rig.verifier.store.now += absl::Seconds(5);
  };
  SECTION("for long") {
    for (int i = 0; i < 7; ++i) round();
    CHECK(rig.stream->state() == AgentState::kFailed);
    REQUIRE_FALSE(rig.stream->record().findings.empty());
    CHECK(rig.stream->record().findings[0].id == "ima.tail_unquoted");
  }
  SECTION("on streams that end before it is long") {
    for (int i = 0; i < 7; ++i) {
      round();
      rig.stream->session->OnClosed();
      rig.stream.emplace(rig.verifier, rig.machine);
      rig.stream->Prove();
      const auto start = static_cast<std::ptrdiff_t>(
          rig.stream->output.list_requests.back().byte_offset);
      rig.stream->session->OnChunk(
          {.data = {shown.bytes().begin() + start, shown.bytes().end()},
           .last = true},
          rig.verifier.now);
      rig.stream->RunJobs();
      rig.stream->Wait(absl::Seconds(1));
    }
    CHECK(rig.stream->state() == AgentState::kFailed);
    REQUIRE_FALSE(rig.stream->record().findings.empty());
    CHECK(rig.stream->record().findings[0].id == "ima.tail_unquoted");
  }
  SECTION("and is covered in the end, and there is another one") {
    for (int i = 0; i < 12; ++i) {
      round();
      if (i % 3 == 2) rig.machine.list = shown;
      if (i % 3 == 2) {
        shown.AddFile("/usr/bin/sh", FileDigestOf("/usr/bin/sh"));
      }
    }
    CHECK(rig.stream->state() == AgentState::kTrusted);
  }
}

TEST_CASE("A31: nothing washes FAILED off") {
  Rig rig;
  rig.Trust();
  rig.machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
  rig.stream->Round();
  REQUIRE(rig.stream->state() == AgentState::kFailed);
  SECTION("a reboot without the evil file") {
    rig.stream->session->OnClosed();
    rig.machine.Reboot();
  }
  SECTION("a renewed AK") {
    rig.stream->session->OnClosed();
    rig.machine.tpm = testing::FakeTpm({.key_index = 3});
    rig.machine.Reboot();
    rig.verifier.Enroll(rig.machine, TestAgentId());
  }
  SECTION("a policy that allows it") {
    rig.machine.policy.digests["/tmp/evil"] = {FileDigestOf("evil")};
    rig.verifier.store.Put("default", "base", PolicyFileOf(rig.machine));
    rig.stream->session->OnClosed();
  }
  SECTION("silence") {
    rig.stream->Wait(absl::Hours(1));
    rig.verifier.store.now += absl::Hours(1);
    CHECK(rig.verifier.store.ExpireVerdicts(rig.verifier.store.now).value() ==
          0);
  }
  Stream second(rig.verifier, rig.machine);
  second.Prove();
  second.SendList();
  second.RunJobs();
  CHECK_FALSE(second.refused());
  CHECK(second.state() == AgentState::kFailed);
  REQUIRE(second.record().findings.size() == 1);
  CHECK(second.record().findings[0].path == "/tmp/evil");
  CHECK(second.output.verdicts.back().state == AgentState::kFailed);
}

TEST_CASE("A31: a new AK ends the stream of the old one") {
  Rig rig;
  rig.Trust();
  FakeMachine renewed = rig.machine;
  renewed.tpm = testing::FakeTpm({.key_index = 3});
  rig.verifier.Enroll(renewed, TestAgentId());
  rig.stream->session->OnSettingsChanged(rig.verifier.now);
  CHECK(rig.stream->refused());
}

TEST_CASE("A31: hanging up on a verdict does not prevent it") {
  Rig rig;
  rig.Trust();
  rig.machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
  rig.stream->SendQuote();
  rig.stream->SendList();
  SECTION("the peer is gone") { rig.stream->session->OnClosed(); }
  SECTION("the peer misbehaves") { rig.stream->SendList(); }
  CHECK_FALSE(rig.stream->session->finished());
  rig.stream->RunJobs();
  CHECK(rig.stream->state() == AgentState::kFailed);
  CHECK(rig.stream->session->finished());
  // And the log hears of it.
  CHECK(rig.stream->output.states.back() == AgentState::kFailed);
}

TEST_CASE("A31: a verdict that settings have overtaken") {
  Rig rig;
  rig.Trust();
  rig.machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
  rig.stream->SendQuote();
  rig.stream->SendList();
  const bool is_gone = GENERATE(true, false);
  CAPTURE(is_gone);
  // Who stays may reboot before it is asked again.
  if (is_gone) rig.stream->session->OnClosed();
  rig.verifier.Update(TestAgentId(), [](AgentSettings& settings) {
    settings.labels["site"] = "x";
  });
  rig.stream->RunJobs();
  // It is no verdict by what counts now, and it is not forgotten.
  CHECK(rig.stream->state() == AgentState::kPending);
  const auto events = rig.verifier.store.EventsAfter("default", 0, 1000);
  REQUIRE(events.ok());
  CHECK(absl::StrContains(events->back().text,
                          "changed since: ima.not_in_policy /tmp/evil"));
  CHECK(rig.stream->session->finished() == is_gone);
}

TEST_CASE("A15: who waits for the verifier is not late for that") {
  Rig rig;
  rig.Trust();
  QuoteMessage quote = rig.stream->Quote();
  const absl::Time arrived = rig.verifier.now;
  rig.verifier.now += absl::Seconds(60);
  SECTION("a quote that came in time") {
    quote.arrived = arrived;
    rig.stream->session->OnQuote(quote, rig.verifier.now);
    CHECK_FALSE(rig.stream->refused());
    SECTION("and its list") {
      const absl::Time list = rig.verifier.now;
      rig.verifier.now += absl::Hours(1);
      rig.stream->session->OnChunk(
          {.data = rig.stream->List(), .last = true, .arrived = list},
          rig.verifier.now);
      CHECK_FALSE(rig.stream->refused());
    }
    SECTION("and a list that did not") {
      rig.verifier.now += absl::Hours(1);
      rig.stream->SendList();
      CHECK(rig.stream->refused());
    }
  }
  SECTION("a quote that did not") {
    rig.stream->session->OnQuote(quote, rig.verifier.now);
    CHECK(rig.stream->refusal() == "the quote came too late");
  }
  SECTION("no message comes from the future") {
    quote.arrived = rig.verifier.now + absl::Hours(1);
    rig.stream->session->OnQuote(quote, rig.verifier.now);
    CHECK(rig.stream->refusal() == "the quote came too late");
  }
}

TEST_CASE("A29: a verdict holds from its quote on") {
  Rig rig;
  rig.Trust();
  rig.stream->SendQuote();
  const absl::Time quoted = rig.verifier.store.now;
  for (absl::Time* clock : {&rig.verifier.now, &rig.verifier.store.now}) {
    *clock += absl::Seconds(7);  // until the list is there
  }
  rig.stream->SendList();
  rig.stream->RunJobs();
  CHECK(rig.stream->state() == AgentState::kTrusted);
  CHECK(rig.stream->record().valid_until ==
        quoted + rig.verifier.options.interval + rig.verifier.options.grace);
}

TEST_CASE("A16: nothing is looked up for a quote of another challenge") {
  Rig rig;
  Stream stream(rig.verifier, rig.machine);
  stream.SayHello();
  const int finds = rig.verifier.store.finds;
  ChallengeMessage other = stream.output.challenges.back();
  other.certificate_sha256[0] ^= 1;
  QuoteMessage quote = stream.QuoteFor(other);
  SECTION("made for another certificate") {}
  SECTION("that is none") { quote.attest.pop_back(); }
  stream.session->OnQuote(quote, rig.verifier.now);
  CHECK(stream.refused());
  CHECK(rig.verifier.store.finds == finds);
}

TEST_CASE("A32: a policy that changes under the evidence") {
  Rig rig;
  rig.Trust();
  rig.machine.Run("/usr/bin/new");
  rig.verifier.store.Put("default", "base", PolicyFileOf(rig.machine));
  rig.stream->session->OnSettingsChanged(rig.verifier.now);
  rig.stream->Round();
  rig.stream->SendQuote();
  rig.stream->SendList();
  // It is taken back before the verdict is written.
  FakeMachine without;
  rig.verifier.store.Put("default", "base", PolicyFileOf(without));
  // A notification may be lost, and may come before the outcome.
  if (GENERATE(false, true)) {
    rig.stream->session->OnSettingsChanged(rig.verifier.now);
  }
  const size_t writes = rig.verifier.store.writes.size();
  rig.stream->RunJobs();
  CHECK(rig.verifier.store.writes.size() == writes);
  CHECK_FALSE(rig.stream->refused());
  CHECK(rig.stream->output.verdicts.back().next_entry == 0);
  rig.stream->Wait(rig.verifier.options.least_interval);
  CHECK(rig.stream->output.challenges.back().now);
  rig.stream->Round();
  CHECK(rig.stream->state() == AgentState::kFailed);
  CHECK(rig.stream->record().findings.front().path == "/usr/bin/new");
}

TEST_CASE("A32: progress of another policy is not resumed from") {
  Rig rig;
  rig.Trust();
  rig.stream->session->OnClosed();
  FakeMachine fewer;
  fewer.policy.digests.erase("/usr/bin/init");
  rig.verifier.store.Put("default", "base", PolicyFileOf(fewer));
  Stream second(rig.verifier, rig.machine);
  second.Prove();
  CHECK(second.output.list_requests.at(0).first_entry == 0);
  second.SendList();
  second.RunJobs();
  CHECK(second.state() == AgentState::kFailed);
}

TEST_CASE("A33: two proven streams of one AK that alternate") {
  Rig rig;
  rig.Trust();
  std::vector<std::unique_ptr<Stream>> streams;
  for (int i = 0; i < 3; ++i) {
    rig.verifier.now += absl::Seconds(1);
    streams.push_back(std::make_unique<Stream>(rig.verifier, rig.machine));
    streams.back()->Prove();
    CHECK(rig.stream->state() ==
          (i < 2 ? AgentState::kTrusted : AgentState::kFailed));
  }
  CHECK(rig.stream->displaced == 1);
  CHECK(streams[0]->displaced == 1);
  CHECK(streams[1]->displaced == 1);
  CHECK(rig.stream->record().findings.at(0).id == "tpm.clone_suspected");
  // It goes on being appraised.
  streams[2]->SendList();
  streams[2]->RunJobs();
  CHECK(rig.stream->state() == AgentState::kFailed);
  rig.stream->session->OnDisplaced();
  CHECK(rig.stream->refused());
  for (auto& stream : streams) stream->session->OnClosed();
}

TEST_CASE("A33: an agent whose connection is cut again and again is no clone") {
  Rig rig;
  rig.Trust();
  std::vector<std::unique_ptr<Stream>> streams;
  std::vector<uint8_t> last = rig.stream->output.challenges.front().nonce;
  for (int i = 0; i < 6; ++i) {
    rig.verifier.now += absl::Seconds(1);
    streams.push_back(std::make_unique<Stream>(rig.verifier, rig.machine));
    Stream& stream = *streams.back();
    HelloMessage hello = stream.Hello();
    hello.previous_streams = {last};
    stream.session->OnHello(hello, rig.verifier.now);
    last = stream.output.challenges.front().nonce;
    stream.SendQuote();
    CHECK(stream.state() == AgentState::kTrusted);
  }
  CHECK(rig.stream->displaced == 1);
  for (auto& stream : streams) stream->session->OnClosed();
}

TEST_CASE("A33: a clone that went another way is told by its list") {
  Rig rig;
  FakeMachine clone = rig.machine;
  rig.machine.Run("/usr/bin/sh");
  rig.Trust();
  rig.stream->session->OnClosed();
  clone.tpm.clock_info.clock = rig.machine.tpm.clock_info.clock + 1;
  clone.Run("/usr/lib/libc").Run("/usr/lib/libc");
  Stream second(rig.verifier, clone);
  second.Prove();
  second.SendList();
  second.RunJobs();
  // Nothing fits where the other one had got to; all of it shows why.
  CHECK(second.output.verdicts.back().next_entry == 0);
  second.Wait(rig.verifier.options.least_interval);
  second.Round();
  CHECK(second.state() == AgentState::kFailed);
}

TEST_CASE("A35: Hello lowers nothing") {
  using enum HashAlgorithm;
  Rig rig({kSha256, kSha1});
  rig.verifier.Update(TestAgentId(), [](AgentSettings& settings) {
    settings.allow_sha1_bank = true;
  });
  rig.Trust();
  rig.stream->session->OnClosed();
  Stream second(rig.verifier, rig.machine);
  HelloMessage hello = second.Hello();
  hello.banks = {kSha1};
  hello.list_pcrs = {};
  hello.entry_count = 0;
  second.session->OnHello(hello, rig.verifier.now);
  REQUIRE(second.output.challenges.size() == 1);
  CHECK(second.output.list_requests.empty());  // and tells nothing
  CHECK(rig.verifier.store.seen == 0);
  // The first challenge knows of nothing but Hello: its answer shows who it is,
  // and what the machine has proven before is asked for then.
  CHECK(second.output.challenges[0].selection.ToString() ==
        "sha1:0,1,2,3,4,5,6,7,8,9,10");
  const uint64_t attested = second.record().attestation_count;
  second.SendQuote();
  CHECK(second.output.list_requests.empty());
  CHECK(second.record().attestation_count == attested);
  second.Wait(rig.verifier.options.least_interval);
  REQUIRE(second.output.challenges.size() == 2);
  CHECK(second.output.challenges[1].now);
  CHECK(second.output.challenges[1].selection.ToString() ==
        "sha256:0,1,2,3,4,5,6,7,8,9,10");
}

TEST_CASE("A35: a bank that Hello made up helps nobody") {
  Rig rig;
  HelloMessage hello = rig.stream->Hello();
  hello.banks = {HashAlgorithm::kSha512};
  rig.stream->session->OnHello(hello, rig.verifier.now);
  rig.stream->SendQuote();
  rig.CheckRefused();
}

TEST_CASE("A35: settings that change give an unproven stream no time") {
  Rig rig;
  rig.stream->SayHello();
  REQUIRE(rig.stream->output.challenges.size() == 1);
  for (int i = 0; i < 12 && !rig.stream->refused(); ++i) {
    rig.verifier.store.Put("default", "base", PolicyFileOf(rig.machine));
    rig.stream->session->OnSettingsChanged(rig.verifier.now);
    rig.stream->session->OnAttestNow(rig.verifier.now);
    rig.stream->Wait(absl::Seconds(1));
  }
  CHECK(rig.stream->output.challenges.size() == 1);
  rig.CheckRefused();
}

}  // namespace
}  // namespace cupel::verifier
