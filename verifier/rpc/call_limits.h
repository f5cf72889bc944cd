// How many calls strangers may have under way: each costs the verifier more
// than it costs them [A15].
#ifndef CUPEL_VERIFIER_RPC_CALL_LIMITS_H_
#define CUPEL_VERIFIER_RPC_CALL_LIMITS_H_

#include <cstddef>
#include <memory>
#include <mutex>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace cupel::verifier {

// Thread-safe. Must outlive the calls.
class CallLimits {
 public:
  struct Bounds {
    size_t max_calls = 256;
    size_t max_calls_per_address = 8;
  };

  // A call's place, given up when destroyed.
  class Call {
   public:
    ~Call();
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

   private:
    friend class CallLimits;
    Call(CallLimits& limits, std::string address);

    CallLimits& limits_;
    const std::string address_;
  };

  explicit CallLimits(const Bounds& bounds) : bounds_(bounds) {}

  // kResourceExhausted where there are too many, of that address or in all.
  absl::StatusOr<std::shared_ptr<const Call>> Begin(absl::string_view address);

 private:
  const Bounds bounds_;
  std::mutex mutex_;  // guards all below
  size_t calls_ = 0;
  absl::flat_hash_map<std::string, size_t> by_address_;
};

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_RPC_CALL_LIMITS_H_
