#ifndef CUPEL_COMMON_UTIL_FILE_H_
#define CUPEL_COMMON_UTIL_FILE_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/util/user.h"

namespace cupel {

// Reads all of `path`, or of standard input where `path` is "-".
//
// Errors, each naming the path: those of ErrnoStatus, kInvalidArgument for a
// folder among them; kResourceExhausted if there are more than `max_size`
// bytes.
absl::StatusOr<std::vector<uint8_t>> ReadFile(const std::string& path,
                                              size_t max_size);

// Calls `sink` with one chunk after another, each of at most `chunk_size`
// bytes, until the end. A status from `sink` ends the reading and is returned.
// Errors as for ReadFile, without a bound on the size.
absl::Status ReadFileInChunks(
    const std::string& path, size_t chunk_size,
    absl::FunctionRef<absl::Status(std::span<const uint8_t>)> sink);

// Writes `bytes` to `path` by way of a temporary file beside it, which replaces
// `path` in one step: a reader sees the old content or the new one, and so does
// who looks after a power cut; once this returns OK it is the new one. The file
// has the rights that umask leaves. A device or a pipe is written to, not
// replaced. "-" is standard output. Errors, each naming the path: those of
// ErrnoStatus. After one of syncing the folder, the new content may be there.
absl::Status WriteFile(const std::string& path, absl::string_view bytes);

// Of a file that is written.
struct FileRights {
  mode_t mode = 0600;                        // exactly, whatever the umask
  std::optional<User> owner = std::nullopt;  // nullopt: who writes it
};

// The same, and nobody can open the file in between who has no right to it. A
// device or a pipe keeps its own rights.
absl::Status WriteFile(const std::string& path, absl::string_view bytes,
                       const FileRights& rights);

// Has the names in the folder `path` written to disk. Errors: those of
// ErrnoStatus.
absl::Status SyncFolder(const std::string& path);

}  // namespace cupel

#endif  // CUPEL_COMMON_UTIL_FILE_H_
