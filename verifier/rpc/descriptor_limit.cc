#include "verifier/rpc/descriptor_limit.h"

#include <sys/resource.h>

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace cupel::verifier {
namespace {

// Listeners, the store, operators, and connections that are just closing.
constexpr uint64_t kSpare = 1024;

}  // namespace

void RaiseDescriptorLimit(uint64_t stream_count, Logger& log) {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  const rlim_t wanted = stream_count + kSpare;
  if (limit.rlim_cur >= wanted) return;
  limit.rlim_cur = std::min<rlim_t>(wanted, limit.rlim_max);
  if (setrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur >= wanted) return;
  log.Warning(absl::StrCat("max_streams: the system allows ", limit.rlim_max,
                           " descriptors, which is too few for ", stream_count,
                           " streams: raise LimitNOFILE, or lower it"));
}

}  // namespace cupel::verifier
