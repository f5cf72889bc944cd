#include <cstdint>
#include <cstdlib>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/string_view.h"
#include "common/util/bytes.h"
#include "common/util/escape.h"
#include "common/util/hex.h"

namespace {

void Check(bool holds) {
  if (!holds) std::abort();
}

// What was escaped: proof that no two inputs look alike.
std::string Unescape(absl::string_view text) {
  std::string out;
  while (!text.empty()) {
    if (text[0] != '\\') {
      out += text[0];
      text.remove_prefix(1);
      continue;
    }
    Check(text.size() >= 2);
    const char kind = text[1];
    text.remove_prefix(2);
    if (kind == 'x') {
      uint8_t byte = 0;
      Check(text.size() >= 2 &&
            cupel::HexDecodeTo(text.substr(0, 2), {&byte, 1}));
      out += static_cast<char>(byte);
      text.remove_prefix(2);
    } else {
      Check(kind == '\\' || kind == 'n' || kind == 't' || kind == 'r');
      out += kind == 'n'   ? '\n'
             : kind == 't' ? '\t'
             : kind == 'r' ? '\r'
                           : '\\';
    }
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view input = cupel::AsText({data, size});
  const std::string shown = cupel::EscapeForDisplay(input);
  for (const char c : shown) {
    Check(!absl::ascii_iscntrl(static_cast<unsigned char>(c)));
  }
  Check(Unescape(shown) == input);
  const std::string json = cupel::EscapeForJson(input);
  Check(Unescape(json) == input);
  // What was escaped is valid UTF-8: only its backslashes change again.
  std::string doubled;
  for (const char c : json) doubled += c == '\\' ? "\\\\" : std::string(1, c);
  Check(cupel::EscapeForJson(json) == doubled);
  return 0;
}
