#include "verifier/rpc/call_limits.h"

#include <utility>

#include "absl/status/status.h"

namespace cupel::verifier {

CallLimits::Call::Call(CallLimits& limits, std::string address)
    : limits_(limits), address_(std::move(address)) {}

CallLimits::Call::~Call() {
  const std::lock_guard<std::mutex> lock(limits_.mutex_);
  --limits_.calls_;
  const auto found = limits_.by_address_.find(address_);
  if (--found->second == 0) limits_.by_address_.erase(found);
}

absl::StatusOr<std::shared_ptr<const CallLimits::Call>> CallLimits::Begin(
    absl::string_view address) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = by_address_.find(address);
  if (calls_ >= bounds_.max_calls ||
      (found != by_address_.end() &&
       found->second >= bounds_.max_calls_per_address)) {
    return absl::ResourceExhaustedError(
        "too many calls are under way: try again in a while");
  }
  ++calls_;
  ++by_address_[address];
  return std::shared_ptr<const Call>(new Call(*this, std::string(address)));
}

}  // namespace cupel::verifier
