#include "common/util/byte_reader.h"

#include <limits>
#include <span>
#include <vector>

#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "tests/support/status_matchers.h"

namespace cupel {
namespace {

using absl::StatusCode;
using testing::IsOk;
using testing::StatusIs;
using testing::StatusOf;

const std::vector<uint8_t> kOneToFifteen = {1, 2,  3,  4,  5,  6,  7, 8,
                                            9, 10, 11, 12, 13, 14, 15};

TEST_CASE("Integers are read in the order that the format states") {
  ByteReader little(kOneToFifteen, ByteOrder::kLittle);
  CHECK(*little.ReadU8("a") == 0x01);
  CHECK(*little.ReadU16("b") == 0x0302);
  CHECK(*little.ReadU32("c") == 0x07060504);
  CHECK(*little.ReadU64("d") == 0x0f0e0d0c0b0a0908);
  CHECK(little.empty());

  ByteReader big(kOneToFifteen, ByteOrder::kBig);
  CHECK(*big.ReadU8("a") == 0x01);
  CHECK(*big.ReadU16("b") == 0x0203);
  CHECK(*big.ReadU32("c") == 0x04050607);
  CHECK(*big.ReadU64("d") == 0x08090a0b0c0d0e0f);
  CHECK(big.empty());

  CHECK(*ByteReader(kOneToFifteen).ReadU16("default is little") == 0x0201);
}

TEST_CASE("Integers of all ones keep every bit") {
  const std::vector<uint8_t> ones(15, 0xff);
  for (const ByteOrder order : {ByteOrder::kLittle, ByteOrder::kBig}) {
    ByteReader reader(ones, order);
    CHECK(*reader.ReadU8("a") == std::numeric_limits<uint8_t>::max());
    CHECK(*reader.ReadU16("b") == std::numeric_limits<uint16_t>::max());
    CHECK(*reader.ReadU32("c") == std::numeric_limits<uint32_t>::max());
    CHECK(*reader.ReadU64("d") == std::numeric_limits<uint64_t>::max());
  }
}

TEST_CASE("An integer cut short is refused and nothing is read") {
  for (size_t size = 0; size < 8; ++size) {
    CAPTURE(size);
    const std::span<const uint8_t> data = std::span(kOneToFifteen).first(size);
    ByteReader reader(data);
    CHECK_THAT(StatusOf(reader.ReadU64("the clock")),
               StatusIs(StatusCode::kInvalidArgument, "the clock"));
    CHECK(reader.remaining() == size);
    if (size < 4) {
      CHECK_THAT(StatusOf(reader.ReadU32("f")),
                 StatusIs(StatusCode::kInvalidArgument));
    }
    if (size < 2) {
      CHECK_THAT(StatusOf(reader.ReadU16("f")),
                 StatusIs(StatusCode::kInvalidArgument));
    }
    if (size < 1) {
      CHECK_THAT(StatusOf(reader.ReadU8("f")),
                 StatusIs(StatusCode::kInvalidArgument));
    }
    CHECK(reader.remaining() == size);
  }
}

TEST_CASE("ReadBytes gives a view into the buffer") {
  ByteReader reader(kOneToFifteen);
  const auto bytes = reader.ReadBytes(3, "digest");
  REQUIRE_THAT(StatusOf(bytes), IsOk());
  CHECK(bytes->data() == kOneToFifteen.data());
  CHECK(bytes->size() == 3);
  CHECK(reader.remaining() == 12);
  CHECK(reader.rest().data() == kOneToFifteen.data() + 3);
  CHECK(reader.ReadBytes(0, "nothing")->empty());
  CHECK(reader.ReadBytes(12, "the rest")->size() == 12);
  CHECK(reader.empty());
}

TEST_CASE("ReadBytes refuses any size over what is left") {
  for (const size_t size : {size_t{16}, size_t{17}, size_t{0xffffffff},
                            std::numeric_limits<size_t>::max() - 14,
                            std::numeric_limits<size_t>::max()}) {
    CAPTURE(size);
    ByteReader reader(kOneToFifteen);
    CHECK_THAT(StatusOf(reader.ReadBytes(size, "digest")),
               StatusIs(StatusCode::kInvalidArgument, "digest: need"));
    CHECK(reader.remaining() == 15);
  }
}

TEST_CASE("ReadSized takes exactly the bytes that the size says") {
  const std::vector<uint8_t> little = {2, 0, 0xaa, 0xbb, 1, 0, 0, 0, 0xcc, 9};
  ByteReader reader(little);
  CHECK(*reader.ReadU8("skip") == 2);
  reader = ByteReader(little);
  auto bytes = reader.ReadSized16(2, "nonce");
  REQUIRE_THAT(StatusOf(bytes), IsOk());
  CHECK(ToVector(*bytes) == std::vector<uint8_t>{0xaa, 0xbb});
  bytes = reader.ReadSized32(1, "name");
  REQUIRE_THAT(StatusOf(bytes), IsOk());
  CHECK(ToVector(*bytes) == std::vector<uint8_t>{0xcc});
  CHECK(reader.remaining() == 1);

  const std::vector<uint8_t> big = {0, 1, 0xaa, 0, 0, 0, 0};
  reader = ByteReader(big, ByteOrder::kBig);
  CHECK(reader.ReadSized16(9, "nonce")->size() == 1);
  CHECK(reader.ReadSized32(9, "name")->empty());
  CHECK(reader.empty());
}

TEST_CASE("ReadSized refuses a size over the bound before it reads on") {
  const std::vector<uint8_t> data = {3, 0, 0, 0, 1, 2, 3};
  ByteReader reader(data);
  CHECK_THAT(StatusOf(reader.ReadSized32(2, "path")),
             StatusIs(StatusCode::kResourceExhausted, "path: 3 bytes"));
  CHECK(reader.remaining() == data.size());
  CHECK_THAT(StatusOf(reader.ReadSized16(2, "path")),
             StatusIs(StatusCode::kResourceExhausted));
  CHECK(reader.remaining() == data.size());
  CHECK(reader.ReadSized32(3, "path")->size() == 3);
}

TEST_CASE("ReadSized refuses a size over the buffer and stays in place") {
  const std::vector<uint8_t> huge = {0xff, 0xff, 0xff, 0xff, 1};
  ByteReader reader(huge);
  CHECK_THAT(
      StatusOf(reader.ReadSized32(std::numeric_limits<size_t>::max(), "name")),
      StatusIs(StatusCode::kInvalidArgument, "name"));
  CHECK(reader.remaining() == huge.size());
  CHECK_THAT(
      StatusOf(reader.ReadSized16(std::numeric_limits<size_t>::max(), "name")),
      StatusIs(StatusCode::kInvalidArgument, "name"));
  CHECK(reader.remaining() == huge.size());
}

TEST_CASE("ReadSized refuses every prefix") {
  const std::vector<uint8_t> whole = {3, 0, 0, 0, 1, 2, 3};
  for (size_t size = 0; size < whole.size(); ++size) {
    CAPTURE(size);
    const std::span<const uint8_t> prefix = std::span(whole).first(size);
    ByteReader reader(prefix);
    CHECK_THAT(StatusOf(reader.ReadSized32(100, "name")),
               StatusIs(StatusCode::kInvalidArgument));
    CHECK(reader.remaining() == size);
  }
}

TEST_CASE("ExpectEnd counts what is left over") {
  ByteReader reader(kOneToFifteen);
  CHECK_THAT(reader.ExpectEnd("quote"),
             StatusIs(StatusCode::kInvalidArgument, "quote: 15 bytes"));
  REQUIRE(reader.ReadBytes(14, "most").ok());
  CHECK_THAT(reader.ExpectEnd("quote"),
             StatusIs(StatusCode::kInvalidArgument, "quote: 1 bytes"));
  REQUIRE(reader.ReadU8("last").ok());
  CHECK_THAT(reader.ExpectEnd("quote"), IsOk());
}

}  // namespace
}  // namespace cupel
