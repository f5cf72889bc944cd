// Many simulated agents in one process, and what becomes of their evidence.
#ifndef CUPEL_TESTS_BENCH_SIMULATED_FLEET_H_
#define CUPEL_TESTS_BENCH_SIMULATED_FLEET_H_

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "tests/bench/simulated_agent.h"
#include "tests/support/certificate_builder.h"
#include "verifier/rpc/scheduler.h"
#include "verifier/session/worker_pool.h"

namespace cupel::bench {

struct FleetOptions {
  size_t agent_count = 0;
  size_t digest_count = 0;  // of the policy; at least one
  size_t first_entry_count = 100;
};

// Verdicts since the last BeginRound().
struct Round {
  uint64_t verdict_count = 0;
  std::vector<absl::Duration> latencies;
  // Agents that were told TRUSTED, and those that were told FAILED.
  size_t trusted_count = 0;
  size_t failed_count = 0;
  // What one of those was told of findings.
  std::string a_finding;
};

// Threads: the functions are for one thread.
class SimulatedFleet {
 public:
  explicit SimulatedFleet(const FleetOptions& options);
  // Ends all streams, and waits for that.
  ~SimulatedFleet();
  SimulatedFleet(const SimulatedFleet&) = delete;
  SimulatedFleet& operator=(const SimulatedFleet&) = delete;

  // An allowlist of all files that machines run.
  std::string Allowlist() const;
  // PEM: what the EKs' certificates lead to.
  std::string EkRoot() const { return testing::ToPem(ek_issuer_.certificate); }

  // Makes the agents, of the verifier at `address`. Once.
  void MakeAgents(const std::string& address,
                  const std::string& root_certificates);
  const std::vector<std::unique_ptr<SimulatedAgent>>& agents() const {
    return agents_;
  }

  // Enrols all of them, several at a time. The first error, if there is one.
  absl::Status EnrollAll();
  // Connects the agents from `first` to before `end`.
  void Start(size_t first, size_t end);

  // Forgets the verdicts so far.
  void BeginRound();
  Round EndRound();
  // Waits until `agent_count` agents have been told TRUSTED since the round
  // began. kDeadlineExceeded, with how many were.
  absl::Status AwaitTrusted(size_t agent_count, absl::Duration timeout);

  // For `duration`, has each agent measure `entry_count` files every `period`,
  // one after another.
  void Run(absl::Duration duration, absl::Duration period, size_t entry_count);

 private:
  void OnVerdict(size_t agent, const SimulatedVerdict& verdict);

  const FleetOptions options_;
  const testing::TestCertificate ek_issuer_;
  std::vector<MeasuredFile> files_;

  std::mutex mutex_;  // guards all up to the next empty line
  std::condition_variable changed_;
  Round round_;
  std::vector<bool> trusted_;
  std::vector<bool> failed_;

  verifier::Scheduler scheduler_;
  std::unique_ptr<SimulationContext> context_;
  std::vector<std::unique_ptr<SimulatedAgent>> agents_;
  // Last: what it runs uses all of the others.
  verifier::WorkerPool pool_;
};

}  // namespace cupel::bench

#endif  // CUPEL_TESTS_BENCH_SIMULATED_FLEET_H_
