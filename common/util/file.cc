#include "common/util/file.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/util/escape.h"
#include "common/util/status_macros.h"

namespace cupel {
namespace {

// How messages call the file that is read, or written.
std::string InputName(const std::string& path) {
  return path == "-" ? "standard input" : EscapeForDisplay(path);
}
std::string OutputName(const std::string& path) {
  return path == "-" ? "standard output" : EscapeForDisplay(path);
}

absl::Status ErrnoStatus(int error, const std::string& name) {
  const std::string message = absl::StrCat(name, ": ", std::strerror(error));
  switch (error) {
    case ENOENT:
      return absl::NotFoundError(message);
    case EACCES:
    case EPERM:
      return absl::PermissionDeniedError(message);
    case EISDIR:
    case ENOTDIR:
      return absl::InvalidArgumentError(message);
    default:
      return absl::UnavailableError(message);
  }
}

// A descriptor that closes itself; standard input and output stay open.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ > STDERR_FILENO) close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

absl::Status WriteAll(int fd, absl::string_view bytes,
                      const std::string& name) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return ErrnoStatus(errno, name);
    }
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

// True for what can't be replaced by a file: a device, a pipe.
bool IsSpecial(const std::string& path) {
  struct stat info = {};
  return stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode) &&
         !S_ISDIR(info.st_mode);
}

absl::Status WriteInPlace(const std::string& path, absl::string_view bytes) {
  const std::string name = OutputName(path);
  const Descriptor file(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (file.get() < 0) return ErrnoStatus(errno, name);
  return WriteAll(file.get(), bytes, name);
}

// Creates a file of a new name beside `path`, with the rights that umask
// leaves. Returns its descriptor and the name, or -1 and errno.
int CreateBeside(const std::string& path, std::string& name) {
  constexpr int kTries = 100;
  for (int i = 0; i < kTries; ++i) {
    uint64_t random = 0;
    if (getrandom(&random, sizeof(random), 0) !=
        static_cast<ssize_t>(sizeof(random))) {
      return -1;
    }
    name = absl::StrCat(path, ".", absl::Hex(random, absl::kZeroPad16));
    const int fd =
        open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd >= 0 || errno != EEXIST) return fd;
  }
  return -1;
}

}  // namespace

absl::Status ReadFileInChunks(
    const std::string& path, size_t chunk_size,
    absl::FunctionRef<absl::Status(std::span<const uint8_t>)> sink) {
  const Descriptor file(path == "-" ? STDIN_FILENO
                                    : open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return ErrnoStatus(errno, InputName(path));
  std::vector<uint8_t> chunk(chunk_size);
  while (true) {
    const ssize_t got = read(file.get(), chunk.data(), chunk.size());
    if (got < 0) {
      if (errno == EINTR) continue;
      return ErrnoStatus(errno, InputName(path));
    }
    if (got == 0) return absl::OkStatus();
    CUPEL_RETURN_IF_ERROR(
        sink(std::span(chunk).first(static_cast<size_t>(got))));
  }
}

absl::StatusOr<std::vector<uint8_t>> ReadFile(const std::string& path,
                                              size_t max_size) {
  constexpr size_t kChunk = size_t{1} << 18;
  std::vector<uint8_t> content;
  CUPEL_RETURN_IF_ERROR(ReadFileInChunks(
      path, kChunk, [&](std::span<const uint8_t> chunk) -> absl::Status {
        if (chunk.size() > max_size - content.size()) {
          return absl::ResourceExhaustedError(absl::StrCat(
              InputName(path), ": more than ", max_size, " bytes"));
        }
        content.insert(content.end(), chunk.begin(), chunk.end());
        return absl::OkStatus();
      }));
  return content;
}

absl::Status WriteFile(const std::string& path, absl::string_view bytes) {
  const std::string name = OutputName(path);
  if (path == "-") return WriteAll(STDOUT_FILENO, bytes, name);
  if (IsSpecial(path)) return WriteInPlace(path, bytes);
  std::string temporary;
  const Descriptor file(CreateBeside(path, temporary));
  if (file.get() < 0) return ErrnoStatus(errno, name);
  absl::Status status = WriteAll(file.get(), bytes, name);
  if (status.ok() && fsync(file.get()) != 0 && errno != EINVAL) {
    status = ErrnoStatus(errno, name);
  }
  if (status.ok() && std::rename(temporary.c_str(), path.c_str()) != 0) {
    status = ErrnoStatus(errno, name);
  }
  if (!status.ok()) unlink(temporary.c_str());
  return status;
}

}  // namespace cupel
