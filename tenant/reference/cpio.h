// cpio archives of the "newc" kind, the one that the kernel unpacks.
#ifndef CUPEL_TENANT_REFERENCE_CPIO_H_
#define CUPEL_TENANT_REFERENCE_CPIO_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace cupel::tenant {

// Bytes read front to back, from a source that hands them out in pieces. Not
// thread-safe.
class ByteStream {
 public:
  // The next piece, which lives until the next call; an empty one at the end.
  using Source = std::function<absl::StatusOr<std::span<const uint8_t>>()>;
  using Sink = absl::FunctionRef<absl::Status(std::span<const uint8_t>)>;

  explicit ByteStream(Source source) : source_(std::move(source)) {}

  // The next byte, which stays; nullopt at the end. The source's errors.
  absl::StatusOr<std::optional<uint8_t>> Peek();
  // Calls `sink` with the next `size` bytes, in pieces. kInvalidArgument,
  // naming `what`, if there are fewer; the source's and the sink's errors.
  absl::Status Read(uint64_t size, absl::string_view what, Sink sink);
  // The next `size` bytes as text; for sizes that the caller has bounded.
  absl::StatusOr<std::string> ReadText(size_t size, absl::string_view what);
  absl::Status Skip(uint64_t size, absl::string_view what);
  // Skips bytes of zero.
  absl::Status SkipZeros();

  uint64_t position() const { return position_; }

 private:
  // Sees to it that there is a byte at hand; false at the end.
  absl::StatusOr<bool> Fill();

  Source source_;
  std::span<const uint8_t> piece_;
  uint64_t position_ = 0;
};

// What stands before a file's bytes.
struct CpioHeader {
  uint32_t inode = 0;
  uint32_t mode = 0;  // as stat(2) has it
  uint32_t link_count = 0;
  uint32_t size = 0;
  uint32_t device_major = 0;
  uint32_t device_minor = 0;
  // Of the file's bytes; nullopt where the archive has none ("070701").
  std::optional<uint32_t> sum;
  // Up to its first NUL. nullopt: it is empty, or longer than the kernel takes;
  // it passes over such an entry.
  std::optional<std::string> name;

  bool IsTrailer() const { return name == "TRAILER!!!"; }
};

// Reads a header and its name, up to the first of the file's bytes. Entries
// begin at positions of the stream that 4 divides.
//
// Format: Linux Documentation/driver-api/early-userspace/buffer-format.rst.
// Trust: the bytes may be hostile. kInvalidArgument for anything else.
absl::StatusOr<CpioHeader> ReadCpioHeader(ByteStream& stream);

// Skips what fills a header, or a file, up to a multiple of 4.
absl::Status SkipCpioPadding(ByteStream& stream);

}  // namespace cupel::tenant

#endif  // CUPEL_TENANT_REFERENCE_CPIO_H_
