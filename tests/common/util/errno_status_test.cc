#include "common/util/errno_status.h"

#include <cerrno>
#include <utility>

#include "catch2/catch.hpp"
#include "tests/support/status_matchers.h"

namespace cupel {
namespace {

using absl::StatusCode;
using testing::StatusIs;

TEST_CASE("Each kind of errno has its code, and the message names the file") {
  const auto [error, code] =
      GENERATE(std::pair(ENOENT, StatusCode::kNotFound),
               std::pair(EACCES, StatusCode::kPermissionDenied),
               std::pair(EPERM, StatusCode::kPermissionDenied),
               std::pair(EROFS, StatusCode::kPermissionDenied),
               std::pair(ENOEXEC, StatusCode::kPermissionDenied),
               std::pair(EEXIST, StatusCode::kAlreadyExists),
               std::pair(ENOTEMPTY, StatusCode::kAlreadyExists),
               std::pair(EISDIR, StatusCode::kInvalidArgument),
               std::pair(ENOTDIR, StatusCode::kInvalidArgument),
               std::pair(EIO, StatusCode::kUnavailable),
               std::pair(ENOSPC, StatusCode::kUnavailable));
  CAPTURE(error);
  CHECK_THAT(ErrnoStatus(error, "/a/\x1b"), StatusIs(code, "/a/\\x1b: "));
}

}  // namespace
}  // namespace cupel
