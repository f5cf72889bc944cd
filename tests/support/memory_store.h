// The real store, in memory, for tests of what uses it: its clock is theirs,
// and it can be away.
#ifndef CUPEL_TESTS_SUPPORT_MEMORY_STORE_H_
#define CUPEL_TESTS_SUPPORT_MEMORY_STORE_H_

#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "tests/support/watched_store.h"
#include "verifier/store/sql_store.h"

namespace cupel::testing {

class MemoryStore : public WatchedStore {
 public:
  // By the clock, it is `start`.
  explicit MemoryStore(absl::Time start = absl::FromUnixSeconds(1'000'000))
      : MemoryStore(std::make_unique<Parts>(start)) {}

  // Set by tests.
  absl::Time& now;
  bool& away;

 private:
  struct Parts {
    explicit Parts(absl::Time start) : now(start) {}
    absl::Time now;
    bool away = false;
    std::unique_ptr<verifier::SqlStore> store =
        verifier::SqlStore::Open(":memory:", {.clock = [this] { return now; }})
            .value();
  };

  explicit MemoryStore(std::unique_ptr<Parts> parts)
      : WatchedStore(*parts->store,
                     [parts = parts.get()](absl::string_view) -> absl::Status {
                       if (!parts->away) return absl::OkStatus();
                       return absl::UnavailableError("the disk is gone");
                     }),
        now(parts->now),
        away(parts->away),
        parts_(std::move(parts)) {}

  const std::unique_ptr<Parts> parts_;
};

}  // namespace cupel::testing

#endif  // CUPEL_TESTS_SUPPORT_MEMORY_STORE_H_
