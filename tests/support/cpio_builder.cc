#include "tests/support/cpio_builder.h"

#include <bzlib.h>
#include <lz4.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "common/util/bytes.h"

namespace cupel::testing {
namespace {

void Require(bool ok, const char* what) {
  if (ok) return;
  std::cerr << "cpio builder: " << what << '\n';
  std::abort();
}

void Pad(std::string& bytes) {
  while (bytes.size() % 4 != 0) bytes.push_back('\0');
}

std::string Hex8(uint32_t number) {
  char digits[9] = "";
  std::snprintf(digits, sizeof(digits), "%08X", number);
  return digits;
}

void AppendEntry(const CpioBuilder::Entry& entry, uint32_t inode,
                 std::string& bytes) {
  const auto content = AsBytes(entry.content);
  const uint32_t sum =
      std::accumulate(content.begin(), content.end(), entry.wrong_sum);
  const auto size = static_cast<uint32_t>(entry.content.size());
  const auto name_size = static_cast<uint32_t>(entry.name.size() + 1);
  absl::StrAppend(&bytes, entry.with_sum ? "070702" : "070701");
  for (const uint32_t field :
       {inode, entry.mode, 0U, 0U, entry.link_count, 0U, size, 8U, 1U, 0U, 0U,
        name_size, entry.with_sum ? sum : 0U}) {
    bytes += Hex8(field);
  }
  bytes += entry.name;
  bytes.push_back('\0');
  Pad(bytes);
  bytes += entry.content;
  Pad(bytes);
}

std::string LzmaEncode(absl::string_view bytes, bool alone) {
  lzma_stream stream = LZMA_STREAM_INIT;
  lzma_options_lzma options;
  Require(lzma_lzma_preset(&options, 1) == 0, "lzma preset");
  Require((alone ? lzma_alone_encoder(&stream, &options)
                 : lzma_easy_encoder(&stream, 1, LZMA_CHECK_CRC32)) == LZMA_OK,
          "lzma encoder");
  std::string out(bytes.size() + (size_t{1} << 16), '\0');
  stream.next_in = AsBytes(bytes).data();
  stream.avail_in = bytes.size();
  stream.next_out = reinterpret_cast<uint8_t*>(out.data());
  stream.avail_out = out.size();
  Require(lzma_code(&stream, LZMA_FINISH) == LZMA_STREAM_END, "lzma");
  out.resize(out.size() - stream.avail_out);
  lzma_end(&stream);
  return out;
}

void AppendLe32(uint32_t number, std::string& out) {
  for (int shift = 0; shift < 32; shift += 8) {
    out.push_back(static_cast<char>(number >> shift & 0xff));
  }
}

}  // namespace

CpioBuilder& CpioBuilder::Add(const Entry& entry) {
  AppendEntry(entry, entry.inode == 0 ? next_inode_++ : entry.inode, bytes_);
  return *this;
}

CpioBuilder& CpioBuilder::File(absl::string_view name,
                               absl::string_view content) {
  Entry entry;
  entry.name = std::string(name);
  entry.content = std::string(content);
  return Add(entry);
}

CpioBuilder& CpioBuilder::Folder(absl::string_view name) {
  Entry entry;
  entry.name = std::string(name);
  entry.mode = 040755;
  return Add(entry);
}

CpioBuilder& CpioBuilder::Symlink(absl::string_view name,
                                  absl::string_view target) {
  Entry entry;
  entry.name = std::string(name);
  entry.content = std::string(target);
  entry.mode = 0120777;
  return Add(entry);
}

std::string CpioBuilder::Build() const {
  std::string bytes = bytes_;
  Entry trailer;
  trailer.name = "TRAILER!!!";
  trailer.mode = 0;
  AppendEntry(trailer, 0, bytes);
  return bytes;
}

std::string Gzip(absl::string_view bytes) {
  z_stream stream = {};
  Require(deflateInit2(&stream, 6, Z_DEFLATED, 16 + MAX_WBITS, 8,
                       Z_DEFAULT_STRATEGY) == Z_OK,
          "deflateInit2");
  std::string out(deflateBound(&stream, bytes.size()), '\0');
  stream.next_in = const_cast<Bytef*>(AsBytes(bytes).data());
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  Require(deflate(&stream, Z_FINISH) == Z_STREAM_END, "deflate");
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string Bzip2(absl::string_view bytes) {
  std::string in(bytes);
  std::string out(in.size() + in.size() / 50 + 1000, '\0');
  auto size = static_cast<unsigned int>(out.size());
  Require(BZ2_bzBuffToBuffCompress(out.data(), &size, in.data(),
                                   static_cast<unsigned int>(in.size()), 9, 0,
                                   0) == BZ_OK,
          "bzip2");
  out.resize(size);
  return out;
}

std::string Xz(absl::string_view bytes) { return LzmaEncode(bytes, false); }
std::string Lzma(absl::string_view bytes) { return LzmaEncode(bytes, true); }

std::string Zstd(absl::string_view bytes) {
  std::string out(ZSTD_compressBound(bytes.size()), '\0');
  const size_t size =
      ZSTD_compress(out.data(), out.size(), bytes.data(), bytes.size(), 3);
  Require(ZSTD_isError(size) == 0, "zstd");
  out.resize(size);
  return out;
}

std::string Lz4(absl::string_view bytes, size_t block_size) {
  std::string out;
  AppendLe32(0x184c2102, out);
  for (size_t at = 0; at < bytes.size(); at += block_size) {
    const absl::string_view block = bytes.substr(at, block_size);
    const int bound = LZ4_compressBound(static_cast<int>(block.size()));
    std::string packed(static_cast<size_t>(bound), '\0');
    const int size = LZ4_compress_default(
        block.data(), packed.data(), static_cast<int>(block.size()), bound);
    Require(size > 0, "lz4");
    packed.resize(static_cast<size_t>(size));
    AppendLe32(static_cast<uint32_t>(packed.size()), out);
    out += packed;
  }
  return out;
}

}  // namespace cupel::testing
