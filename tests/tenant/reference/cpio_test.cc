#include "tenant/reference/cpio.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "tests/support/cpio_builder.h"
#include "tests/support/status_matchers.h"

namespace cupel::tenant {
namespace {

using absl::StatusCode;
using testing::CpioBuilder;
using testing::IsOk;
using testing::StatusIs;
using testing::StatusOf;

// `text` in pieces of that size; it outlives the stream.
ByteStream StreamOf(const std::string& text, size_t piece = 5) {
  return ByteStream([rest = AsBytes(text), piece]() mutable {
    const auto next = rest.first(std::min(piece, rest.size()));
    rest = rest.subspan(next.size());
    return absl::StatusOr<std::span<const uint8_t>>(next);
  });
}

TEST_CASE("A stream is read across its pieces") {
  const std::string text = "hello, world";
  ByteStream stream = StreamOf(text, 3);
  CHECK(*stream.Peek() == 'h');
  CHECK(*stream.ReadText(5, "word") == "hello");
  CHECK_THAT(stream.Skip(2, "comma"), IsOk());
  CHECK(stream.position() == 7);
  CHECK(*stream.ReadText(5, "word") == "world");
  CHECK(*stream.Peek() == std::nullopt);
  CHECK(*stream.ReadText(0, "nothing") == "");
  CHECK_THAT(StatusOf(stream.ReadText(2, "word")),
             StatusIs(StatusCode::kInvalidArgument,
                      "word: breaks off, 2 bytes are missing"));
}

TEST_CASE("Zeros are skipped up to what follows them") {
  const std::string text = std::string(20, '\0') + "x" + std::string(9, '\0');
  ByteStream stream = StreamOf(text, 7);
  CHECK_THAT(stream.SkipZeros(), IsOk());
  CHECK(stream.position() == 20);
  CHECK_THAT(stream.SkipZeros(), IsOk());
  CHECK(*stream.ReadText(1, "x") == "x");
  CHECK_THAT(stream.SkipZeros(), IsOk());
  CHECK(stream.position() == text.size());
}

TEST_CASE("What the source says goes through") {
  ByteStream stream([]() -> absl::StatusOr<std::span<const uint8_t>> {
    return absl::DataLossError("gone");
  });
  CHECK_THAT(StatusOf(stream.Peek()), StatusIs(StatusCode::kDataLoss, "gone"));
  CHECK_THAT(stream.SkipZeros(), StatusIs(StatusCode::kDataLoss, "gone"));
  CHECK_THAT(stream.Skip(1, "x"), StatusIs(StatusCode::kDataLoss, "gone"));
}

TEST_CASE("A header says what it says") {
  CpioBuilder::Entry entry;
  entry.name = "usr/bin/ls";
  entry.content = "content";
  entry.mode = 0104755;
  entry.inode = 0xabcdef;
  entry.link_count = 3;
  entry.with_sum = true;
  const std::string archive = CpioBuilder().Add(entry).Build();
  ByteStream stream = StreamOf(archive);
  const auto header = ReadCpioHeader(stream);
  REQUIRE_THAT(StatusOf(header), IsOk());
  CHECK(header->name == "usr/bin/ls");
  CHECK(header->mode == 0104755);
  CHECK(header->inode == 0xabcdef);
  CHECK(header->link_count == 3);
  CHECK(header->size == 7);
  CHECK(header->device_major == 8);
  CHECK(header->device_minor == 1);
  CHECK(header->sum.has_value());
  CHECK_FALSE(header->IsTrailer());
  CHECK(*stream.ReadText(7, "content") == "content");
  CHECK_THAT(SkipCpioPadding(stream), IsOk());
  CHECK(stream.position() % 4 == 0);
  CHECK(ReadCpioHeader(stream)->IsTrailer());
}

std::string Header(const std::string& name) {
  return CpioBuilder().File(name, "").entries();
}

TEST_CASE("Every prefix of a header breaks off") {
  const std::string header = Header("a/name");
  for (size_t size = 0; size < header.size(); ++size) {
    CAPTURE(size);
    const std::string cut = header.substr(0, size);
    ByteStream stream = StreamOf(cut);
    CHECK_THAT(StatusOf(ReadCpioHeader(stream)),
               StatusIs(StatusCode::kInvalidArgument, "breaks off"));
  }
}

absl::Status Read(std::string header, size_t at, absl::string_view with) {
  header.replace(at, with.size(), with.data(), with.size());
  ByteStream stream = StreamOf(header);
  return ReadCpioHeader(stream).status();
}

TEST_CASE("Other magic numbers and digits are refused") {
  const std::string header = Header("name");
  CHECK_THAT(Read(header, 0, "070701"), IsOk());
  CHECK_THAT(Read(header, 0, "070707"),
             StatusIs(StatusCode::kInvalidArgument, "cpio -H newc"));
  CHECK_THAT(Read(header, 0, "070703"),
             StatusIs(StatusCode::kInvalidArgument, "no cpio header"));
  for (const char* digit : {" ", "x", "-", "+", "G"}) {
    CAPTURE(digit);
    for (size_t at = 6; at < 110; ++at) {
      CHECK_THAT(Read(header, at, digit),
                 StatusIs(StatusCode::kInvalidArgument, "not hexadecimal"));
    }
  }
  // The name's NUL.
  CHECK_THAT(Read(header, 114, "x"),
             StatusIs(StatusCode::kInvalidArgument, "no NUL"));
}

TEST_CASE("A name that the kernel does not take is none") {
  const auto name = [](const std::string& given) {
    const std::string archive =
        CpioBuilder().File(given, "").File("next", "").Build();
    ByteStream stream = StreamOf(archive, 1000);
    const auto header = ReadCpioHeader(stream);
    REQUIRE_THAT(StatusOf(header), IsOk());
    CHECK(ReadCpioHeader(stream)->name == "next");
    return header->name;
  };
  CHECK(name("a") == "a");
  CHECK(name("") == std::nullopt);
  CHECK(name(std::string("a\0b", 3)) == "a");
  CHECK(name(std::string(4095, 'x')) == std::string(4095, 'x'));
  CHECK(name(std::string(4096, 'x')) == std::nullopt);
  CHECK(name(std::string(100'000, 'x')) == std::nullopt);
}

TEST_CASE("A size that nothing stands behind is told by what is missing") {
  const std::string header = Header("name");
  // namesize, the twelfth field.
  CHECK_THAT(Read(header, 6 + 11 * 8, "FFFFFFFF"),
             StatusIs(StatusCode::kInvalidArgument, "breaks off"));
}

}  // namespace
}  // namespace cupel::tenant
