#ifndef CUPEL_COMMON_UTIL_BYTE_READER_H_
#define CUPEL_COMMON_UTIL_BYTE_READER_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/util/status_macros.h"

namespace cupel {

// Byte order of the integers in a format. A format states it; no parser tries
// the other one.
enum class ByteOrder { kLittle, kBig };

// Reads integers and byte ranges from a borrowed buffer, front to back.
//
// A read past the end returns kInvalidArgument, a size over the caller's bound
// kResourceExhausted. Both name the field, and both leave the position where
// it was. Returned spans alias the buffer. Not thread-safe.
class ByteReader {
 public:
  explicit ByteReader(std::span<const uint8_t> data,
                      ByteOrder order = ByteOrder::kLittle)
      : rest_(data), order_(order) {}

  bool empty() const { return rest_.empty(); }
  size_t remaining() const { return rest_.size(); }
  // What has not been read yet.
  std::span<const uint8_t> rest() const { return rest_; }

  absl::StatusOr<std::span<const uint8_t>> ReadBytes(size_t size,
                                                     absl::string_view field) {
    // Compared, never added: `size` comes from the peer, and a sum could wrap.
    if (size > rest_.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat(field, ": need ", size, " bytes, have ", rest_.size()));
    }
    const std::span<const uint8_t> bytes = rest_.first(size);
    rest_ = rest_.subspan(size);
    return bytes;
  }

  absl::StatusOr<uint8_t> ReadU8(absl::string_view field) {
    return ReadInteger<uint8_t>(field);
  }
  absl::StatusOr<uint16_t> ReadU16(absl::string_view field) {
    return ReadInteger<uint16_t>(field);
  }
  absl::StatusOr<uint32_t> ReadU32(absl::string_view field) {
    return ReadInteger<uint32_t>(field);
  }
  absl::StatusOr<uint64_t> ReadU64(absl::string_view field) {
    return ReadInteger<uint64_t>(field);
  }

  // Reads a u16 size and that many bytes (TPM 2.0's TPM2B form).
  absl::StatusOr<std::span<const uint8_t>> ReadSized16(
      size_t max_size, absl::string_view field) {
    return ReadSized<uint16_t>(max_size, field);
  }
  // Reads a u32 size and that many bytes (IMA's form).
  absl::StatusOr<std::span<const uint8_t>> ReadSized32(
      size_t max_size, absl::string_view field) {
    return ReadSized<uint32_t>(max_size, field);
  }

  // kInvalidArgument if anything is left: a parser's last call.
  absl::Status ExpectEnd(absl::string_view what) const {
    if (rest_.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat(what, ": ", rest_.size(), " bytes left over"));
  }

 private:
  template <typename T>
  absl::StatusOr<T> ReadInteger(absl::string_view field) {
    CUPEL_ASSIGN_OR_RETURN(const auto bytes, ReadBytes(sizeof(T), field));
    uint64_t value = 0;
    for (size_t i = 0; i < sizeof(T); ++i) {
      const size_t at = order_ == ByteOrder::kBig ? i : sizeof(T) - 1 - i;
      value = value << 8 | bytes[at];
    }
    return static_cast<T>(value);
  }

  template <typename T>
  absl::StatusOr<std::span<const uint8_t>> ReadSized(size_t max_size,
                                                     absl::string_view field) {
    const ByteReader before = *this;
    CUPEL_ASSIGN_OR_RETURN(const T size, ReadInteger<T>(field));
    if (size > max_size) {
      *this = before;
      return absl::ResourceExhaustedError(
          absl::StrCat(field, ": ", size, " bytes, limit ", max_size));
    }
    auto bytes = ReadBytes(size, field);
    if (!bytes.ok()) *this = before;
    return bytes;
  }

  std::span<const uint8_t> rest_;
  ByteOrder order_;
};

}  // namespace cupel

#endif  // CUPEL_COMMON_UTIL_BYTE_READER_H_
