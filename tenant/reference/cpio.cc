#include "tenant/reference/cpio.h"

#include <algorithm>
#include <array>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/util/bytes.h"
#include "common/util/status_macros.h"

namespace cupel::tenant {
namespace {

constexpr size_t kMagicSize = 6;
constexpr size_t kFieldSize = 8;
constexpr size_t kFieldCount = 13;
constexpr size_t kHeaderSize = kMagicSize + kFieldSize * kFieldCount;
constexpr uint32_t kMaxNameSize = 4096;  // PATH_MAX, with the NUL
constexpr uint64_t kAlignment = 4;

absl::StatusOr<uint32_t> ParseHex(absl::string_view digits) {
  uint32_t value = 0;
  for (const char c : digits) {
    if (!absl::ascii_isxdigit(static_cast<unsigned char>(c))) {
      return absl::InvalidArgumentError("cpio header: not hexadecimal");
    }
    const char lower = absl::ascii_tolower(static_cast<unsigned char>(c));
    value = value << 4 | static_cast<uint32_t>(lower <= '9' ? lower - '0'
                                                            : lower - 'a' + 10);
  }
  return value;
}

}  // namespace

absl::StatusOr<bool> ByteStream::Fill() {
  if (piece_.empty()) {
    CUPEL_ASSIGN_OR_RETURN(piece_, source_());
  }
  return !piece_.empty();
}

absl::StatusOr<std::optional<uint8_t>> ByteStream::Peek() {
  CUPEL_ASSIGN_OR_RETURN(const bool more, Fill());
  return more ? std::make_optional(piece_.front()) : std::nullopt;
}

absl::Status ByteStream::Read(uint64_t size, absl::string_view what,
                              Sink sink) {
  while (size > 0) {
    CUPEL_ASSIGN_OR_RETURN(const bool more, Fill());
    if (!more) {
      return absl::InvalidArgumentError(
          absl::StrCat(what, ": breaks off, ", size, " bytes are missing"));
    }
    const auto part = piece_.first(
        static_cast<size_t>(std::min<uint64_t>(size, piece_.size())));
    piece_ = piece_.subspan(part.size());
    position_ += part.size();
    size -= part.size();
    CUPEL_RETURN_IF_ERROR(sink(part));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ByteStream::ReadText(size_t size,
                                                 absl::string_view what) {
  std::string text;
  CUPEL_RETURN_IF_ERROR(Read(size, what, [&](std::span<const uint8_t> part) {
    const absl::string_view view = AsText(part);
    text.append(view.data(), view.size());
    return absl::OkStatus();
  }));
  return text;
}

absl::Status ByteStream::Skip(uint64_t size, absl::string_view what) {
  return Read(size, what,
              [](std::span<const uint8_t>) { return absl::OkStatus(); });
}

absl::Status ByteStream::SkipZeros() {
  while (true) {
    CUPEL_ASSIGN_OR_RETURN(const bool more, Fill());
    if (!more) return absl::OkStatus();
    const auto end =
        std::ranges::find_if(piece_, [](uint8_t byte) { return byte != 0; });
    const auto count = static_cast<size_t>(end - piece_.begin());
    piece_ = piece_.subspan(count);
    position_ += count;
    if (!piece_.empty()) return absl::OkStatus();
  }
}

absl::StatusOr<CpioHeader> ReadCpioHeader(ByteStream& stream) {
  CUPEL_ASSIGN_OR_RETURN(const std::string text,
                         stream.ReadText(kHeaderSize, "cpio header"));
  const std::string magic = text.substr(0, kMagicSize);
  if (magic == "070707") {
    return absl::InvalidArgumentError(
        "a cpio archive of the old kind, which the kernel does not read; make "
        "it with cpio -H newc");
  }
  if (magic != "070701" && magic != "070702") {
    return absl::InvalidArgumentError("no cpio header where one should be");
  }
  std::array<uint32_t, kFieldCount> fields{};
  for (size_t i = 0; i < kFieldCount; ++i) {
    CUPEL_ASSIGN_OR_RETURN(fields[i],
                           ParseHex(absl::string_view(text).substr(
                               kMagicSize + i * kFieldSize, kFieldSize)));
  }
  CpioHeader header;
  header.inode = fields[0];
  header.mode = fields[1];
  header.link_count = fields[4];
  header.size = fields[6];
  header.device_major = fields[7];
  header.device_minor = fields[8];
  if (magic == "070702") header.sum = fields[12];
  const uint32_t name_size = fields[11];
  if (name_size == 0 || name_size > kMaxNameSize) {
    CUPEL_RETURN_IF_ERROR(stream.Skip(name_size, "cpio name"));
  } else {
    CUPEL_ASSIGN_OR_RETURN(std::string name,
                           stream.ReadText(name_size, "cpio name"));
    if (name.back() != '\0') {
      return absl::InvalidArgumentError("cpio name: no NUL at its end");
    }
    name.resize(name.find('\0'));
    if (!name.empty()) header.name = std::move(name);
  }
  CUPEL_RETURN_IF_ERROR(SkipCpioPadding(stream));
  return header;
}

absl::Status SkipCpioPadding(ByteStream& stream) {
  const uint64_t over = stream.position() % kAlignment;
  return over == 0 ? absl::OkStatus()
                   : stream.Skip(kAlignment - over, "cpio padding");
}

}  // namespace cupel::tenant
