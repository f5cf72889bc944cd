// Text that attacks its reader.
#ifndef CUPEL_TESTS_SUPPORT_HOSTILE_TEXT_H_
#define CUPEL_TESTS_SUPPORT_HOSTILE_TEXT_H_

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"

namespace cupel::testing {

// Terminal escapes, line ends, right-to-left marks, and what looks like the
// last lines of a good report.
inline constexpr char kHostileText[] =
    "/tmp/\x1b[2J\x1b]0;owned\x07\r\n\xe2\x80\xae INFO - all is well\n"
    "\x9b"
    "31m\xff";

// True if nothing of the above, nor any other byte that a terminal obeys but
// the line end, is in `text`.
inline bool IsPlain(absl::string_view text) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte == 0x7f || (byte < 0x20 && c != '\n')) return false;
  }
  return !absl::StrContains(text, "\xe2\x80\xae") &&
         !absl::StrContains(text, "\xff") && !absl::StrContains(text, "\x9b");
}

}  // namespace cupel::testing

#endif  // CUPEL_TESTS_SUPPORT_HOSTILE_TEXT_H_
