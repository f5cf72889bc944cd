#ifndef CUPEL_AGENT_RPC_RUNNER_H_
#define CUPEL_AGENT_RPC_RUNNER_H_

#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "agent/attester/address_rotation.h"
#include "agent/attester/attester.h"
#include "agent/attester/list_source.h"
#include "agent/attester/quoter.h"
#include "agent/rpc/verifier_channel.h"

namespace cupel::agent {

enum class RunnerEvent {
  kInfo,     // a stream proved itself, a verdict changed
  kWarning,  // a stream ended, a quote failed
};

struct RunnerOptions {
  std::vector<std::string> verifiers;  // "host:port"
  ChannelOptions channel;
  AttesterOptions attester;
  RotationOptions rotation{};
  // How often the list's count is looked at while a stream is open.
  absl::Duration poll_interval = absl::Milliseconds(50);
  // Enrols this machine at the verifier `address`; called by the thread that is
  // in Run(), and may block until it is asked to stop. Before the first stream,
  // and again after a verifier has refused one, since an operator may have
  // deleted the machine. Empty: it is enrolled.
  std::function<absl::Status(const std::string& address,
                             const std::stop_token& stop)>
      enroll{};
  // ... but no sooner after the last time than this.
  absl::Duration enroll_again_after = absl::Minutes(5);
  // Called by the thread that is in Run(). The text is fit for a terminal.
  std::function<void(RunnerEvent, absl::string_view)> log{};
};

// Keeps an agent attested: an Attester with a clock, a thread for the TPM, a
// stream to one verifier after another.
class Runner {
 public:
  // `quoter` and `list` must outlive the runner. kInvalidArgument for options
  // that could never work: no verifier, no roots.
  static absl::StatusOr<std::unique_ptr<Runner>> Create(RunnerOptions options,
                                                        Quoter& quoter,
                                                        ListSource& list);
  ~Runner();
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  // Runs until Stop(). Once. `list` is used by the calling thread, `quoter` by
  // one of the runner's own; a quote under way is waited for.
  void Run();

  // Threads: any; not in a signal handler.
  void Stop();

 private:
  class Impl;
  explicit Runner(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
};

}  // namespace cupel::agent

#endif  // CUPEL_AGENT_RPC_RUNNER_H_
