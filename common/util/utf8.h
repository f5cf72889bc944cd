#ifndef CUPEL_COMMON_UTIL_UTF8_H_
#define CUPEL_COMMON_UTIL_UTF8_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace cupel {

struct Utf8Character {
  uint32_t code_point = 0;
  size_t size = 0;  // in bytes; 0 where there is no character
};

// The character at the front of `bytes`, by Unicode 15, table 3-7: overlong
// forms, surrogates and values over U+10FFFF are none. Size 0 for these, for a
// cut character, and where `bytes` is empty.
Utf8Character DecodeUtf8(absl::string_view bytes);

// Appends the UTF-8 form of `code_point`, which must be at most U+10FFFF and no
// surrogate.
void AppendUtf8(uint32_t code_point, std::string& out);

}  // namespace cupel

#endif  // CUPEL_COMMON_UTIL_UTF8_H_
