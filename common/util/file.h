#ifndef CUPEL_COMMON_UTIL_FILE_H_
#define CUPEL_COMMON_UTIL_FILE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace cupel {

// Reads all of `path`, or of standard input where `path` is "-".
//
// Errors, each naming the path: kNotFound; kPermissionDenied;
// kResourceExhausted if there are more than `max_size` bytes;
// kInvalidArgument for a directory; kUnavailable for any other I/O error.
absl::StatusOr<std::vector<uint8_t>> ReadFile(const std::string& path,
                                              size_t max_size);

// Calls `sink` with one chunk after another, each of at most `chunk_size`
// bytes, until the end. A status from `sink` ends the reading and is returned.
// Errors as for ReadFile, without a bound on the size.
absl::Status ReadFileInChunks(
    const std::string& path, size_t chunk_size,
    absl::FunctionRef<absl::Status(std::span<const uint8_t>)> sink);

// Writes `bytes` to `path` by way of a temporary file beside it, which replaces
// `path` in one step: a reader sees the old content or the new one. A device or
// a pipe is written to, not replaced. "-" is standard output. Errors as above.
absl::Status WriteFile(const std::string& path, absl::string_view bytes);

}  // namespace cupel

#endif  // CUPEL_COMMON_UTIL_FILE_H_
