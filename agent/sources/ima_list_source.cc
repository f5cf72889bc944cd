#include "agent/sources/ima_list_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/util/errno_status.h"
#include "common/util/escape.h"
#include "common/util/status_context.h"
#include "common/util/status_macros.h"

namespace cupel::agent {
namespace {

// Of a system call that has just failed, with the cure.
absl::Status ListStatus(const std::string& path) {
  const absl::Status status = ErrnoStatus(errno, path);
  switch (status.code()) {
    case absl::StatusCode::kNotFound:
      return absl::NotFoundError(absl::StrCat(
          status.message(),
          "; is securityfs mounted (mount -t securityfs securityfs "
          "/sys/kernel/security), and has the kernel CONFIG_IMA?"));
    case absl::StatusCode::kPermissionDenied:
      return absl::PermissionDeniedError(
          absl::StrCat(status.message(),
                       "; reading the list needs root or "
                       "CAP_DAC_READ_SEARCH"));
    default:
      return status;
  }
}

// pread that only the end of the file makes short.
absl::Status ReadAt(int fd, uint64_t offset, size_t size,
                    const std::string& path, std::vector<uint8_t>& out) {
  out.resize(size);
  size_t got = 0;
  while (got < size) {
    const ssize_t n = pread(fd, out.data() + got, size - got,
                            static_cast<off_t>(offset + got));
    if (n < 0) {
      if (errno == EINTR) continue;
      return ListStatus(path);
    }
    if (n == 0) break;
    got += static_cast<size_t>(n);
  }
  out.resize(got);
  return absl::OkStatus();
}

}  // namespace

ImaListSource::ImaListSource(std::string list_path, std::string count_path,
                             const ima::ListOptions& options, int list,
                             int count)
    : list_path_(std::move(list_path)),
      count_path_(std::move(count_path)),
      options_(options),
      list_(list),
      count_(count),
      counter_(options) {}

ImaListSource::~ImaListSource() {
  close(list_);
  if (count_ >= 0) close(count_);
}

absl::StatusOr<std::unique_ptr<ImaListSource>> ImaListSource::Open(
    const std::string& list_path, const std::string& count_path,
    const ima::ListOptions& options) {
  const int list = open(list_path.c_str(), O_RDONLY | O_CLOEXEC);
  if (list < 0) return ListStatus(list_path);
  int count = -1;
  if (!count_path.empty()) {
    count = open(count_path.c_str(), O_RDONLY | O_CLOEXEC);
    if (count < 0) {
      const absl::Status status = ListStatus(count_path);
      close(list);
      return status;
    }
  }
  return std::unique_ptr<ImaListSource>(
      new ImaListSource(list_path, count_path, options, list, count));
}

absl::StatusOr<uint64_t> ImaListSource::EntryCount() {
  if (count_ < 0) return CountEntries();
  constexpr size_t kMaxDigits = 32;
  std::vector<uint8_t> text;
  CUPEL_RETURN_IF_ERROR(ReadAt(count_, 0, kMaxDigits, count_path_, text));
  const absl::string_view number = absl::StripAsciiWhitespace(
      {reinterpret_cast<const char*>(text.data()), text.size()});
  uint64_t count = 0;
  if (!absl::SimpleAtoi(number, &count)) {
    return absl::InvalidArgumentError(
        absl::StrCat(EscapeForDisplay(count_path_), ": \"",
                     EscapeForDisplay(number), "\" is no number of entries"));
  }
  return count;
}

absl::Status ImaListSource::CountNewEntries() {
  constexpr size_t kPiece = size_t{1} << 16;
  std::vector<uint8_t> piece;
  const auto nothing = [](std::span<const ima::Entry>) {
    return absl::OkStatus();
  };
  while (true) {
    CUPEL_RETURN_IF_ERROR(
        ReadAt(list_, counted_offset_, kPiece, list_path_, piece));
    if (piece.empty()) return absl::OkStatus();
    const absl::Status status = counter_.Feed(piece, nothing);
    if (!status.ok()) return WithContext(status, EscapeForDisplay(list_path_));
    counted_offset_ += piece.size();
  }
}

absl::StatusOr<uint64_t> ImaListSource::CountEntries() {
  struct stat info = {};
  if (fstat(list_, &info) != 0) return ListStatus(list_path_);
  if (S_ISREG(info.st_mode) && info.st_size >= 0) {
    const auto size = static_cast<uint64_t>(info.st_size);
    if (size == counted_offset_) return counter_.entry_count();
    if (size < counted_offset_) {
      counter_ = ima::ListParser(options_);
      counted_offset_ = 0;
    }
  }
  absl::Status status = CountNewEntries();
  // A list that was replaced, and has grown beyond the old one since, makes no
  // sense from its middle on. One that makes none from its start on is asked
  // again the next time.
  for (const bool again : {true, false}) {
    if (status.ok()) break;
    counter_ = ima::ListParser(options_);
    counted_offset_ = 0;
    if (again) status = CountNewEntries();
  }
  if (!status.ok()) return status;
  return counter_.entry_count();
}

absl::StatusOr<std::vector<uint8_t>> ImaListSource::ReadFrom(
    uint64_t byte_offset, size_t max_size) {
  std::vector<uint8_t> piece;
  CUPEL_RETURN_IF_ERROR(ReadAt(list_, byte_offset,
                               std::min(max_size, kMaxPieceSize), list_path_,
                               piece));
  return piece;
}

}  // namespace cupel::agent
