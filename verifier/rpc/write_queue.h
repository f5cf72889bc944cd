// The writes of a stream, one at a time.
#ifndef CUPEL_VERIFIER_RPC_WRITE_QUEUE_H_
#define CUPEL_VERIFIER_RPC_WRITE_QUEUE_H_

#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "grpcpp/support/server_callback.h"
#include "grpcpp/support/status.h"

namespace cupel::verifier {

// For a reactor that writes `Message`: gRPC aborts the process at a second
// StartWrite before OnWriteDone, and a stream may be finished once only.
//
// Threads: every function may be called by any thread. The reactor must be
// alive, which it is until Finish was called: nothing is started after it.
template <typename Reactor, typename Message>
class WriteQueue {
 public:
  explicit WriteQueue(Reactor& reactor) : reactor_(reactor) {}

  // Writes `message` after those before it. It is dropped where the stream is
  // being finished.
  void Push(Message message) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (status_.has_value()) return;
      waiting_.push_back(std::move(message));
    }
    Next();
  }

  // The same for several, which travel together as far as they fit.
  void PushAll(std::vector<Message> messages) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (status_.has_value()) return;
      for (Message& message : messages) waiting_.push_back(std::move(message));
    }
    Next();
  }

  // From the reactor's OnWriteDone.
  void OnWriteDone(bool ok) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      writing_ = false;
      if (!ok) {
        waiting_.clear();
        if (!status_.has_value()) {
          status_ = grpc::Status(grpc::StatusCode::CANCELLED, "");
        }
      }
    }
    Next();
  }

  // Finishes the stream after what waits, or with `at_once` after the write
  // that is under way. The first call counts, but `at_once` may follow.
  void Finish(const grpc::Status& status, bool at_once = false) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (!status_.has_value()) status_ = status;
      if (at_once) waiting_.clear();
    }
    Next();
  }

  // Runs `start`, which starts a read, unless the stream is being finished; it
  // isn't finished while that runs: gRPC must be asked for nothing afterwards.
  template <typename Start>
  void WhileOpen(Start start) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (status_.has_value()) return;
      ++starting_;
    }
    start();
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      --starting_;
    }
    Next();
  }

  bool finishing() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return status_.has_value();
  }
  // Messages that are not written yet.
  size_t size() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return waiting_.size() + (writing_ ? 1 : 0);
  }

 private:
  // The reactor is called without the lock, as gRPC may react at once;
  // `writing_` and `finished_` keep all other threads away until it does.
  void Next() {
    std::optional<grpc::Status> last;
    grpc::WriteOptions options;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (writing_ || finished_) return;
      if (!waiting_.empty()) {
        writing_ = true;
        current_ = std::move(waiting_.front());
        waiting_.pop_front();
        // The next one takes it along.
        if (!waiting_.empty()) options.set_buffer_hint();
      } else if (status_.has_value() && starting_ == 0) {
        finished_ = true;
        last = status_;
      } else {
        return;
      }
    }
    if (last.has_value()) {
      reactor_.Finish(*last);
    } else {
      reactor_.StartWrite(&current_, options);
    }
  }

  Reactor& reactor_;
  mutable std::mutex mutex_;  // guards all below
  std::deque<Message> waiting_;
  Message current_;  // while `writing_`, gRPC's
  bool writing_ = false;
  int starting_ = 0;
  std::optional<grpc::Status> status_;
  bool finished_ = false;
};

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_RPC_WRITE_QUEUE_H_
