// Calls at a later time.
#ifndef CUPEL_VERIFIER_RPC_SCHEDULER_H_
#define CUPEL_VERIFIER_RPC_SCHEDULER_H_

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/time/time.h"

namespace cupel::verifier {

// One thread that waits. It goes by a clock that nobody sets. Thread-safe.
class Scheduler {
 public:
  // Identifies a call; never 0.
  using Id = uint64_t;

  Scheduler();
  // Stops.
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // Calls `call` once, not before `delay` has passed, on this object's thread:
  // it must not block, so it posts what takes long elsewhere. What it throws is
  // dropped.
  Id After(absl::Duration delay, std::function<void()> call);
  // The call is not made any more, unless it has begun. 0 and calls that are
  // over are no error.
  void Cancel(Id id);
  // Drops the calls that wait, those to come, and returns when none runs.
  void Stop();

 private:
  using Clock = std::chrono::steady_clock;
  using Key = std::pair<Clock::time_point, Id>;

  void Run();

  std::mutex mutex_;  // guards all below but the thread
  std::condition_variable changed_;
  std::map<Key, std::function<void()>> calls_;
  std::map<Id, Clock::time_point> times_;
  Id last_id_ = 0;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_RPC_SCHEDULER_H_
