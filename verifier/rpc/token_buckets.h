// How often each of many may have something done.
#ifndef CUPEL_VERIFIER_RPC_TOKEN_BUCKETS_H_
#define CUPEL_VERIFIER_RPC_TOKEN_BUCKETS_H_

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace cupel::verifier {

// A bucket of tokens for each name: full at first, and filled by so many a
// second as it holds. Thread-safe. Names whose buckets are full take no room.
class TokenBuckets {
 public:
  explicit TokenBuckets(uint32_t per_second) : per_second_(per_second) {}

  // Takes one of `name`'s tokens; false where there is none left. `now` is of a
  // clock that never goes back.
  bool Take(absl::string_view name, absl::Time now);

  // How many names are remembered.
  size_t size() const;

 private:
  void ForgetFull(absl::Time now);

  const uint32_t per_second_;
  mutable std::mutex mutex_;  // guards all below
  // When each bucket will be full again.
  absl::flat_hash_map<std::string, absl::Time> full_at_;
  size_t forget_at_ = 64;  // so many names are looked through
};

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_RPC_TOKEN_BUCKETS_H_
