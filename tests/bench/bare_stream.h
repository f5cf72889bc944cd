// What gRPC alone costs: a server that answers without looking.
#ifndef CUPEL_TESTS_BENCH_BARE_STREAM_H_
#define CUPEL_TESTS_BENCH_BARE_STREAM_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace cupel::bench {

// Serves until it is killed: TLS with the certificate and key (PEM files), as
// agents speak it. Each message is answered by a verdict with a challenge of
// the usual sizes. Writes its address to `listening_file` (beside
// it and renamed). Returns only where it can't serve.
absl::Status ServeBareStreams(const std::string& certificate_file,
                              const std::string& key_file,
                              const std::string& listening_file);

struct BareCost {
  uint64_t exchange_count = 0;
  absl::Duration server_cpu;  // an exchange
  double server_memory = 0;   // a stream, in bytes; 0 for fewer than two
};

// Has a process of this program (`--bare_server FOLDER`, in whose pki/server
// the certificate is) serve streams of the same process's making, for
// `duration`, `exchanges_per_second` of them in all: a quote with a piece of
// a list one way, a verdict with a challenge the other way.
absl::StatusOr<BareCost> MeasureBareStreams(const std::string& folder,
                                            size_t stream_count,
                                            double exchanges_per_second,
                                            absl::Duration duration);

}  // namespace cupel::bench

#endif  // CUPEL_TESTS_BENCH_BARE_STREAM_H_
