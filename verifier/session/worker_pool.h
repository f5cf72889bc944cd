// Threads for what takes long: appraisals, and all of a session that waits for
// the store.
#ifndef CUPEL_VERIFIER_SESSION_WORKER_POOL_H_
#define CUPEL_VERIFIER_SESSION_WORKER_POOL_H_

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"

namespace cupel::verifier {

// Runs jobs of one key one after another, in the order in which they were
// posted, and those of different keys at the same time. Keys take turns: one
// with many jobs keeps no other waiting for more than one of them a thread.
//
// Thread-safe.
class WorkerPool {
 public:
  using Job = std::function<void()>;

  // `thread_count` of at least 1; 0 stands for the machine's number of cores.
  explicit WorkerPool(size_t thread_count);
  // Stops.
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // Never blocks and never runs `job` itself. A job that throws ends there, and
  // is counted: it has to say what came of it before.
  void Post(absl::string_view key, Job job);
  // Runs `job` on the calling thread, which saves the way to another one, if no
  // job of `key` runs or waits; else posts it.
  void RunOrPost(absl::string_view key, Job job);

  // Waits for the jobs that run; drops those that wait, and those to come.
  void Stop();

  // Jobs that wait; for metrics.
  size_t queued() const;
  uint64_t failed_count() const;

 private:
  void Run();
  // Runs `job` of `key`, which is in no turn meanwhile, without the lock that
  // it is called with.
  void RunOne(const std::string& key, Job job,
              std::unique_lock<std::mutex>& lock);

  mutable std::mutex mutex_;  // guards all below but the threads
  std::condition_variable ready_;
  // Keys with jobs; one whose job runs is in no turn.
  absl::flat_hash_map<std::string, std::deque<Job>> waiting_;
  std::deque<std::string> turns_;
  size_t queued_ = 0;
  size_t running_elsewhere_ = 0;  // by RunOrPost
  uint64_t failed_count_ = 0;
  bool ending_ = false;

  std::vector<std::thread> threads_;
};

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_SESSION_WORKER_POOL_H_
