// Has the store record verdicts of several agents at once.
#ifndef CUPEL_VERIFIER_SESSION_VERDICT_WRITER_H_
#define CUPEL_VERIFIER_SESSION_VERDICT_WRITER_H_

#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "verifier/store/store.h"

namespace cupel::verifier {

struct VerdictWriterOptions {
  // Between two groups, unless one of the verdicts is urgent: what comes
  // meanwhile is written together. A verdict after a time without any is
  // written at once.
  absl::Duration group_for = absl::Milliseconds(10);
  size_t max_group_size = 256;
};

// One thread that writes, so that a commit serves all who wait for one.
// Thread-safe.
class VerdictWriter {
 public:
  using Options = VerdictWriterOptions;
  using Done = std::function<void(absl::StatusOr<RecordedVerdict>)>;

  // `store` must outlive it.
  explicit VerdictWriter(Store& store, const Options& options = {});
  // Writes what waits.
  ~VerdictWriter();
  VerdictWriter(const VerdictWriter&) = delete;
  VerdictWriter& operator=(const VerdictWriter&) = delete;

  // Never blocks. `done` is called once, by the writer's thread and after the
  // commit, with the verdict's own result (Store::RecordVerdicts; kUnknown
  // where the store has thrown something: nobody knows what was written); it
  // must not block. Verdicts are written in the order in which they came.
  void Write(VerdictWrite write, bool is_urgent, Done done);

  // Verdicts that wait, and groups that were written.
  size_t waiting_count() const;
  uint64_t group_count() const;

 private:
  struct Waiting {
    VerdictWrite write;
    bool is_urgent = false;
    Done done;
  };

  void Run();
  void WriteGroup(std::vector<Waiting> group);
  absl::StatusOr<RecordedVerdict> WriteOne(const VerdictWrite& write);

  Store& store_;
  const Options options_;
  mutable std::mutex mutex_;  // guards all below but the thread
  std::condition_variable changed_;
  std::vector<Waiting> waiting_;
  bool is_urgent_ = false;  // one of waiting_ is
  bool ending_ = false;
  uint64_t group_count_ = 0;
  std::thread thread_;
};

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_SESSION_VERDICT_WRITER_H_
