#include "tests/verifier/session/session_rig.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/crypto/digest.h"
#include "common/policy/boot_rule.h"
#include "common/tpm/constants.h"
#include "common/util/bytes.h"
#include "verifier/session/qualifying_data.h"

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

void Verifier::Add(const FakeMachine& machine, const AgentId& id) {
  AgentRecord record{.id = id,
                     .tenant = "default",
                     .state = AgentState::kPending,
                     .state_reason = {},
                     .wanted_ek_sha256 = {},
                     .enrollment = Enrollment{},
                     .settings = {},
                     .valid_until = {},
                     .last_attested = {},
                     .last_seen = {},
                     .counts = {},
                     .findings = {},
                     .accepted = {},
                     .boot_composite = {},
                     .pinned_boot_composite = {},
                     .progress = {}};
  record.enrollment->ek_name = machine.tpm.ek_name();
  record.enrollment->ak_public = machine.tpm.ak().Serialize();
  record.enrollment->ak_name = machine.tpm.ak().Name();
  record.settings.policies = {"base"};
  record.settings.boot = "pinned";
  const auto composite = policy::ComputeBootComposite(
      machine.banks.front(),
      [&](HashAlgorithm bank, uint32_t pcr) -> std::optional<Digest> {
        return machine.pcrs.at({bank, pcr});
      });
  record.pinned_boot_composite = composite->Hex();
  store.agents.insert_or_assign(id, record);
  store.Put("default", "base", PolicyFileOf(machine));
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
  const testing::FakeQuote quote = tpm.Quote(
      challenge.selection,
      QuoteQualifyingData(challenge.nonce, id, challenge.certificate_sha256));
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

void Stream::RunJobs() {
  for (AppraisalJob& job : std::exchange(output.jobs, {})) {
    session->OnAppraised(job.Run(), verifier.now);
    RecordWrites();
  }
}

void Stream::RecordWrites() {
  const std::vector<VerdictWrite> writes = std::exchange(output.writes, {});
  for (absl::StatusOr<AgentState>& state :
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
