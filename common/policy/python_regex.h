// Exclude patterns are Python regular expressions (module re, on text). Cupel
// matches them with RE2, over bytes and in linear time.
#ifndef CUPEL_COMMON_POLICY_PYTHON_REGEX_H_
#define CUPEL_COMMON_POLICY_PYTHON_REGEX_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace cupel::policy {

// One of a pattern's alternatives at the top level.
struct RegexBranch {
  // In RE2's syntax for Latin-1 text, that is for bytes. Groups are
  // non-capturing; fit to be joined with others by `|`.
  std::string re2;
  // The bytes with which every match starts, as far as they are plain in the
  // pattern; empty in a case-insensitive one.
  std::string literal_prefix;
  // For warnings:
  bool starts_with_slash = false;
  bool has_bare_dot = false;     // an unescaped dot that is not repeated
  bool starts_with_any = false;  // `.*` or `.+` comes first
  // Nothing at the end says how the path may go on: no `$`, no slash, no
  // repeated class, or the repeated `.` follows a name directly.
  bool has_open_end = false;
};

struct TranslatedRegex {
  std::vector<RegexBranch> branches;
};

// Translates `pattern` so that it matches no path that Python's re.match would
// not match, with one exception: `.` and `[^...]` take a byte where Python
// takes a character. It may match less:
//
//   $            only at the very end, not before a newline there
//   \d \w \s     ASCII only, and so \D \W \S never match a byte from 0x80 on
//   (?i)         folds ASCII letters only
//
// kInvalidArgument says what is wrong and what to write instead: for what
// Python refuses as well; for what RE2 can't do or does otherwise (look-around,
// word boundaries, back-references, possessive quantifiers, atomic and
// conditional groups); for non-ASCII characters in [...] or under (?i); for
// the flags m, x and L; for repetitions over 1000 and groups over 100 deep.
absl::StatusOr<TranslatedRegex> TranslatePythonRegex(absl::string_view pattern);

}  // namespace cupel::policy

#endif  // CUPEL_COMMON_POLICY_PYTHON_REGEX_H_
