#include "verifier/session/worker_pool.h"

#include <algorithm>
#include <utility>

namespace cupel::verifier {

WorkerPool::WorkerPool(size_t thread_count) {
  if (thread_count == 0) {
    thread_count = std::max(1U, std::thread::hardware_concurrency());
  }
  threads_.reserve(thread_count);
  for (size_t i = 0; i < thread_count; ++i) {
    threads_.emplace_back([this] { Run(); });
  }
}

WorkerPool::~WorkerPool() { Stop(); }

void WorkerPool::Stop() {
  {
    std::unique_lock<std::mutex> lock(mutex_);
    ending_ = true;
    ready_.wait(lock, [this] { return running_elsewhere_ == 0; });
  }
  ready_.notify_all();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
  // Destroyed without the lock: what jobs hold may call back.
  absl::flat_hash_map<std::string, std::deque<Job>> dropped;
  const std::lock_guard<std::mutex> lock(mutex_);
  dropped.swap(waiting_);
}

void WorkerPool::Post(absl::string_view key, Job job) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (ending_) return;
    const auto [queue, is_new] = waiting_.try_emplace(std::string(key));
    queue->second.push_back(std::move(job));
    ++queued_;
    // A key that was there has its turn already, or is at work.
    if (!is_new) return;
    turns_.emplace_back(key);
  }
  ready_.notify_one();
}

void WorkerPool::RunOrPost(absl::string_view key, Job job) {
  {
    std::unique_lock<std::mutex> lock(mutex_);
    if (ending_) return;
    std::string own_key(key);
    if (waiting_.try_emplace(own_key).second) {
      ++running_elsewhere_;
      RunOne(own_key, std::move(job), lock);
      --running_elsewhere_;
      if (ending_) {
        ready_.notify_all();
      } else if (!turns_.empty()) {
        ready_.notify_one();
      }
      return;
    }
  }
  Post(key, std::move(job));
}

void WorkerPool::Run() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    ready_.wait(lock, [this] { return ending_ || !turns_.empty(); });
    if (ending_) return;
    const std::string key = std::move(turns_.front());
    turns_.pop_front();
    std::deque<Job>& queue = waiting_.find(key)->second;
    Job job = std::move(queue.front());
    queue.pop_front();
    --queued_;
    // A turn that it leaves is taken by this thread, or by one that was woken
    // for another turn that this thread takes.
    RunOne(key, std::move(job), lock);
  }
}

void WorkerPool::RunOne(const std::string& key, Job job,
                        std::unique_lock<std::mutex>& lock) {
  lock.unlock();
  bool failed = false;
  try {
    job();
  } catch (...) {  // What a job does is its own: no other may suffer.
    failed = true;
  }
  job = nullptr;  // What it holds may be large, or wait for this lock.
  lock.lock();

  if (failed) ++failed_count_;
  const auto left = waiting_.find(key);
  if (left->second.empty()) {
    waiting_.erase(left);
  } else {
    turns_.push_back(key);
  }
}

size_t WorkerPool::queued() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return queued_;
}

uint64_t WorkerPool::failed_count() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return failed_count_;
}

}  // namespace cupel::verifier
