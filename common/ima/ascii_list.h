// The measurement list as text, securityfs ima/ascii_runtime_measurements, and
// how to tell it from the binary one.
//
// For files that a person names on a command line, never for what an agent
// sends: a name that holds a newline ends its line and may go on as a line that
// looks like a record, and nothing in the text tells.
//
// Format: Linux security/integrity/ima/ima_fs.c, ima_ascii_measurements_show(),
// and ima_template_lib.c. One line an entry:
//
//   PCR (2 columns) ' ' template digest (hex) ' ' template name
//   | ' ' field                                  for each field of the template
//
// A field that is empty leaves its space behind. Digests are
// "algorithm:" | hex, integers decimal, names as they are, all else hex.
#ifndef CUPEL_COMMON_IMA_ASCII_LIST_H_
#define CUPEL_COMMON_IMA_ASCII_LIST_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/ima/entry.h"
#include "common/ima/list_parser.h"
#include "common/util/byte_reader.h"

namespace cupel::ima {

enum class ListFormat { kBinary, kAscii };

// Which of the two `list` is, by its first bytes: a binary list begins with a
// u32 of at most 23, of either byte order, a text with a digit, a space or an
// empty line. An empty list counts as binary. kInvalidArgument if it is
// neither.
//
// The byte order of a binary list is not looked for: whoever has it must know.
absl::StatusOr<ListFormat> DetectListFormat(std::span<const uint8_t> list);

// How many bytes the template digests in `text` have, by its first entry's
// column: 20, 32, 48 or 64; nullopt if it is none of them. For whoever has a
// text without knowing which bank's file it was.
std::optional<size_t> AsciiTemplateDigestSize(absl::string_view text);

// A list's text turned into the entries that the binary list would have given.
// Owns them. Move-only; the entries stay valid when it is moved.
class AsciiList {
 public:
  // Parses all of `text`. `options` says how many bytes the template digests
  // have, which byte order the host has (it shows in the sizes that the kernel
  // hashes, not in the text), and what the entries' limits are;
  // `first_index` and `first_offset` count in the binary form.
  //
  // Takes hex of either case, empty lines, and a last line without its newline.
  // What cannot be told is refused: a space in a name, which a kernel never
  // writes, a carriage return at a line's end, fields that are too few or too
  // many for the template.
  //
  // An entry here may still be what a name with a newline in it has left. Its
  // template digest shows that: compare it with TemplateDigest.
  //
  // Errors, each naming the line: kInvalidArgument; kUnimplemented for a
  // template that FindTemplateFormat does not know, whose data no text can give
  // back; kResourceExhausted for a limit that was passed.
  static absl::StatusOr<AsciiList> Parse(absl::string_view text,
                                         const ListOptions& options = {});

  AsciiList(AsciiList&&) = default;
  AsciiList& operator=(AsciiList&&) = default;
  AsciiList(const AsciiList&) = delete;
  AsciiList& operator=(const AsciiList&) = delete;

  std::span<const Entry> entries() const { return entries_; }
  // The list in its binary form, which the entries alias.
  std::span<const uint8_t> binary() const { return binary_; }

 private:
  AsciiList(std::vector<uint8_t> binary, std::vector<Entry> entries)
      : binary_(std::move(binary)), entries_(std::move(entries)) {}

  std::vector<uint8_t> binary_;
  std::vector<Entry> entries_;
};

}  // namespace cupel::ima

#endif  // CUPEL_COMMON_IMA_ASCII_LIST_H_
