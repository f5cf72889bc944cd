#ifndef CUPEL_COMMON_UTIL_HEX_H_
#define CUPEL_COMMON_UTIL_HEX_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace cupel {

// Lower-case hex, two digits a byte, no separators.
std::string HexEncode(std::span<const uint8_t> bytes);

// Decodes hex of either case. kInvalidArgument if the length is odd or a
// character is no hex digit; the message gives its position.
absl::StatusOr<std::vector<uint8_t>> HexDecode(absl::string_view hex);

// Decodes into `out`, which must be half of `hex` in size. Returns false, with
// `out` in any state, where HexDecode would fail. For inner loops.
bool HexDecodeTo(absl::string_view hex, std::span<uint8_t> out);

}  // namespace cupel

#endif  // CUPEL_COMMON_UTIL_HEX_H_
