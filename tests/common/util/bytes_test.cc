#include "common/util/bytes.h"

#include <string>

#include "catch2/catch.hpp"

namespace cupel {
namespace {

TEST_CASE("AsBytes and AsText alias what they are given") {
  const std::string text("a\0\xff", 3);
  const std::span<const uint8_t> bytes = AsBytes(text);
  CHECK(ToVector(bytes) == std::vector<uint8_t>{'a', 0, 0xff});
  CHECK(AsText(bytes) == text);
  CHECK(static_cast<const void*>(AsText(bytes).data()) == text.data());
  CHECK(AsBytes("").empty());
}

TEST_CASE("AppendBe writes the highest byte first, in the type's size") {
  std::vector<uint8_t> out = {0xee};
  AppendBe<uint8_t>(out, 1);
  AppendBe<uint16_t>(out, 0x0203);
  AppendBe<uint32_t>(out, 0x04050607);
  AppendBe<uint64_t>(out, 0xf8090a0b0c0d0e0f);
  Append(out, std::vector<uint8_t>{0xdd});
  CHECK(out == std::vector<uint8_t>{0xee, 1, 2, 3, 4, 5, 6, 7, 0xf8, 9, 10, 11,
                                    12, 13, 14, 15, 0xdd});
}

TEST_CASE("IsZero is true for zeros alone, and for nothing") {
  std::vector<uint8_t> bytes(70);
  CHECK(IsZero({}));
  CHECK(IsZero(bytes));
  for (uint8_t& byte : bytes) {
    byte = 0x80;
    CHECK_FALSE(IsZero(bytes));
    byte = 0;
  }
}

}  // namespace
}  // namespace cupel
