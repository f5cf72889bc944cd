#ifndef CUPEL_TENANT_REFERENCE_DECOMPRESSOR_H_
#define CUPEL_TENANT_REFERENCE_DECOMPRESSOR_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace cupel::tenant {

// What the kernel unpacks an initramfs from (Linux lib/decompress.c).
enum class Compression : uint8_t {
  kGzip,
  kBzip2,
  kLzma,  // the old form, without a checksum
  kXz,
  kLzo,
  kLz4,  // the legacy frame; the kernel knows no other
  kZstd,
};
absl::string_view CompressionName(Compression compression);

// Told by the first two bytes, as the kernel does; nullopt for none of them.
std::optional<Compression> DetectCompression(std::span<const uint8_t> bytes);

// Unpacks one compressed stream, and tells where it ends: what follows it in an
// initramfs is another archive. (libarchive's filters read on past that end,
// and then lose the last of what came before it.)
//
// Trust: the bytes may be hostile. Memory is bounded by each format's window,
// at most 512 MiB; what comes out has no bound but the caller's.
class Decompressor {
 public:
  struct Step {
    size_t consumed = 0;  // bytes of the input
    size_t produced = 0;  // bytes of the output
    bool ended = false;   // the stream's end, its checksum included
  };

  // kUnimplemented for LZO, saying what to do.
  static absl::StatusOr<std::unique_ptr<Decompressor>> Create(
      Compression compression);
  virtual ~Decompressor() = default;

  // Goes on with `input`, which holds all that there is, into `output`, which
  // has room. A step before the end consumes or produces something.
  // kInvalidArgument for a stream that is damaged or breaks off.
  absl::StatusOr<Step> Run(std::span<const uint8_t> input,
                           std::span<uint8_t> output);

 protected:
  virtual absl::StatusOr<Step> RunStep(std::span<const uint8_t> input,
                                       std::span<uint8_t> output) = 0;
};

}  // namespace cupel::tenant

#endif  // CUPEL_TENANT_REFERENCE_DECOMPRESSOR_H_
