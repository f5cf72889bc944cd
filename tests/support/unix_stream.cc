#include "tests/support/unix_stream.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <thread>

#include "absl/strings/str_cat.h"
#include "common/util/status_macros.h"

namespace cupel::testing {

absl::StatusOr<sockaddr_un> UnixAddress(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is too long"));
  }
  std::copy(path.begin(), path.end(), address.sun_path);
  return address;
}

absl::StatusOr<std::unique_ptr<UnixStream>> UnixStream::Connect(
    const std::string& path, Clock::time_point deadline) {
  CUPEL_ASSIGN_OR_RETURN(const sockaddr_un address, UnixAddress(path));
  int error = 0;
  do {
    const int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return absl::InternalError(std::strerror(errno));
    const void* const any = &address;
    if (connect(descriptor, static_cast<const sockaddr*>(any),
                sizeof(address)) == 0) {
      return std::unique_ptr<UnixStream>(new UnixStream(descriptor));
    }
    error = errno;
    close(descriptor);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  } while (Clock::now() < deadline);
  return absl::DeadlineExceededError(
      absl::StrCat(path, ": nobody listens: ", std::strerror(error)));
}

UnixStream::~UnixStream() { close(descriptor_); }

absl::Status UnixStream::WriteLine(absl::string_view line) {
  std::string text = absl::StrCat(line, "\n");
  absl::string_view rest = text;
  while (!rest.empty()) {
    const ssize_t sent =
        send(descriptor_, rest.data(), rest.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return absl::UnavailableError(std::strerror(errno));
    rest.remove_prefix(static_cast<size_t>(sent));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> UnixStream::ReadLine(Clock::time_point deadline) {
  while (true) {
    if (const size_t end = received_.find('\n'); end != std::string::npos) {
      std::string line = received_.substr(0, end);
      received_.erase(0, end + 1);
      return line;
    }
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    if (left.count() <= 0) return absl::DeadlineExceededError("no line");
    pollfd readable = {descriptor_, POLLIN, 0};
    if (poll(&readable, 1, static_cast<int>(left.count())) <= 0) continue;
    std::array<char, 1 << 16> buffer;
    const ssize_t got = recv(descriptor_, buffer.data(), buffer.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return absl::UnavailableError("the peer has closed");
    received_.append(buffer.data(), static_cast<size_t>(got));
  }
}

}  // namespace cupel::testing
