#include "common/util/hex.h"

#include <array>
#include <string>

#include "catch2/catch.hpp"
#include "tests/support/status_matchers.h"

namespace cupel {
namespace {

using absl::StatusCode;
using testing::IsOk;
using testing::StatusIs;
using testing::StatusOf;

TEST_CASE("Every byte goes to hex and back") {
  std::vector<uint8_t> bytes;
  for (unsigned i = 0; i < 256; ++i) bytes.push_back(static_cast<uint8_t>(i));
  const std::string hex = HexEncode(bytes);
  CHECK(hex.substr(0, 8) == "00010203");
  CHECK(hex.substr(hex.size() - 4) == "feff");
  const auto decoded = HexDecode(hex);
  REQUIRE_THAT(StatusOf(decoded), IsOk());
  CHECK(*decoded == bytes);
  CHECK(HexEncode({}).empty());
  CHECK(HexDecode("")->empty());
}

TEST_CASE("Hex of either case is read") {
  CHECK(*HexDecode("abCDef09") == std::vector<uint8_t>{0xab, 0xcd, 0xef, 9});
}

TEST_CASE("An odd number of digits is refused") {
  CHECK_THAT(StatusOf(HexDecode("abc")),
             StatusIs(StatusCode::kInvalidArgument, "odd"));
  CHECK_THAT(StatusOf(HexDecode("a")), StatusIs(StatusCode::kInvalidArgument));
}

TEST_CASE("Any other character is refused, with its position") {
  for (unsigned c = 0; c < 256; ++c) {
    const char character = static_cast<char>(c);
    const bool digit = (character >= '0' && character <= '9') ||
                       (character >= 'a' && character <= 'f') ||
                       (character >= 'A' && character <= 'F');
    CAPTURE(c);
    const std::string low = std::string("00a") + character + "00";
    const std::string high = std::string("00") + character + "a00";
    std::array<uint8_t, 3> out{};
    CHECK(HexDecodeTo(low, out) == digit);
    CHECK(HexDecodeTo(high, out) == digit);
    CHECK(HexDecode(low).ok() == digit);
    if (!digit) {
      CHECK_THAT(StatusOf(HexDecode(low)),
                 StatusIs(StatusCode::kInvalidArgument, "character 4"));
      CHECK_THAT(StatusOf(HexDecode(high)),
                 StatusIs(StatusCode::kInvalidArgument, "character 3"));
    }
  }
  CHECK_FALSE(HexDecode("0x00").ok());
  CHECK_FALSE(HexDecode("00 11").ok());
}

TEST_CASE("HexDecodeTo wants an output of the right size") {
  std::array<uint8_t, 2> out{};
  CHECK(HexDecodeTo("0aB1", out));
  CHECK(out == std::array<uint8_t, 2>{0x0a, 0xb1});
  CHECK_FALSE(HexDecodeTo("0ab", out));
  CHECK_FALSE(HexDecodeTo("0ab1c", out));
  CHECK_FALSE(HexDecodeTo("0ab1c2", out));
  CHECK_FALSE(HexDecodeTo("", out));
  CHECK(HexDecodeTo("", {}));
}

}  // namespace
}  // namespace cupel
