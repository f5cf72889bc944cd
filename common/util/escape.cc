#include "common/util/escape.h"

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "common/util/utf8.h"

namespace cupel {
namespace {

// Characters that steer a terminal or reorder a line: controls, and Unicode's
// format characters for direction, joining, line breaks and tags.
bool SteersDisplay(uint32_t c) {
  return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0xad || c == 0x61c ||
         c == 0x180e || (c >= 0x200b && c <= 0x200f) ||
         (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) ||
         c == 0xfeff || (c >= 0xfff9 && c <= 0xfffb) ||
         (c >= 0xe0000 && c <= 0xe007f);
}

void AppendHexEscapes(absl::string_view bytes, std::string& out) {
  for (const char c : bytes) {
    absl::StrAppend(&out, "\\x",
                    absl::Hex(static_cast<uint8_t>(c), absl::kZeroPad2));
  }
}

// Bytes that are no UTF-8 and backslashes are always escaped, characters as
// `needs_escape(code point)` says.
template <typename NeedsEscape>
std::string Escape(absl::string_view bytes, NeedsEscape needs_escape) {
  std::string out;
  out.reserve(bytes.size());
  while (!bytes.empty()) {
    const Utf8Character c = DecodeUtf8(bytes);
    const absl::string_view piece = bytes.substr(0, c.size == 0 ? 1 : c.size);
    bytes.remove_prefix(piece.size());
    if (c.size == 0) {
      AppendHexEscapes(piece, out);
    } else if (c.code_point == '\\') {
      out += "\\\\";
    } else if (!needs_escape(c.code_point)) {
      out.append(piece.data(), piece.size());
    } else if (c.code_point == '\n') {
      out += "\\n";
    } else if (c.code_point == '\t') {
      out += "\\t";
    } else if (c.code_point == '\r') {
      out += "\\r";
    } else {
      AppendHexEscapes(piece, out);
    }
  }
  return out;
}

bool IsContinuation(char c) { return (static_cast<uint8_t>(c) & 0xc0) == 0x80; }

}  // namespace

std::string EscapeForDisplay(absl::string_view bytes) {
  return Escape(bytes, SteersDisplay);
}

std::string Quoted(absl::string_view bytes, size_t max_size) {
  if (bytes.size() <= max_size) {
    return absl::StrCat("\"", EscapeForDisplay(bytes), "\"");
  }
  size_t size = max_size;
  while (size > 0 && max_size - size < 3 && IsContinuation(bytes[size])) {
    --size;
  }
  // Bytes that are no UTF-8 may be cut anywhere.
  if (IsContinuation(bytes[size])) size = max_size;
  return absl::StrCat("\"", EscapeForDisplay(bytes.substr(0, size)), "\"...");
}

std::string EscapeForJson(absl::string_view bytes) {
  return Escape(bytes, [](uint32_t) { return false; });
}

}  // namespace cupel
