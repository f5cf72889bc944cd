#include "verifier/rpc/token_buckets.h"

#include <algorithm>

namespace cupel::verifier {

bool TokenBuckets::Take(absl::string_view name, absl::Time now) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (full_at_.size() >= forget_at_) ForgetFull(now);
  const absl::Duration one = absl::Seconds(1) / per_second_;
  const auto [bucket, is_new] = full_at_.try_emplace(name, now);
  const absl::Time full_at = std::max(bucket->second, now) + one;
  // All of them are back within a second.
  if (full_at > now + absl::Seconds(1)) return false;
  bucket->second = full_at;
  return true;
}

void TokenBuckets::ForgetFull(absl::Time now) {
  absl::erase_if(full_at_,
                 [now](const auto& one) { return one.second <= now; });
  forget_at_ = std::max<size_t>(64, 2 * full_at_.size());
}

size_t TokenBuckets::size() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return full_at_.size();
}

}  // namespace cupel::verifier
