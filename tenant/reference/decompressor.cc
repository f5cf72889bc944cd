#include "tenant/reference/decompressor.h"

#include <bzlib.h>
#include <lz4.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/util/byte_reader.h"
#include "common/util/status_macros.h"

namespace cupel::tenant {
namespace {

using Input = std::span<const uint8_t>;
using Output = std::span<uint8_t>;
using Step = Decompressor::Step;

constexpr uint64_t kMaxMemory = uint64_t{512} << 20;

absl::Status Damaged(Compression compression) {
  return absl::InvalidArgumentError(
      absl::StrCat("damaged ", CompressionName(compression), " data"));
}

absl::Status NoMemory() { return absl::ResourceExhaustedError("no memory"); }

// What of a buffer a library with sizes of type unsigned int can take.
unsigned int Clamp(size_t size) {
  return static_cast<unsigned int>(
      std::min<size_t>(size, std::numeric_limits<unsigned int>::max()));
}

class Gunzip final : public Decompressor {
 public:
  // 16: a gzip header and trailer, not zlib's.
  Gunzip() { ready_ = inflateInit2(&stream_, 16 + MAX_WBITS) == Z_OK; }
  ~Gunzip() override {
    if (ready_) inflateEnd(&stream_);
  }

  absl::StatusOr<Step> RunStep(Input input, Output output) override {
    if (!ready_) return NoMemory();
    stream_.next_in = const_cast<Bytef*>(input.data());
    stream_.avail_in = Clamp(input.size());
    stream_.next_out = output.data();
    stream_.avail_out = Clamp(output.size());
    const unsigned int in = stream_.avail_in;
    const unsigned int out = stream_.avail_out;
    const int result = inflate(&stream_, Z_NO_FLUSH);
    // Z_BUF_ERROR: nothing more to be done with these two.
    if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR) {
      return Damaged(Compression::kGzip);
    }
    return Step{in - stream_.avail_in, out - stream_.avail_out,
                result == Z_STREAM_END};
  }

 private:
  z_stream stream_{};
  bool ready_ = false;
};

class Bunzip2 final : public Decompressor {
 public:
  Bunzip2() { ready_ = BZ2_bzDecompressInit(&stream_, 0, 0) == BZ_OK; }
  ~Bunzip2() override {
    if (ready_) BZ2_bzDecompressEnd(&stream_);
  }

  absl::StatusOr<Step> RunStep(Input input, Output output) override {
    if (!ready_) return NoMemory();
    // The interface has char* and no const; the library only reads there.
    stream_.next_in =
        const_cast<char*>(reinterpret_cast<const char*>(input.data()));
    stream_.avail_in = Clamp(input.size());
    stream_.next_out = reinterpret_cast<char*>(output.data());
    stream_.avail_out = Clamp(output.size());
    const unsigned int in = stream_.avail_in;
    const unsigned int out = stream_.avail_out;
    const int result = BZ2_bzDecompress(&stream_);
    if (result != BZ_OK && result != BZ_STREAM_END) {
      return Damaged(Compression::kBzip2);
    }
    return Step{in - stream_.avail_in, out - stream_.avail_out,
                result == BZ_STREAM_END};
  }

 private:
  bz_stream stream_{};
  bool ready_ = false;
};

class Unlzma final : public Decompressor {
 public:
  explicit Unlzma(Compression compression) : compression_(compression) {
    ready_ = (compression == Compression::kXz
                  ? lzma_stream_decoder(&stream_, kMaxMemory, 0)
                  : lzma_alone_decoder(&stream_, kMaxMemory)) == LZMA_OK;
  }
  ~Unlzma() override { lzma_end(&stream_); }

  absl::StatusOr<Step> RunStep(Input input, Output output) override {
    if (!ready_) return NoMemory();
    stream_.next_in = input.data();
    stream_.avail_in = input.size();
    stream_.next_out = output.data();
    stream_.avail_out = output.size();
    const lzma_ret result = lzma_code(&stream_, LZMA_RUN);
    if (result == LZMA_MEM_ERROR || result == LZMA_MEMLIMIT_ERROR) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "the ", CompressionName(compression_),
          " data needs a window of more than ", kMaxMemory >> 20, " MiB"));
    }
    if (result != LZMA_OK && result != LZMA_STREAM_END &&
        result != LZMA_BUF_ERROR) {
      return Damaged(compression_);
    }
    return Step{input.size() - stream_.avail_in,
                output.size() - stream_.avail_out, result == LZMA_STREAM_END};
  }

 private:
  lzma_stream stream_ = LZMA_STREAM_INIT;
  Compression compression_;
  bool ready_ = false;
};

class Unzstd final : public Decompressor {
 public:
  absl::StatusOr<Step> RunStep(Input input, Output output) override {
    if (context_ == nullptr) return NoMemory();
    ZSTD_inBuffer in = {input.data(), input.size(), 0};
    ZSTD_outBuffer out = {output.data(), output.size(), 0};
    // 0: the frame has ended, and all of it is out.
    const size_t result = ZSTD_decompressStream(context_.get(), &out, &in);
    if (ZSTD_isError(result) != 0) return Damaged(Compression::kZstd);
    return Step{in.pos, out.pos, result == 0};
  }

