#include "common/util/file.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <optional>

#include "absl/strings/str_cat.h"
#include "common/util/descriptor.h"
#include "common/util/errno_status.h"
#include "common/util/escape.h"
#include "common/util/status_macros.h"

namespace cupel {
namespace {

// How messages call the file that is read.
std::string InputName(const std::string& path) {
  return path == "-" ? "standard input" : path;
}

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
  const Descriptor file(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file.is_open()) return ErrnoStatus(errno, path);
  return WriteAll(file.get(), bytes, path);
}

// Creates a file of a new name beside `path`, with those of the rights `mode`
// that umask leaves. Returns its descriptor and the name, or -1 and errno.
int CreateBeside(const std::string& path, mode_t mode, std::string& name) {
  constexpr int kTries = 100;
  for (int i = 0; i < kTries; ++i) {
    uint64_t random = 0;
    if (getrandom(&random, sizeof(random), 0) !=
        static_cast<ssize_t>(sizeof(random))) {
      return -1;
    }
    name = absl::StrCat(path, ".", absl::Hex(random, absl::kZeroPad16));
    const int fd =
        open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd >= 0 || errno != EEXIST) return fd;
  }
  return -1;
}

// Some file systems have nothing to sync, and say so.
absl::Status Sync(int fd, const std::string& name) {
  if (fsync(fd) == 0 || errno == EINVAL) return absl::OkStatus();
  return ErrnoStatus(errno, name);
}

// Who may use it is settled before there is anything in it.
absl::Status SetRights(int fd, const FileRights& rights,
                       const std::string& name) {
  if (rights.owner.has_value() &&
      fchown(fd, rights.owner->uid, rights.owner->gid) != 0) {
    return ErrnoStatus(errno, name);
  }
  if (fchmod(fd, rights.mode) != 0) return ErrnoStatus(errno, name);
  return absl::OkStatus();
}

absl::Status Write(const std::string& path, absl::string_view bytes,
                   const std::optional<FileRights>& rights) {
  if (path == "-") return WriteAll(STDOUT_FILENO, bytes, "standard output");
  if (IsSpecial(path)) return WriteInPlace(path, bytes);
  constexpr mode_t kPrivate = 0600;
  constexpr mode_t kWhatUmaskLeaves = 0666;
  std::string temporary;
  const Descriptor file(CreateBeside(
      path, rights.has_value() ? kPrivate : kWhatUmaskLeaves, temporary));
  if (!file.is_open()) return ErrnoStatus(errno, path);
  absl::Status status;
  if (rights.has_value()) status = SetRights(file.get(), *rights, path);
  if (status.ok()) status = WriteAll(file.get(), bytes, path);
  if (status.ok()) status = Sync(file.get(), path);
  if (status.ok() && std::rename(temporary.c_str(), path.c_str()) != 0) {
    status = ErrnoStatus(errno, path);
  }
  if (!status.ok()) {
    unlink(temporary.c_str());
    return status;
  }
  const size_t slash = path.rfind('/');
  return SyncFolder(slash == std::string::npos ? "."
                                               : path.substr(0, slash + 1));
}

}  // namespace

absl::Status ReadFileInChunks(
    const std::string& path, size_t chunk_size,
    absl::FunctionRef<absl::Status(std::span<const uint8_t>)> sink) {
  Descriptor file;
  if (path != "-") {
    file = Descriptor(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file.is_open()) return ErrnoStatus(errno, path);
  }
  const int fd = file.is_open() ? file.get() : STDIN_FILENO;
  std::vector<uint8_t> chunk(chunk_size);
  while (true) {
    const ssize_t got = read(fd, chunk.data(), chunk.size());
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
          return absl::ResourceExhaustedError(
              absl::StrCat(EscapeForDisplay(InputName(path)), ": more than ",
                           max_size, " bytes"));
        }
        content.insert(content.end(), chunk.begin(), chunk.end());
        return absl::OkStatus();
      }));
  return content;
}

absl::Status WriteFile(const std::string& path, absl::string_view bytes) {
  return Write(path, bytes, std::nullopt);
}

absl::Status WriteFile(const std::string& path, absl::string_view bytes,
                       const FileRights& rights) {
  return Write(path, bytes, rights);
}

absl::Status SyncFolder(const std::string& path) {
  const Descriptor folder(
      open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.is_open()) return ErrnoStatus(errno, path);
  return Sync(folder.get(), path);
}

}  // namespace cupel
