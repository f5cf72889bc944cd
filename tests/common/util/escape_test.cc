#include "common/util/escape.h"

#include <map>
#include <string>
#include <vector>

#include "catch2/catch.hpp"

namespace cupel {
namespace {

std::string Utf8(uint32_t c) {
  const auto byte = [](uint32_t value) { return static_cast<char>(value); };
  if (c < 0x80) return {byte(c)};
  if (c < 0x800) return {byte(0xc0 | c >> 6), byte(0x80 | (c & 0x3f))};
  if (c < 0x10000) {
    return {byte(0xe0 | c >> 12), byte(0x80 | (c >> 6 & 0x3f)),
            byte(0x80 | (c & 0x3f))};
  }
  return {byte(0xf0 | c >> 18), byte(0x80 | (c >> 12 & 0x3f)),
          byte(0x80 | (c >> 6 & 0x3f)), byte(0x80 | (c & 0x3f))};
}

// "\xNN" for each byte.
std::string HexEscaped(const std::string& bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const char c : bytes) {
    const auto byte = static_cast<uint8_t>(c);
    out += "\\x";
    out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
  }
  return out;
}

TEST_CASE("Printable text is shown as it is") {
  for (const char* text :
       {"", "/usr/bin/bash", "a b ~ \"'<>&", "\xc3\xa4\xe2\x82\xac",
        "\xf0\x9f\x94\x91", "\xe6\xbc\xa2"}) {
    CAPTURE(text);
    CHECK(EscapeForDisplay(text) == text);
    CHECK(EscapeForJson(text) == text);
  }
}

TEST_CASE("Control characters never reach a terminal") {
  CHECK(EscapeForDisplay("a\nb\tc\rd") == "a\\nb\\tc\\rd");
  CHECK(EscapeForDisplay("\x1b[2J") == "\\x1b[2J");
  CHECK(EscapeForDisplay(std::string("a\0b", 3)) == "a\\x00b");
  for (uint32_t c = 0; c < 0xa0; ++c) {
    if (c >= 0x20 && c < 0x7f) continue;
    if (c == '\n' || c == '\t' || c == '\r') continue;
    CAPTURE(c);
    CHECK(EscapeForDisplay(Utf8(c)) == HexEscaped(Utf8(c)));
  }
}

TEST_CASE("Characters that reorder or hide text never reach a terminal") {
  for (const uint32_t c : std::vector<uint32_t>{
           0xad,   0x61c,  0x180e,  0x200b, 0x200c, 0x200d, 0x200e,
           0x200f, 0x2028, 0x2029,  0x202a, 0x202b, 0x202c, 0x202d,
           0x202e, 0x2060, 0x2066,  0x2067, 0x2068, 0x2069, 0xfeff,
           0xfff9, 0xfffb, 0xe0001, 0xe0041}) {
    CAPTURE(c);
    CHECK(EscapeForDisplay("a" + Utf8(c) + "b") ==
          "a" + HexEscaped(Utf8(c)) + "b");
  }
  // Their neighbours are letters and spaces like any other.
  for (const uint32_t c : {0xa1u, 0x61bu, 0x2010u, 0x202fu, 0x2070u, 0xfffdu}) {
    CAPTURE(c);
    CHECK(EscapeForDisplay(Utf8(c)) == Utf8(c));
  }
}

TEST_CASE("Bytes that are no UTF-8 are shown one by one") {
  for (const std::string bytes :
       {"\x80", "\xbf", "\xc0\xaf", "\xc1\xbf", "\xc3", "\xe2\x82", "\xff",
        "\xfe", "\xf5\x80\x80\x80", "\xf0\x9f\x94",
        // Overlong forms of '/', and of U+07FF and U+FFFF.
        "\xe0\x80\xaf", "\xe0\x9f\xbf", "\xf0\x80\x80\xaf", "\xf0\x8f\xbf\xbf",
        // Surrogates, and past U+10FFFF.
        "\xed\xa0\x80", "\xed\xbf\xbf", "\xf4\x90\x80\x80"}) {
    CAPTURE(HexEscaped(bytes));
    CHECK(EscapeForDisplay(bytes) == HexEscaped(bytes));
    CHECK(EscapeForJson(bytes) == HexEscaped(bytes));
    // What follows is not swallowed.
    CHECK(EscapeForDisplay(bytes + "a") == HexEscaped(bytes) + "a");
  }
  // The first and last of each length are characters.
  for (const uint32_t c : {0x7eu, 0xa0u, 0x7ffu, 0x800u, 0xd7ffu, 0xe000u,
                           0xffffu, 0x10000u, 0x10ffffu}) {
    CAPTURE(c);
    CHECK(EscapeForDisplay(Utf8(c)) == Utf8(c));
  }
}

TEST_CASE("A backslash is doubled, so that no text imitates an escape") {
  CHECK(EscapeForDisplay("a\\nb") == "a\\\\nb");
  CHECK(EscapeForDisplay("\\x1b") == "\\\\x1b");
  CHECK(EscapeForJson("\\xff") == "\\\\xff");
}

TEST_CASE("Two different inputs never look alike") {
  // Every string of up to four symbols from those that an escape is made of,
  // and those that are escaped.
  const std::vector<std::string> symbols = {
      "\\", "x", "0", "a", "n", "\n", "\x0a\x80", "\xff", "\x1b", "\xc3\xa4"};
  std::vector<std::string> inputs = {""};
  for (size_t from = 0, length = 0; length < 4; ++length) {
    const size_t end = inputs.size();
    for (; from < end; ++from) {
      for (const std::string& symbol : symbols) {
        inputs.push_back(inputs[from] + symbol);
      }
    }
  }
  std::map<std::string, std::string> displayed;
  std::map<std::string, std::string> json;
  for (const std::string& input : inputs) {
    const auto shown = displayed.emplace(EscapeForDisplay(input), input);
    CHECK(shown.first->second == input);
    const auto written = json.emplace(EscapeForJson(input), input);
    CHECK(written.first->second == input);
  }
}

TEST_CASE("JSON text keeps control characters for its writer to escape") {
  CHECK(EscapeForJson("a\n\x1b\xe2\x80\xae") == "a\n\x1b\xe2\x80\xae");
  CHECK(EscapeForJson("a\xff") == "a\\xff");
}

TEST_CASE("Quoted is escaped, and says that it was cut") {
  CHECK(Quoted("") == "\"\"");
  CHECK(Quoted("a\n\\") == "\"a\\n\\\\\"");
  CHECK(Quoted("abc", 3) == "\"abc\"");
  CHECK(Quoted("abc", 2) == "\"ab\"...");
  CHECK(Quoted("abc", 0) == "\"\"...");
  // A character is not cut apart; bytes that are none are cut anywhere.
  for (const uint32_t c : {0xe4u, 0x20acu, 0x1f511u}) {
    const std::string text = "a" + Utf8(c);
    for (size_t size = 1; size < text.size(); ++size) {
      CHECK(Quoted(text, size) == "\"a\"...");
    }
    CHECK(Quoted(text, text.size()) == "\"" + text + "\"");
  }
  CHECK(Quoted(std::string(9, '\x80'), 2) == "\"\\x80\\x80\"...");
}

}  // namespace
}  // namespace cupel
