#include "verifier/session/verdict_writer.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <iterator>
#include <utility>

#include "absl/status/status.h"

namespace cupel::verifier {

VerdictWriter::VerdictWriter(Store& store, const Options& options)
    : store_(store), options_(options), thread_([this] { Run(); }) {}

VerdictWriter::~VerdictWriter() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void VerdictWriter::Write(VerdictWrite write, bool is_urgent, Done done) {
  bool wake = false;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    // Otherwise the thread is awake, or wakes in time as it is.
    wake = waiting_.empty() || (is_urgent && !is_urgent_);
    is_urgent_ |= is_urgent;
    waiting_.push_back({std::move(write), is_urgent, std::move(done)});
  }
  if (wake) changed_.notify_all();
}

void VerdictWriter::Run() {
  using Clock = std::chrono::steady_clock;
  Clock::time_point next_group = Clock::now();
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return ending_ || !waiting_.empty(); });
    changed_.wait_until(lock, next_group,
                        [this] { return ending_ || is_urgent_; });
    if (waiting_.empty()) return;  // ending_
    const auto end =
        waiting_.begin() + static_cast<std::ptrdiff_t>(std::min(
                               waiting_.size(), options_.max_group_size));
    std::vector<Waiting> group(std::make_move_iterator(waiting_.begin()),
                               std::make_move_iterator(end));
    waiting_.erase(waiting_.begin(), end);
    is_urgent_ = std::ranges::any_of(waiting_, &Waiting::is_urgent);
    ++group_count_;
    lock.unlock();
    WriteGroup(std::move(group));
    next_group = Clock::now() + absl::ToChronoNanoseconds(options_.group_for);
    lock.lock();
  }
}

void VerdictWriter::WriteGroup(std::vector<Waiting> group) {
  std::vector<VerdictWrite> writes;
  writes.reserve(group.size());
  for (Waiting& one : group) writes.push_back(std::move(one.write));
  std::vector<absl::StatusOr<RecordedVerdict>> results;
  try {
    results = store_.RecordVerdicts(writes);
  } catch (...) {
    // Whose verdict it was is not known. To write a verdict again does no harm.
    results.clear();
    for (const VerdictWrite& write : writes) results.push_back(WriteOne(write));
  }
  for (size_t i = 0; i < group.size(); ++i) {
    try {
      group[i].done(std::move(results[i]));
    } catch (...) {
      // Memory has run out for one: the others still hear of theirs.
    }
  }
}

absl::StatusOr<RecordedVerdict> VerdictWriter::WriteOne(
    const VerdictWrite& write) {
  try {
    return std::move(store_.RecordVerdicts({&write, 1}).front());
  } catch (const std::exception& error) {
    return absl::UnknownError(error.what());
  } catch (...) {
    return absl::UnknownError("something was thrown that is no exception");
  }
}

size_t VerdictWriter::waiting_count() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return waiting_.size();
}

uint64_t VerdictWriter::group_count() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return group_count_;
}

}  // namespace cupel::verifier