 private:
  struct Free {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  };
  // Its window is at most 128 MiB, as everywhere unless asked otherwise.
  std::unique_ptr<ZSTD_DCtx, Free> context_{ZSTD_createDCtx()};
};

// Blocks, each after its size as a u32, up to a size of 0 or the end of the
// input (Linux lib/decompress_unlz4.c).
class Unlz4 final : public Decompressor {
 public:
  absl::StatusOr<Step> RunStep(Input input, Output output) override {
    Step step;
    if (position_ == block_.size()) {
      ByteReader reader(input);
      CUPEL_ASSIGN_OR_RETURN(const bool more, NextBlock(reader));
      step.consumed = input.size() - reader.remaining();
      step.ended = !more;
    }
    step.produced = std::min(output.size(), block_.size() - position_);
    std::copy_n(block_.data() + position_, step.produced, output.data());
    position_ += step.produced;
    return step;
  }

 private:
  static constexpr uint32_t kMagic = 0x184c2102;
  static constexpr int kMaxBlockSize = 8 << 20;

  // False at the end of the stream.
  absl::StatusOr<bool> NextBlock(ByteReader& reader) {
    block_.clear();
    position_ = 0;
    if (reader.remaining() < sizeof(uint32_t)) {
      return started_ ? absl::StatusOr<bool>(false)
                      : Damaged(Compression::kLz4);
    }
    const ByteReader before = reader;
    CUPEL_ASSIGN_OR_RETURN(const uint32_t size, reader.ReadU32("block"));
    if (size == kMagic) {  // another such stream may follow at once
      started_ = true;
      return true;
    }
    if (!started_) return Damaged(Compression::kLz4);
    if (size == 0) {
      reader = before;
      return false;
    }
    const auto bytes =
        size > static_cast<uint32_t>(LZ4_compressBound(kMaxBlockSize))
            ? Damaged(Compression::kLz4)
            : reader.ReadBytes(size, "lz4 block");
    CUPEL_RETURN_IF_ERROR(bytes.status());
    block_.resize(kMaxBlockSize);
    const int unpacked =
        LZ4_decompress_safe(reinterpret_cast<const char*>(bytes->data()),
                            reinterpret_cast<char*>(block_.data()),
                            static_cast<int>(size), kMaxBlockSize);
    if (unpacked < 0) return Damaged(Compression::kLz4);
    block_.resize(static_cast<size_t>(unpacked));
    return true;
  }

  bool started_ = false;
  std::vector<uint8_t> block_;
  size_t position_ = 0;
};

}  // namespace

absl::string_view CompressionName(Compression compression) {
  switch (compression) {
    case Compression::kGzip:
      return "gzip";
    case Compression::kBzip2:
      return "bzip2";
    case Compression::kLzma:
      return "lzma";
    case Compression::kXz:
      return "xz";
    case Compression::kLzo:
      return "lzo";
    case Compression::kLz4:
      return "lz4";
    case Compression::kZstd:
      return "zstd";
  }
  return "unknown";
}

std::optional<Compression> DetectCompression(std::span<const uint8_t> bytes) {
  if (bytes.size() < 2) return std::nullopt;
  switch (bytes[0] << 8 | bytes[1]) {
    case 0x1f8b:
      return Compression::kGzip;
    case 0x425a:
      return Compression::kBzip2;
    case 0x5d00:
      return Compression::kLzma;
    case 0xfd37:
      return Compression::kXz;
    case 0x894c:
      return Compression::kLzo;
    case 0x0221:
      return Compression::kLz4;
    case 0x28b5:
      return Compression::kZstd;
    default:
      return std::nullopt;
  }
}

absl::StatusOr<std::unique_ptr<Decompressor>> Decompressor::Create(
    Compression compression) {
  std::unique_ptr<Decompressor> decompressor;
  switch (compression) {
    case Compression::kGzip:
      decompressor = std::make_unique<Gunzip>();
      break;
    case Compression::kBzip2:
      decompressor = std::make_unique<Bunzip2>();
      break;
    case Compression::kLzma:
    case Compression::kXz:
      decompressor = std::make_unique<Unlzma>(compression);
      break;
    case Compression::kLz4:
      decompressor = std::make_unique<Unlz4>();
      break;
    case Compression::kZstd:
      decompressor = std::make_unique<Unzstd>();
      break;
    case Compression::kLzo:
      return absl::UnimplementedError(
          "compressed by lzo, which is not supported; recompress it, by xz or "
          "zstd for instance");
  }
  return decompressor;
}

absl::StatusOr<Step> Decompressor::Run(std::span<const uint8_t> input,
                                       std::span<uint8_t> output) {
  CUPEL_ASSIGN_OR_RETURN(const Step step, RunStep(input, output));
  if (!step.ended && step.consumed == 0 && step.produced == 0) {
    return absl::InvalidArgumentError("the compressed data breaks off");
  }
  return step;
}

}  // namespace cupel::tenant
