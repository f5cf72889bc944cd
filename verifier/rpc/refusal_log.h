// What strangers are refused for, in the log, but not as often as they like.
#ifndef CUPEL_VERIFIER_RPC_REFUSAL_LOG_H_
#define CUPEL_VERIFIER_RPC_REFUSAL_LOG_H_

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/util/log.h"

namespace cupel::verifier {

// One line an address and minute, with how many there were since the last one:
// a journal that is flooded drops the lines of others as well [A15]. Those in
// between are written for who debugs (LogLevel::kDebug).
//
// Thread-safe.
class RefusalLog {
 public:
  struct Bounds {
    absl::Duration interval = absl::Minutes(1);
    // Addresses that are told apart; further ones share one line.
    size_t max_addresses = 1000;
  };

  explicit RefusalLog(Logger& log) : RefusalLog(log, Bounds()) {}
  RefusalLog(Logger& log, const Bounds& bounds) : log_(log), bounds_(bounds) {}

  // `what` with `fields`, the address, and `unlogged`, how many others of this
  // address had no line. `now` is of one steady clock.
  void Write(LogLevel level, absl::string_view what, absl::string_view address,
             std::vector<LogField> fields, absl::Time now);

 private:
  struct Address {
    absl::Time next;  // that a line may be of
    uint64_t unlogged = 0;
  };

  Logger& log_;
  const Bounds bounds_;
  std::mutex mutex_;  // guards all below
  absl::flat_hash_map<std::string, Address> addresses_;
};

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_RPC_REFUSAL_LOG_H_
