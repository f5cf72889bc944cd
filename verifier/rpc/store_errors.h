// The store's failures, counted and logged.
#ifndef CUPEL_VERIFIER_RPC_STORE_ERRORS_H_
#define CUPEL_VERIFIER_RPC_STORE_ERRORS_H_

#include <cstdint>
#include <mutex>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/util/log.h"
#include "verifier/rpc/metrics.h"

namespace cupel::verifier {

// Thread-safe.
class StoreErrors {
 public:
  // Both must outlive it.
  StoreErrors(Metrics& metrics, Logger& log) : metrics_(metrics), log_(log) {}

  // Counts each, and logs one a minute for each `call`, with the number of
  // those before it: a disk that is full fails a thousand times a second.
  void Take(absl::string_view call, const absl::Status& status);

 private:
  struct Kept {
    absl::Time logged = absl::InfinitePast();
    uint64_t since = 0;
  };

  Metrics& metrics_;
  Logger& log_;
  std::mutex mutex_;  // guards kept_
  absl::flat_hash_map<std::string, Kept> kept_;
};

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_RPC_STORE_ERRORS_H_
