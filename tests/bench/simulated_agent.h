// An agent without a machine: the real attester, the real enrolment, a real
// stream, and keys in software.
#ifndef CUPEL_TESTS_BENCH_SIMULATED_AGENT_H_
#define CUPEL_TESTS_BENCH_SIMULATED_AGENT_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "agent/attester/address_rotation.h"
#include "agent/attester/attester.h"
#include "agent/attester/list_source.h"
#include "agent/enrollment/enrollee.h"
#include "agent/rpc/attestation_client.h"
#include "agent/rpc/verifier_channel.h"
#include "common/util/agent_id.h"
#include "tests/support/certificate_builder.h"
#include "tests/support/evidence_builder.h"
#include "tests/support/fake_ek.h"
#include "verifier/rpc/scheduler.h"
#include "verifier/session/worker_pool.h"

namespace cupel::bench {

// A file that machines run, as the policy has it.
struct MeasuredFile {
  std::string path;
  crypto::Digest digest;
};

// A verdict as the agent got it.
struct SimulatedVerdict {
  std::string state;
  std::vector<std::string> findings;
  // From the quote's leaving to the verdict's arrival.
  absl::Duration latency;
};

// What all agents of a run share. All that it refers to must outlive them.
struct SimulationContext {
  verifier::WorkerPool& pool;
  verifier::Scheduler& scheduler;
  std::string address;  // of the verifier
  agent::ChannelOptions channel;
  const testing::TestCertificate& ek_issuer;
  const std::vector<MeasuredFile>& files;
  // Called by any thread, for several agents at once.
  std::function<void(size_t agent, const SimulatedVerdict&)> on_verdict;
};

// The clock that it goes by: one that never goes back.
absl::Time SimulationNow();

// Answers whenever its list has grown, without waiting for it to settle.
// Threads: the pool's work it off, one job of an agent at a time; its functions
// may be called by any thread.
class SimulatedAgent final : public agent::AttestationClient::Events,
                             private agent::ListSource {
 public:
  // A machine with a TPM that `ek_issuer` has certified, `number` its keys, and
  // a list of `entry_count` files.
  SimulatedAgent(const SimulationContext& context, size_t number,
                 size_t entry_count);
  // Only once Stop has been called and the pool has nothing more of it.
  ~SimulatedAgent() override = default;

  const AgentId& id() const { return id_; }
  const crypto::Digest& ek_fingerprint() const {
    return enrollee_->ek_fingerprint();
  }

  // The whole exchange, on a connection of its own. Blocks. Errors of
  // agent::EnrollmentClient and agent::Enrollee.
  absl::Status Enroll() const;

  // Connects, and from now on again whenever the stream has ended, with the
  // pauses of a real agent.
  void Start();
  // Measures `entry_count` files more, which is to be attested.
  void Measure(size_t entry_count);
  // Ends the stream for good; `ended` is called once nothing of it is left.
  void Stop(std::function<void()> ended);

  // agent::AttestationClient::Events.
  void OnCertificate(const crypto::Digest& sha256) override;
  void OnMessage(agent::VerifierMessage message) override;
  void OnWritten() override;
  void OnClosed(const absl::Status& status) override;

 private:
  // agent::ListSource.
  absl::StatusOr<uint64_t> EntryCount() override;
  absl::StatusOr<std::vector<uint8_t>> ReadFrom(uint64_t offset,
                                                size_t max_size) override;

  void Post(std::function<void()> job);
  void Connect();
  // Carries out what the attester wants, and wakes it in time.
  void Advance();
  void Perform(agent::Action action);
  void EndStream(absl::Duration retry_after);
  void WakeAt(absl::Time at, void (SimulatedAgent::*what)());
  void AddFiles(size_t entry_count);
  agent::QuoteResult Quote(const agent::QuoteJob& job);

  const SimulationContext& context_;
  const size_t number_;
  const std::string key_;  // of its jobs
  const AgentId id_;
  const testing::FakeEk ek_;
  testing::FakeMachine machine_;
  std::optional<agent::Enrollee> enrollee_;
  size_t next_file_ = 0;

  agent::Attester attester_;
  agent::AddressRotation rotation_;
  std::unique_ptr<agent::AttestationClient> client_;
  absl::Time quote_sent_at_;
  absl::Time started_at_;
  verifier::Scheduler::Id timer_ = 0;
  absl::Time timer_at_ = absl::InfiniteFuture();
  bool stopped_ = false;
};

}  // namespace cupel::bench

#endif  // CUPEL_TESTS_BENCH_SIMULATED_AGENT_H_
