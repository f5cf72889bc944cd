#include "tests/bench/simulated_fleet.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "tests/support/list_builder.h"

namespace cupel::bench {
namespace {

constexpr size_t kThreads = 2;
// Calls of an enrolment wait for the verifier most of their time. Fewer than
// the verifier lets one address have under way.
constexpr size_t kEnrollmentThreads = 4;
constexpr int kIssuerKey = 900;

testing::TestCertificate MakeIssuer() {
  testing::CertificateSpec spec = testing::CaSpec("Bench EK CA", kIssuerKey);
  spec.not_before = absl::Now() - absl::Hours(1);
  spec.not_after = absl::Now() + absl::Hours(24);
  return testing::MakeCertificate(spec);
}

// Paths as long as those under /usr are on average.
MeasuredFile FileOf(size_t number) {
  std::string path =
      absl::StrCat("/usr/lib/x86_64-linux-gnu/package-", number % 997,
                   "/module/object-", number, ".so.1.0");
  crypto::Digest digest = testing::FileDigestOf(path);
  return {std::move(path), digest};
}

}  // namespace

SimulatedFleet::SimulatedFleet(const FleetOptions& options)
    : options_(options),
      ek_issuer_(MakeIssuer()),
      trusted_(options.agent_count),
      failed_(options.agent_count),
      pool_(kThreads) {
  files_.reserve(options_.digest_count);
  for (size_t i = 0; i < options_.digest_count; ++i) {
    files_.push_back(FileOf(i));
  }
}

SimulatedFleet::~SimulatedFleet() {
  std::mutex mutex;
  std::condition_variable all_ended;
  size_t left = agents_.size();
  for (const auto& agent : agents_) {
    agent->Stop([&] {
      const std::lock_guard<std::mutex> lock(mutex);
      --left;
      all_ended.notify_all();
    });
  }
  std::unique_lock<std::mutex> lock(mutex);
  all_ended.wait(lock, [&] { return left == 0; });
  lock.unlock();
  scheduler_.Stop();
}

std::string SimulatedFleet::Allowlist() const {
  std::string text;
  for (const MeasuredFile& file : files_) {
    absl::StrAppend(&text, file.digest.Hex(), "  ", file.path, "\n");
  }
  return text;
}

void SimulatedFleet::MakeAgents(const std::string& address,
                                const std::string& root_certificates) {
  context_ = std::make_unique<SimulationContext>(SimulationContext{
      .pool = pool_,
      .scheduler = scheduler_,
      .address = address,
      .channel = {.root_certificates = root_certificates},
      .ek_issuer = ek_issuer_,
      .files = files_,
      .on_verdict = [this](size_t agent, const SimulatedVerdict& verdict) {
        OnVerdict(agent, verdict);
      }});
  for (size_t i = 0; i < options_.agent_count; ++i) {
    agents_.push_back(std::make_unique<SimulatedAgent>(
        *context_, i, options_.first_entry_count));
  }
}

absl::Status SimulatedFleet::EnrollAll() {
  std::atomic<size_t> next = 0;
  std::mutex mutex;
  absl::Status first_error;
  std::vector<std::thread> threads;
  for (size_t i = 0; i < kEnrollmentThreads; ++i) {
    threads.emplace_back([&] {
      for (size_t agent = next++; agent < agents_.size(); agent = next++) {
        const absl::Status status = agents_[agent]->Enroll();
        const std::lock_guard<std::mutex> lock(mutex);
        first_error.Update(status);
        if (!first_error.ok()) return;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return first_error;
}

void SimulatedFleet::Start(size_t first, size_t end) {
  for (size_t i = first; i < end; ++i) agents_[i]->Start();
}

void SimulatedFleet::BeginRound() {
  const std::lock_guard<std::mutex> lock(mutex_);
  round_ = {};
  trusted_.assign(trusted_.size(), false);
  failed_.assign(failed_.size(), false);
}

Round SimulatedFleet::EndRound() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return std::exchange(round_, {});
}

absl::Status SimulatedFleet::AwaitTrusted(size_t agent_count,
                                          absl::Duration timeout) {
  std::unique_lock<std::mutex> lock(mutex_);
  if (changed_.wait_for(lock, absl::ToChronoMilliseconds(timeout),
                        [&] { return round_.trusted_count >= agent_count; })) {
    return absl::OkStatus();
  }
  return absl::DeadlineExceededError(
      absl::StrCat(round_.trusted_count, " of ", agent_count,
                   " agents were trusted in time"));
}

void SimulatedFleet::Run(absl::Duration duration, absl::Duration period,
                         size_t entry_count) {
  const absl::Time begin = SimulationNow();
  for (int64_t i = 0;; ++i) {
    const absl::Time due =
        begin + period * i / static_cast<int64_t>(agents_.size());
    if (due - begin >= duration) break;
    absl::SleepFor(due - SimulationNow());
    agents_[static_cast<size_t>(i) % agents_.size()]->Measure(entry_count);
  }
  absl::SleepFor(begin + duration - SimulationNow());
}

void SimulatedFleet::OnVerdict(size_t agent, const SimulatedVerdict& verdict) {
  const std::lock_guard<std::mutex> lock(mutex_);
  ++round_.verdict_count;
  round_.latencies.push_back(verdict.latency);
  if (verdict.state == "TRUSTED" && !trusted_[agent]) {
    trusted_[agent] = true;
    ++round_.trusted_count;
  }
  if (verdict.state == "FAILED" && !failed_[agent]) {
    failed_[agent] = true;
    ++round_.failed_count;
    round_.a_finding = absl::StrJoin(verdict.findings, ", ");
  }
  changed_.notify_all();
}

}  // namespace cupel::bench
