#include "common/util/utf8.h"

#include <string>
#include <utility>

#include "catch2/catch.hpp"

namespace cupel {
namespace {

TEST_CASE("What AppendUtf8 wrote, DecodeUtf8 reads") {
  for (uint32_t c = 0; c <= 0x10ffff; c += c < 0x3000 ? 1 : 37) {
    if (c >= 0xd800 && c <= 0xdfff) continue;
    std::string bytes;
    AppendUtf8(c, bytes);
    const Utf8Character read = DecodeUtf8(bytes + "\x80");
    REQUIRE(read.code_point == c);
    REQUIRE(read.size == bytes.size());
    // A cut character is none.
    for (size_t size = 0; size < bytes.size(); ++size) {
      REQUIRE(DecodeUtf8(bytes.substr(0, size)).size == 0);
    }
  }
}

TEST_CASE("The first and last character of each length") {
  const std::pair<uint32_t, std::string> known[] = {
      {0x0, std::string(1, '\0')},
      {0x7f, "\x7f"},
      {0x80, "\xc2\x80"},
      {0x7ff, "\xdf\xbf"},
      {0x800, "\xe0\xa0\x80"},
      {0xd7ff, "\xed\x9f\xbf"},
      {0xe000, "\xee\x80\x80"},
      {0xffff, "\xef\xbf\xbf"},
      {0x10000, "\xf0\x90\x80\x80"},
      {0x10ffff, "\xf4\x8f\xbf\xbf"}};
  for (const auto& [code_point, bytes] : known) {
    CAPTURE(code_point);
    std::string out = "a";
    AppendUtf8(code_point, out);
    CHECK(out == "a" + bytes);
    CHECK(DecodeUtf8(bytes).code_point == code_point);
    CHECK(DecodeUtf8(bytes).size == bytes.size());
  }
}

TEST_CASE("What is no character has no size") {
  for (const char* bytes :
       {"", "\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2\x7f",
        "\xc2\xc0", "\xe0\x9f\xbf", "\xe2\x82", "\xe2\x82\x41", "\xed\xa0\x80",
        "\xed\xbf\xbf", "\xf0\x8f\xbf\xbf", "\xf0\x9f\x94", "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80", "\xfe", "\xff"}) {
    CAPTURE(bytes);
    CHECK(DecodeUtf8(bytes).size == 0);
  }
}

}  // namespace
}  // namespace cupel
