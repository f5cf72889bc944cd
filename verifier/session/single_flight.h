// Work that several threads want at once, done by one of them.
#ifndef CUPEL_VERIFIER_SESSION_SINGLE_FLIGHT_H_
#define CUPEL_VERIFIER_SESSION_SINGLE_FLIGHT_H_

#include <condition_variable>
#include <mutex>
#include <string>
#include <utility>

#include "absl/container/flat_hash_set.h"

namespace cupel::verifier {

// A lock for each key. Who has waited for one looks first whether what it
// wanted is there by now. Thread-safe; must outlive its holds.
class SingleFlight {
 public:
  // Blocks until nobody else holds `key`; gives it up when destroyed.
  class Hold {
   public:
    Hold(SingleFlight& flights, std::string key)
        : flights_(flights), key_(std::move(key)) {
      std::unique_lock<std::mutex> lock(flights_.mutex_);
      flights_.landed_.wait(lock,
                            [this] { return !flights_.held_.contains(key_); });
      flights_.held_.insert(key_);
    }
    ~Hold() {
      {
        const std::lock_guard<std::mutex> lock(flights_.mutex_);
        flights_.held_.erase(key_);
      }
      flights_.landed_.notify_all();
    }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

   private:
    SingleFlight& flights_;
    const std::string key_;
  };

 private:
  std::mutex mutex_;  // guards held_
  std::condition_variable landed_;
  absl::flat_hash_set<std::string> held_;
};

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_SESSION_SINGLE_FLIGHT_H_
