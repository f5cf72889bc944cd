#include "agent/tpm/der.h"

#include <cstddef>

#include "absl/strings/str_cat.h"
#include "common/util/byte_reader.h"
#include "common/util/bytes.h"
#include "common/util/status_macros.h"

namespace cupel::agent {

absl::StatusOr<std::vector<uint8_t>> CutToDer(std::span<const uint8_t> bytes) {
  constexpr uint8_t kSequence = 0x30;
  constexpr uint8_t kLongForm = 0x80;
  // More than an NV index can hold needs no more than two.
  constexpr uint8_t kMaxLengthBytes = 2;
  ByteReader reader(bytes, ByteOrder::kBig);
  CUPEL_ASSIGN_OR_RETURN(const uint8_t tag, reader.ReadU8("certificate: tag"));
  if (tag != kSequence) {
    return absl::InvalidArgumentError(
        absl::StrCat("certificate: starts with byte 0x", absl::Hex(tag),
                     ", not with a DER sequence (0x30)"));
  }
  CUPEL_ASSIGN_OR_RETURN(const uint8_t first,
                         reader.ReadU8("certificate: length"));
  size_t size = first;
  if (first >= kLongForm) {
    const uint8_t count = first & 0x7f;
    if (count == 0 || count > kMaxLengthBytes) {
      return absl::InvalidArgumentError(absl::StrCat(
          "certificate: a length of ", count, " bytes, expected 1 or 2"));
    }
    CUPEL_ASSIGN_OR_RETURN(const auto length,
                           reader.ReadBytes(count, "certificate: length"));
    size = 0;
    for (const uint8_t byte : length) size = size << 8 | byte;
    const size_t least = count == 1 ? kLongForm : 0x100;
    if (size < least) {
      return absl::InvalidArgumentError(
          "certificate: the length is not in DER's shortest form");
    }
  }
  CUPEL_RETURN_IF_ERROR(reader.ReadBytes(size, "certificate").status());
  return ToVector(bytes.first(bytes.size() - reader.remaining()));
}

}  // namespace cupel::agent
