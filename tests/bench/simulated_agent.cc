#include "tests/bench/simulated_agent.h"

#include <algorithm>
#include <chrono>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "agent/rpc/enrollment_client.h"
#include "common/tpm/public_area.h"
#include "common/util/bytes.h"
#include "common/util/status_macros.h"

namespace cupel::bench {
namespace {

using ::cupel::crypto::HashAlgorithm;
using ::cupel::testing::FakeKeyKind;

constexpr absl::Duration kCallTimeout = absl::Seconds(30);

// Two keys an agent, beside those of the CAs.
int EkIndex(size_t number) { return 1000 + 2 * static_cast<int>(number); }
int AkIndex(size_t number) { return EkIndex(number) + 1; }

AgentId IdOf(size_t number) {
  std::vector<uint8_t> bytes(12, 0x5a);
  AppendBe(bytes, static_cast<uint32_t>(number));
  return AgentId::FromBytes(bytes).value();
}

std::vector<uint8_t> MakeEkCertificate(size_t number,
                                       const testing::TestCertificate& issuer) {
  testing::CertificateSpec spec =
      testing::EkSpec(FakeKeyKind::kEcP256, EkIndex(number));
  spec.not_before = absl::Now() - absl::Hours(1);
  spec.not_after = absl::Now() + absl::Hours(24);
  return ToVector(testing::MakeCertificate(spec, &issuer).certificate.der());
}

agent::AttesterOptions OptionsFor(const AgentId& id) {
  agent::AttesterOptions options{.agent_id = id,
                                 .agent_version = "simulated",
                                 .banks = {HashAlgorithm::kSha256},
                                 .list_pcrs = {10}};
  options.settle = absl::ZeroDuration();
  options.settle_limit = absl::ZeroDuration();
  options.least_interval = absl::ZeroDuration();
  return options;
}

// Of a fleet whose agents do not come back at the same moment.
agent::AddressRotation MakeRotation(const std::string& address, size_t number) {
  auto random = [state = static_cast<uint32_t>(number + 1)]() mutable {
    state = state * 1664525 + 1013904223;
    return static_cast<double>(state >> 8) / (1 << 24);
  };
  return agent::AddressRotation::Create({address}, {}, random).value();
}

}  // namespace

absl::Time SimulationNow() {
  return absl::UnixEpoch() +
         absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
}

SimulatedAgent::SimulatedAgent(const SimulationContext& context, size_t number,
                               size_t entry_count)
    : context_(context),
      number_(number),
      key_(absl::StrCat("agent ", number)),
      id_(IdOf(number)),
      ek_(tpm::EkTemplate::kL2, FakeKeyKind::kEcP256, EkIndex(number)),
      machine_({HashAlgorithm::kSha256},
               {.key_index = AkIndex(number), .ek_name = ek_.area().Name()}),
      next_file_(number * 7919),
      attester_(OptionsFor(id_), *this),
      rotation_(MakeRotation(context.address, number)),
      started_at_(SimulationNow()) {
  machine_.list = testing::ListBuilder();
  machine_.list.AddFile("boot_aggregate",
                        machine_.BootAggregate(HashAlgorithm::kSha256));
  AddFiles(entry_count);
  enrollee_ =
      agent::Enrollee::Create(
          {.agent_id = id_,
           .ek_template = tpm::EkTemplate::kL2,
           .ek_certificates = {MakeEkCertificate(number, context.ek_issuer)},
           .ek_public = ek_.area().Serialize(),
           .ak_public = machine_.tpm.ak().Serialize(),
           .enrollment_token = "",
           .agent_version = "simulated"})
          .value();
}

absl::Status SimulatedAgent::Enroll() const {
  CUPEL_ASSIGN_OR_RETURN(
      const agent::EnrollmentClient client,
      agent::EnrollmentClient::Create(context_.address, context_.channel));
  CUPEL_ASSIGN_OR_RETURN(const agent::EnrollmentClient::Begun begun,
                         client.Begin(enrollee_->request(), kCallTimeout));
  CUPEL_ASSIGN_OR_RETURN(
      const tpm::CompleteEnrollment answer,
      enrollee_->Answer(begun.challenge, begun.certificate_sha256,
                        [this](std::span<const uint8_t> blob,
                               std::span<const uint8_t> secret) {
                          return ek_.Activate(blob, secret,
                                              machine_.tpm.ak().Name());
                        }));
  return client.Complete(answer, kCallTimeout).status();
}

void SimulatedAgent::Start() {
  Post([this] { Connect(); });
}

void SimulatedAgent::Measure(size_t entry_count) {
  Post([this, entry_count] {
    AddFiles(entry_count);
    attester_.Poll(SimulationNow());
    Advance();
  });
}

void SimulatedAgent::Stop(std::function<void()> ended) {
  Post([this, ended = std::move(ended)] {
    stopped_ = true;
    context_.scheduler.Cancel(timer_);
    client_.reset();  // no event comes after it
    Post(ended);      // behind those that came before
  });
}

void SimulatedAgent::OnCertificate(const crypto::Digest& sha256) {
  Post([this, sha256] { attester_.OnCertificate(sha256); });
}

void SimulatedAgent::OnMessage(agent::VerifierMessage message) {
  Post([this, now = SimulationNow(), message = std::move(message)] {
    if (const auto* verdict = std::get_if<agent::VerdictMessage>(&message)) {
      rotation_.OnWorking();
      context_.on_verdict(number_, {.state = verdict->state,
                                    .findings = verdict->findings,
                                    .latency = now - quote_sent_at_});
    }
    attester_.OnMessage(SimulationNow(), message);
    Advance();
  });
}

void SimulatedAgent::OnWritten() {
  Post([this] {
    attester_.OnWritten(SimulationNow());
    Advance();
  });
}

void SimulatedAgent::OnClosed(const absl::Status& /*status*/) {
  Post([this] {
    if (client_ != nullptr) EndStream(absl::ZeroDuration());
  });
}

absl::StatusOr<uint64_t> SimulatedAgent::EntryCount() {
  return machine_.list.size();
}

absl::StatusOr<std::vector<uint8_t>> SimulatedAgent::ReadFrom(uint64_t offset,
                                                              size_t max_size) {
  const std::span<const uint8_t> all(machine_.list.bytes());
  const size_t begin = std::min(static_cast<size_t>(offset), all.size());
  return ToVector(all.subspan(begin, std::min(max_size, all.size() - begin)));
}

void SimulatedAgent::Post(std::function<void()> job) {
  context_.pool.Post(key_, std::move(job));
}

void SimulatedAgent::Connect() {
  if (stopped_ || client_ != nullptr) return;
  const absl::Time now = SimulationNow();
  if (const absl::Time due = rotation_.Next(now).at; due > now) {
    return WakeAt(due, &SimulatedAgent::Connect);
  }
  auto client =
      agent::AttestationClient::Open(context_.address, context_.channel, *this);
  if (!client.ok()) return rotation_.OnFailed(now, absl::ZeroDuration());
  client_ = *std::move(client);
  attester_.OnConnected(now);
  Advance();
}

void SimulatedAgent::Advance() {
  if (stopped_ || client_ == nullptr) return;
  while (auto action = attester_.Next(SimulationNow())) {
    Perform(*std::move(action));
    if (client_ == nullptr) return;
  }
  WakeAt(attester_.WakeAt(), &SimulatedAgent::Advance);
}

void SimulatedAgent::Perform(agent::Action action) {
  if (auto* const job = std::get_if<agent::QuoteJob>(&action)) {
    agent::QuoteResult quote = Quote(*job);
    attester_.OnQuoted(SimulationNow(), job->id, std::move(quote));
  } else if (auto* const message = std::get_if<agent::AgentMessage>(&action)) {
    if (std::holds_alternative<agent::QuoteMessage>(*message)) {
      quote_sent_at_ = SimulationNow();
    }
    client_->Send(std::move(*message));
  } else {
    EndStream(std::get<agent::CloseStream>(action).retry_after);
  }
}

void SimulatedAgent::EndStream(absl::Duration retry_after) {
  attester_.OnDisconnected();
  client_.reset();
  const absl::Time now = SimulationNow();
  rotation_.OnFailed(now, retry_after);
  WakeAt(rotation_.Next(now).at, &SimulatedAgent::Connect);
}

void SimulatedAgent::WakeAt(absl::Time at, void (SimulatedAgent::*what)()) {
  if (stopped_) return;
  context_.scheduler.Cancel(timer_);
  timer_ = 0;
  if (at == absl::InfiniteFuture()) return;
  timer_ = context_.scheduler.After(at - SimulationNow(), [this, what] {
    Post([this, what] { (this->*what)(); });
  });
}

void SimulatedAgent::AddFiles(size_t entry_count) {
  for (size_t i = 0; i < entry_count; ++i) {
    const MeasuredFile& file =
        context_.files[next_file_ % context_.files.size()];
    machine_.list.AddFile(file.path, file.digest);
    ++next_file_;
  }
}

agent::QuoteResult SimulatedAgent::Quote(const agent::QuoteJob& job) {
  machine_.tpm.clock_info.clock =
      1000 + static_cast<uint64_t>(
                 absl::ToInt64Milliseconds(SimulationNow() - started_at_));
  const testing::FakeTpm tpm = machine_.TpmNow(job.selection);
  testing::FakeQuote quote = tpm.Quote(job.selection, job.qualifying_data);
  return {.attest = std::move(quote.attest),
          .signature = std::move(quote.signature),
          .pcrs = tpm.pcrs};
}

}  // namespace cupel::bench
