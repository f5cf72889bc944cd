#include "tests/verifier/session/session_rig.h"

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/crypto/digest.h"
#include "common/policy/boot_rule.h"
#include "common/tpm/binding.h"
#include "common/tpm/constants.h"
#include "common/util/bytes.h"

namespace cupel::verifier {

using ::cupel::crypto::Digest;
using ::cupel::crypto::HashAlgorithm;
using ::cupel::testing::FakeMachine;

AgentId TestAgentId(uint8_t last) {
  std::vector<uint8_t> bytes(16, 0x11);
  bytes.back() = last;
  return AgentId::FromBytes(bytes).value();
}

std::string PolicyFileOf(const FakeMachine& machine) {
  std::vector<std::string> lines;
  for (const auto& [path, digests] : machine.policy.digests) {
    lines.push_back(
        absl::StrCat("\"", path, "\": [\"", digests.front().Hex(), "\"]"));
  }
  return absl::StrCat(R"({"meta": {"version": 1}, "release": 0, "digests": {)",
                      absl::StrJoin(lines, ", "), R"(}, "excludes": []})");
}

namespace {

Enrollment EnrollmentOf(const FakeMachine& machine) {
  return {
      .ek_certificate = {1, 2, 3},
      .ek_sha256 = crypto::Hash(HashAlgorithm::kSha256, AsBytes("ek")).Hex(),
      .ek_name = machine.tpm.ek_name(),
      .ak_public = machine.tpm.ak().Serialize(),
      .ak_name = machine.tpm.ak().Name(),
      .time = absl::FromUnixSeconds(1000),
      .address = "192.0.2.1"};
}

// Tests go on with what is there: an operation that fails ends them.
void Check(const absl::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "session rig: %s\n", status.ToString().c_str());
  std::abort();
}

}  // namespace

void Verifier::Add(const FakeMachine& machine, const AgentId& id,
                   const std::function<void(Plan&)>& change) {
  Plan plan{.enrollment = EnrollmentOf(machine), .settings = {}, .boot = ""};
  plan.settings.policies = {"base"};
  plan.settings.boot = "pinned";
  const auto composite = policy::ComputeBootComposite(
      machine.banks.front(),
      [&](HashAlgorithm bank, uint32_t pcr) -> std::optional<Digest> {
        return machine.pcrs.at({bank, pcr});
      });
  plan.boot = composite->Hex();
  if (change) change(plan);
  store.Put("default", "base", PolicyFileOf(machine));
  Enroll(plan.enrollment, id);
  Check(store.AddAgent("default", id, plan.settings, "", "ann").status());
  if (!plan.boot.empty()) {
    Check(
        store.Reactivate("default", id, {.boot_composite = plan.boot}, "ann"));
  }
}

void Verifier::Enroll(const FakeMachine& machine, const AgentId& id) {
  Enroll(EnrollmentOf(machine), id);
}

void Verifier::Enroll(const Enrollment& enrollment, const AgentId& id) {
  const std::string nonce = absl::StrCat("nonce ", ++nonce_);
  Check(store.Enroll(id, enrollment, AsBytes(nonce), store.now, "", 100)
            .status());
}

void Verifier::Update(const AgentId& id,
                      const std::function<void(AgentSettings&)>& change) {
  Check(store.UpdateAgent(
      "default", id,
      [&](AgentSettings& settings) {
        change(settings);
        return absl::OkStatus();
      },
      "ann"));
}

Stream::Stream(Verifier& the_verifier, FakeMachine& the_machine,
               const AgentId& the_id)
    : verifier(the_verifier),
      machine(the_machine),
      id(the_id),
      certificate(32, 0xcc) {
  auto ticket =
      verifier.table.Open("192.0.2.1", [this] { ++displaced; }).value();
  session = std::make_unique<Session>(
      verifier.options,
      Session::Surroundings{verifier.store, verifier.policies, output},
      std::move(ticket), std::vector<std::vector<uint8_t>>{certificate},
      verifier.now);
}

HelloMessage Stream::Hello() const {
  return {.agent_id = id,
          .protocol_version = kProtocolVersion,
          .entry_count = machine.list.size(),
          .banks = machine.banks,
          .list_pcrs = machine.list_pcrs};
}

QuoteMessage Stream::Quote() const {
  return QuoteFor(output.challenges.back());
}

QuoteMessage Stream::QuoteFor(const ChallengeMessage& challenge) const {
  const testing::FakeTpm tpm = machine.TpmNow(challenge.selection);
  const auto shown =
      Digest::Create(HashAlgorithm::kSha256, challenge.certificate_sha256);
  const auto data = tpm::QuoteQualifyingData(challenge.nonce, id, *shown);
  const testing::FakeQuote quote =
      tpm.Quote(challenge.selection, data->bytes());
  return {.attest = quote.attest,
          .signature = quote.signature,
          .pcrs = tpm.pcrs,
          .nonce = challenge.nonce};
}

std::vector<uint8_t> Stream::List() const {
  uint64_t offset = 0;
  if (!output.verdicts.empty()) {
    offset = output.verdicts.back().next_byte_offset;
  } else if (!output.list_requests.empty()) {
    offset = output.list_requests.back().byte_offset;
  }
  const std::vector<uint8_t>& all = machine.list.bytes();
  if (offset >= all.size()) return {};
  return {all.begin() + static_cast<std::ptrdiff_t>(offset), all.end()};
}

void Stream::Prove() {
  SayHello();
  SendQuote();
}

void Stream::SendList() {
  session->OnChunk({.data = List(), .last = true}, verifier.now);
}

void Stream::RunLoads() {
  for (const PolicyRequest& load : std::exchange(output.loads, {})) {
    session->OnPolicyLoaded(verifier.policies.Get(load), verifier.now);
  }
}

void Stream::RunJobs() {
  for (AppraisalJob& job : std::exchange(output.jobs, {})) {
    session->OnAppraised(job.Run(), verifier.now);
    RecordWrites();
  }
}

void Stream::RecordWrites() {
  const std::vector<VerdictWrite> writes = std::exchange(output.writes, {});
  for (absl::StatusOr<RecordedVerdict>& state :
       verifier.store.RecordVerdicts(writes)) {
    session->OnRecorded(std::move(state), verifier.now);
  }
}

void Stream::Round() {
  SendQuote();
  SendList();
  RunJobs();
  Wait(verifier.options.least_interval);
}

void Stream::Wait(absl::Duration duration) {
  const absl::Time end = verifier.now + duration;
  while (output.timer <= end) {
    verifier.now = std::max(verifier.now, output.timer);
    output.timer = absl::InfiniteFuture();
    session->OnTimer(verifier.now);
    RecordWrites();
  }
  verifier.now = end;
  machine.tpm.clock_info.clock +=
      static_cast<uint64_t>(absl::ToInt64Milliseconds(duration));
}

}  // namespace cupel::verifier
