#ifndef CUPEL_COMMON_UTIL_ESCAPE_H_
#define CUPEL_COMMON_UTIL_ESCAPE_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace cupel {

// `bytes` fit for a line on a terminal or in a log: printable ASCII and valid
// UTF-8 of printable characters stay; backslash becomes `\\`, newline `\n`, tab
// `\t`, carriage return `\r`; every other byte `\xNN`. Control characters (C0,
// DEL, C1), invalid UTF-8 and the bidirectional overrides can therefore never
// reach a terminal, and two different inputs never look alike.
//
// Escaping twice doubles the backslashes: it is done once, where raw bytes
// become text. A message of an absl::Status is such text.
std::string EscapeForDisplay(absl::string_view bytes);

// How much of a name, a pattern or a path a message shows, in bytes.
inline constexpr size_t kShownSize = 200;

// The first `max_size` bytes of `bytes`, or a few less so as not to cut a
// character, escaped as above and in double quotes. `...` follows the quotes
// where something was cut.
std::string Quoted(absl::string_view bytes,
                   size_t max_size = absl::string_view::npos);

// As EscapeForDisplay, for a JSON string: valid UTF-8 stays as it is (the JSON
// writer escapes control characters), while a byte that is not part of valid
// UTF-8 becomes the text `\xNN` and a backslash becomes `\\`, so that nothing
// is lost.
std::string EscapeForJson(absl::string_view bytes);

}  // namespace cupel

#endif  // CUPEL_COMMON_UTIL_ESCAPE_H_
