#ifndef CUPEL_TESTS_SUPPORT_UNIX_STREAM_H_
#define CUPEL_TESTS_SUPPORT_UNIX_STREAM_H_

#include <sys/un.h>

#include <chrono>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace cupel::testing {

// kInvalidArgument if the path is too long for a socket's.
absl::StatusOr<sockaddr_un> UnixAddress(const std::string& path);

// The client of a program that speaks lines over a Unix socket.
class UnixStream {
 public:
  using Clock = std::chrono::steady_clock;

  // Tries until somebody listens. kDeadlineExceeded if nobody does.
  static absl::StatusOr<std::unique_ptr<UnixStream>> Connect(
      const std::string& path, Clock::time_point deadline);
  ~UnixStream();
  UnixStream(const UnixStream&) = delete;
  UnixStream& operator=(const UnixStream&) = delete;

  absl::Status WriteLine(absl::string_view line);
  // Without its newline. kUnavailable where the peer has closed,
  // kDeadlineExceeded.
  absl::StatusOr<std::string> ReadLine(Clock::time_point deadline);

 private:
  explicit UnixStream(int descriptor) : descriptor_(descriptor) {}

  int descriptor_;
  std::string received_;
};

}  // namespace cupel::testing

#endif  // CUPEL_TESTS_SUPPORT_UNIX_STREAM_H_
