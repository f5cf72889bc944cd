#ifndef CUPEL_COMMON_UTIL_ERRNO_STATUS_H_
#define CUPEL_COMMON_UTIL_ERRNO_STATUS_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace cupel {

// The status of a system call on the file `path` that failed with `error`
// (errno): kNotFound; kPermissionDenied; kAlreadyExists for a name that is
// taken, or a folder that is not empty; kInvalidArgument for a folder in a
// file's place or a file in a folder's; else kUnavailable. The message is
// "path: ", escaped, and the system's words.
absl::Status ErrnoStatus(int error, absl::string_view path);

}  // namespace cupel

#endif  // CUPEL_COMMON_UTIL_ERRNO_STATUS_H_
