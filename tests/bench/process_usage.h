// What a process has used, by /proc.
#ifndef CUPEL_TESTS_BENCH_PROCESS_USAGE_H_
#define CUPEL_TESTS_BENCH_PROCESS_USAGE_H_

#include <sys/types.h>

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace cupel::bench {

struct ProcessUsage {
  // User and system, of all threads that there are or were: /proc/PID/stat,
  // which counts in steps of 10 ms.
  absl::Duration cpu;
  // In bytes, of /proc/PID/smaps_rollup: what is in memory, and what of it is
  // the process's own.
  int64_t resident_size = 0;
  int64_t anonymous_size = 0;
};

// kNotFound if there is no such process; kInternal if /proc says something
// that makes no sense.
absl::StatusOr<ProcessUsage> UsageOf(pid_t pid);

}  // namespace cupel::bench

#endif  // CUPEL_TESTS_BENCH_PROCESS_USAGE_H_
