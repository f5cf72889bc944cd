#include "agent/sources/ima_list_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/util/escape.h"
#include "common/util/status_context.h"
#include "common/util/status_macros.h"

namespace cupel::agent {
namespace {

absl::Status ErrnoStatus(const std::string& path) {
  const int error = errno;
  const std::string message =
      absl::StrCat(EscapeForDisplay(path), ": ", std::strerror(error));
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return absl::NotFoundError(absl::StrCat(
          message,
          "; is securityfs mounted (mount -t securityfs securityfs "
          "/sys/kernel/security), and has the kernel CONFIG_IMA?"));
    case EACCES:
    case EPERM:
      return absl::PermissionDeniedError(
          absl::StrCat(message,
                       "; reading the list needs root or "
                       "CAP_DAC_READ_SEARCH"));
    default:
      return absl::UnavailableError(message);
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
      return ErrnoStatus(path);
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
  if (list < 0) return ErrnoStatus(list_path);
  int count = -1;
  if (!count_path.empty()) {
    count = open(count_path.c_str(), O_RDONLY | O_CLOEXEC);
    if (count < 0) {
      const absl::Status status = ErrnoStatus(count_path);
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

absl::StatusOr<uint64_t> ImaListSource::CountEntries() {
  struct stat info = {};
  if (fstat(list_, &info) != 0) return ErrnoStatus(list_path_);
  if (S_ISREG(info.st_mode) && info.st_size >= 0 &&
      static_cast<uint64_t>(info.st_size) < counted_offset_) {
    counter_ = ima::ListParser(options_);
    counted_offset_ = 0;
  }
  const auto walk = [&] {
    ListPosition end;
    return Walk(counter_, counted_offset_, UINT64_MAX, end);
  };
  if (!walk().ok()) {
    // A list that was replaced, and has grown beyond the old one since, makes
    // no sense from its middle on.
    counter_ = ima::ListParser(options_);
    counted_offset_ = 0;
    CUPEL_RETURN_IF_ERROR(walk());
  }
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

// Feeds `parser` from `offset` on, to the list's end or until it has passed the
// first record after which there are `until_entry` entries; `position` is
// behind that record then.
absl::Status ImaListSource::Walk(ima::ListParser& parser, uint64_t& offset,
                                 uint64_t until_entry, ListPosition& position) {
  constexpr size_t kPiece = size_t{1} << 16;
  std::vector<uint8_t> piece;
  const auto sink = [&](std::span<const ima::Entry> entries) {
    for (const ima::Entry& entry : entries) {
      if (position.entry_count >= until_entry) break;
      position = {entry.index + 1, entry.offset + entry.record_size};
    }
    return absl::OkStatus();
  };
  while (position.entry_count < until_entry) {
    CUPEL_RETURN_IF_ERROR(ReadAt(list_, offset, kPiece, list_path_, piece));
    if (piece.empty()) break;
    const absl::Status status = parser.Feed(piece, sink);
    if (!status.ok()) return WithContext(status, EscapeForDisplay(list_path_));
    offset += piece.size();
  }
  return absl::OkStatus();
}

absl::StatusOr<ListPosition> ImaListSource::PositionOf(uint64_t entry_count) {
  if (entry_count < last_position_.entry_count) last_position_ = {};
  ListPosition position = last_position_;
  ima::ListOptions options = options_;
  options.first_index = position.entry_count;
  options.first_offset = position.byte_offset;
  ima::ListParser parser(options);
  uint64_t offset = position.byte_offset;
  CUPEL_RETURN_IF_ERROR(Walk(parser, offset, entry_count, position));
  if (position.entry_count != entry_count) {
    return absl::OutOfRangeError(
        absl::StrCat(EscapeForDisplay(list_path_), ": entry ", entry_count,
                     " asked for, there are ", position.entry_count));
  }
  last_position_ = position;
  return position;
}

}  // namespace cupel::agent
