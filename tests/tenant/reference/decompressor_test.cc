#include "tenant/reference/decompressor.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "tests/support/cpio_builder.h"
#include "tests/support/status_matchers.h"

namespace cupel::tenant {
namespace {

using absl::StatusCode;
using testing::StatusIs;
using testing::StatusOf;

struct Format {
  Compression compression;
  std::string (*pack)(absl::string_view);
};
const std::vector<Format> kFormats = {
    {Compression::kGzip, testing::Gzip},
    {Compression::kBzip2, testing::Bzip2},
    {Compression::kLzma, testing::Lzma},
    {Compression::kXz, testing::Xz},
    {Compression::kLz4,
     [](absl::string_view bytes) { return testing::Lz4(bytes, 1000); }},
    {Compression::kZstd, testing::Zstd}};

std::string Message() {
  std::string text;
  for (int i = 0; i < 5000; ++i) absl::StrAppend(&text, "line ", i * i, "\n");
  return text;
}

// All that comes out, `piece` bytes at a time; the stream's size in `consumed`.
absl::StatusOr<std::string> Unpack(Compression compression,
                                   absl::string_view packed, size_t piece,
                                   size_t* consumed = nullptr) {
  auto decompressor = Decompressor::Create(compression);
  if (!decompressor.ok()) return decompressor.status();
  std::string out;
  std::vector<uint8_t> buffer(piece);
  size_t at = 0;
  while (true) {
    const auto step = (*decompressor)->Run(AsBytes(packed).subspan(at), buffer);
    if (!step.ok()) return step.status();
    at += step->consumed;
    const auto text = AsText(std::span(buffer).first(step->produced));
    out.append(text.data(), text.size());
    if (step->ended) break;
  }
  if (consumed != nullptr) *consumed = at;
  return out;
}

TEST_CASE("Each format is told by its first bytes, and unpacked") {
  for (const Format& format : kFormats) {
    CAPTURE(CompressionName(format.compression));
    const std::string packed = format.pack(Message());
    CHECK(DetectCompression(AsBytes(packed)) == format.compression);
    for (const size_t piece : {size_t{1}, size_t{1000}, size_t{1} << 20}) {
      size_t consumed = 0;
      const auto out = Unpack(format.compression, packed, piece, &consumed);
      REQUIRE(out.ok());
      CHECK(*out == Message());
      CHECK(consumed == packed.size());
    }
  }
  CHECK_FALSE(DetectCompression(AsBytes("07")).has_value());
  CHECK_FALSE(DetectCompression(AsBytes("\x1f")).has_value());
  CHECK_FALSE(DetectCompression({}).has_value());
}

TEST_CASE("The end of a stream is found, whatever follows it") {
  for (const Format& format : kFormats) {
    CAPTURE(CompressionName(format.compression));
    const std::string packed = format.pack(Message());
    for (const std::string& more :
         {std::string(7, '\0'), std::string(64, '\0') + "070701",
          std::string(4, '\0') + format.pack("more")}) {
      size_t consumed = 0;
      const auto out =
          Unpack(format.compression, packed + more, 4096, &consumed);
      REQUIRE(out.ok());
      CHECK(*out == Message());
      CHECK(consumed == packed.size());
    }
  }
}

TEST_CASE("A stream that breaks off is an error") {
  for (const Format& format : kFormats) {
    CAPTURE(CompressionName(format.compression));
    // Of lz4's frame the end is that of the file: it only breaks off within a
    // block.
    const bool is_lz4 = format.compression == Compression::kLz4;
    const std::string packed =
        is_lz4 ? testing::Lz4(Message()) : format.pack(Message());
    for (size_t size = is_lz4 ? 9 : 2; size < packed.size();
         size += 1 + packed.size() / 300) {
      CAPTURE(size);
      CHECK_THAT(
          StatusOf(Unpack(format.compression, packed.substr(0, size), 4096)),
          StatusIs(StatusCode::kInvalidArgument, ""));
    }
  }
}

TEST_CASE("A changed byte is an error, or changes nothing but a header") {
  for (const Format& format : kFormats) {
    // Neither has a checksum.
    if (format.compression == Compression::kLz4 ||
        format.compression == Compression::kLzma ||
        format.compression == Compression::kZstd) {
      continue;
    }
    CAPTURE(CompressionName(format.compression));
    const std::string packed = format.pack(Message());
    for (size_t at = 0; at < packed.size(); at += 1 + packed.size() / 300) {
      CAPTURE(at);
      std::string damaged = packed;
      damaged[at] = static_cast<char>(damaged[at] ^ 0x20);
      const auto out = Unpack(format.compression, damaged, 4096);
      if (out.ok()) CHECK(*out == Message());
    }
  }
}

TEST_CASE("What can't be unpacked says so") {
  CHECK(DetectCompression(AsBytes("\x89LZO")) == Compression::kLzo);
  CHECK_THAT(StatusOf(Decompressor::Create(Compression::kLzo)),
             StatusIs(StatusCode::kUnimplemented,
                      "compressed by lzo, which is not supported; recompress "
                      "it, by xz or zstd for instance"));
  // A window of 4 GiB.
  const std::string lzma = testing::Lzma("x");
  std::string huge = lzma;
  huge.replace(1, 4, "\xff\xff\xff\xff");
  CHECK_FALSE(Unpack(Compression::kLzma, huge, 4096).ok());
  // A block larger than any.
  CHECK_FALSE(Unpack(Compression::kLz4,
                     std::string("\x02\x21\x4c\x18\xff\xff\xff\x7f", 8) +
                         std::string(100, 'x'),
                     4096)
                  .ok());
}

}  // namespace
}  // namespace cupel::tenant
