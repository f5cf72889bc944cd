#ifndef CUPEL_COMMON_UTIL_BYTES_H_
#define CUPEL_COMMON_UTIL_BYTES_H_

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace cupel {

// The bytes of `text`, aliased.
inline std::span<const uint8_t> AsBytes(absl::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// `bytes` as a string view, aliased. Not NUL-terminated, not valid UTF-8.
inline absl::string_view AsText(std::span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// A copy of `bytes` for what keeps them as a string, protocol buffers above
// all.
inline std::string ToText(std::span<const uint8_t> bytes) {
  return std::string(AsText(bytes));
}

inline std::vector<uint8_t> ToVector(std::span<const uint8_t> bytes) {
  return {bytes.begin(), bytes.end()};
}

inline void Append(std::vector<uint8_t>& out, std::span<const uint8_t> bytes) {
  out.insert(out.end(), bytes.begin(), bytes.end());
}

// True if every byte is zero; so for none.
inline bool IsZero(std::span<const uint8_t> bytes) {
  return std::ranges::all_of(bytes, [](uint8_t byte) { return byte == 0; });
}

// Appends `value` in big-endian order, TPM 2.0's.
template <typename T>
void AppendBe(std::vector<uint8_t>& out, T value) {
  for (size_t i = sizeof(T); i-- > 0;) {
    out.push_back(static_cast<uint8_t>(static_cast<uint64_t>(value) >> 8 * i));
  }
}

}  // namespace cupel

#endif  // CUPEL_COMMON_UTIL_BYTES_H_
