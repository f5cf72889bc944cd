#include "verifier/rpc/scheduler.h"

#include <algorithm>
#include <exception>

namespace cupel::verifier {

Scheduler::Scheduler() : thread_([this] { Run(); }) {}

Scheduler::~Scheduler() { Stop(); }

void Scheduler::Stop() {
  std::map<Key, std::function<void()>> dropped;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ending_ = true;
    dropped.swap(calls_);
    times_.clear();
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

Scheduler::Id Scheduler::After(absl::Duration delay,
                               std::function<void()> call) {
  // Nobody waits longer than that, and the clock's numbers have an end.
  delay = std::clamp(delay, absl::ZeroDuration(), absl::Hours(24 * 365));
  const Clock::time_point time =
      Clock::now() + absl::ToChronoMicroseconds(delay);
  const std::lock_guard<std::mutex> lock(mutex_);
  if (ending_) return 0;
  const Id id = ++last_id_;
  times_[id] = time;
  calls_[{time, id}] = std::move(call);
  // Else the thread wakes in time as it is.
  if (calls_.begin()->first.second == id) changed_.notify_all();
  return id;
}

void Scheduler::Cancel(Id id) {
  // Destroyed after the lock is given up: what it holds may call back.
  std::function<void()> dropped;
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto time = times_.find(id);
  if (time == times_.end()) return;
  const auto call = calls_.find({time->second, id});
  dropped = std::move(call->second);
  calls_.erase(call);
  times_.erase(time);
}

void Scheduler::Run() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (!ending_) {
    if (calls_.empty()) {
      changed_.wait(lock);
      continue;
    }
    const auto next = calls_.begin();
    if (const Clock::time_point time = next->first.first; Clock::now() < time) {
      changed_.wait_until(lock, time);
      continue;
    }
    {
      const std::function<void()> call = std::move(next->second);
      times_.erase(next->first.second);
      calls_.erase(next);
      lock.unlock();
      try {
        call();
      } catch (const std::exception&) {  // None may keep others from theirs.
      }
    }
    lock.lock();
  }
}

}  // namespace cupel::verifier
