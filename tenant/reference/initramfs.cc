#include "tenant/reference/initramfs.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <system_error>
#include <tuple>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/crypto/hasher.h"
#include "common/util/bytes.h"
#include "common/util/escape.h"
#include "common/util/status_context.h"
#include "common/util/status_macros.h"
#include "tenant/reference/cpio.h"
#include "tenant/reference/decompressor.h"

namespace cupel::tenant {
namespace {

constexpr uint8_t kCpioStart = '0';
constexpr uint64_t kCpioAlignment = 4;
constexpr uint32_t kMaxTargetSize = 4096;  // PATH_MAX
constexpr size_t kPieceSize = size_t{256} << 10;
constexpr uint64_t kEntriesPerProgress = 256;

absl::Status Junk() {
  return absl::InvalidArgumentError(
      "neither a cpio archive nor a compression that the kernel knows");
}

class Unpacker {
 public:
  Unpacker(const InitramfsOptions& options, crypto::Hasher hasher)
      : options_(options), hasher_(std::move(hasher)) {}

  absl::Status Unpack(std::span<const uint8_t> image);
  NameTree Take() && { return std::move(tree_); }

 private:
  // Device and inode: what two names of one file have in common.
  using FileKey = std::tuple<uint32_t, uint32_t, uint32_t>;

  // Each returns how many bytes of `rest`, which begins with it, it takes up.
  absl::StatusOr<size_t> UnpackPlain(std::span<const uint8_t> rest);
  absl::StatusOr<size_t> UnpackCompressed(std::span<const uint8_t> rest);

  // Archives with zeros between them, up to the end of the stream or a byte
  // that begins none.
  absl::Status ReadArchives(ByteStream& stream);
  absl::Status ReadEntry(ByteStream& stream);
  // Reads what follows the header, and puts the entry into the tree.
  absl::Status ReadContent(ByteStream& stream, const CpioHeader& header);
  absl::Status ReadFile(ByteStream& stream, const CpioHeader& header);
  absl::Status ReadSymlink(ByteStream& stream, const CpioHeader& header);
  // The file that an entry is about, under whichever of its names.
  std::optional<NameTree::Node> FileOf(const CpioHeader& header);

  const InitramfsOptions& options_;
  crypto::Hasher hasher_;
  NameTree tree_;
  std::map<FileKey, NameTree::Node> links_;
  bool within_archive_ = false;  // entries since the last trailer
  uint64_t entry_count_ = 0;
  uint64_t unpacked_size_ = 0;
};

absl::Status Unpacker::Unpack(std::span<const uint8_t> image) {
  size_t offset = 0;
  while (offset < image.size()) {
    if (image[offset] == 0) {
      ++offset;
      continue;
    }
    const auto rest = image.subspan(offset);
    const bool plain = rest[0] == kCpioStart && offset % kCpioAlignment == 0;
    const auto size = plain ? UnpackPlain(rest) : UnpackCompressed(rest);
    if (!size.ok()) {
      return WithContext(size.status(),
                         absl::StrCat("in the archive at offset ", offset));
    }
    offset += *size;
  }
  if (entry_count_ == 0) {
    return absl::InvalidArgumentError(
        "no initramfs: there is no archive in it");
  }
  return absl::OkStatus();
}

absl::StatusOr<size_t> Unpacker::UnpackPlain(std::span<const uint8_t> rest) {
  ByteStream stream([rest, given = false]() mutable {
    return std::exchange(given, true) ? std::span<const uint8_t>() : rest;
  });
  CUPEL_RETURN_IF_ERROR(ReadArchives(stream));
  return static_cast<size_t>(stream.position());
}

absl::StatusOr<size_t> Unpacker::UnpackCompressed(
    std::span<const uint8_t> rest) {
  const auto compression = DetectCompression(rest);
  if (!compression.has_value()) return Junk();
  CUPEL_ASSIGN_OR_RETURN(const auto decompressor,
                         Decompressor::Create(*compression));
  size_t consumed = 0;
  bool ended = false;
  std::vector<uint8_t> piece(kPieceSize);
  ByteStream stream([&]() -> absl::StatusOr<std::span<const uint8_t>> {
    size_t produced = 0;
    while (!ended && produced == 0) {
      CUPEL_ASSIGN_OR_RETURN(const auto step,
                             decompressor->Run(rest.subspan(consumed), piece));
      consumed += step.consumed;
      produced = step.produced;
      ended = step.ended;
    }
    unpacked_size_ += produced;
    if (unpacked_size_ > options_.max_unpacked_size) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "unpacks to more than ", options_.max_unpacked_size, " bytes"));
    }
    return std::span<const uint8_t>(piece).first(produced);
  });
  CUPEL_RETURN_IF_ERROR(ReadArchives(stream));
  CUPEL_ASSIGN_OR_RETURN(const auto next, stream.Peek());
  if (next.has_value()) return Junk();
  return consumed;
}

absl::Status Unpacker::ReadArchives(ByteStream& stream) {
  while (true) {
    CUPEL_RETURN_IF_ERROR(stream.SkipZeros());
    CUPEL_ASSIGN_OR_RETURN(const auto next, stream.Peek());
    if (next == kCpioStart && stream.position() % kCpioAlignment == 0) {
      CUPEL_RETURN_IF_ERROR(ReadEntry(stream));
    } else if (within_archive_) {
      return absl::InvalidArgumentError(
          "the cpio archive breaks off: its trailer is missing");
    } else {
      return absl::OkStatus();
    }
  }
}

absl::Status Unpacker::ReadEntry(ByteStream& stream) {
  CUPEL_ASSIGN_OR_RETURN(const CpioHeader header, ReadCpioHeader(stream));
  CUPEL_RETURN_IF_ERROR(ReadContent(stream, header));
  CUPEL_RETURN_IF_ERROR(SkipCpioPadding(stream));
  within_archive_ = !header.IsTrailer();
  if (tree_.size() > options_.max_names) {
    return absl::ResourceExhaustedError(
        absl::StrCat("more than ", options_.max_names, " names"));
  }
  if (++entry_count_ % kEntriesPerProgress == 0 && options_.progress) {
    options_.progress(entry_count_);
  }
  return absl::OkStatus();
}

absl::Status Unpacker::ReadContent(ByteStream& stream,
                                   const CpioHeader& header) {
  if (header.IsTrailer()) {
    links_.clear();
  } else if (header.name.has_value()) {
    if (S_ISREG(header.mode)) return ReadFile(stream, header);
    if (S_ISLNK(header.mode) && header.size <= kMaxTargetSize) {
      return ReadSymlink(stream, header);
    }
    if (S_ISDIR(header.mode) && header.size == 0) {
      tree_.AddFolder(*header.name);
    } else if (header.size == 0) {
      tree_.AddSpecial(*header.name);
    }
  }
  return stream.Skip(header.size, "cpio entry");
}

std::optional<NameTree::Node> Unpacker::FileOf(const CpioHeader& header) {
  if (header.link_count < 2) return tree_.AddFile(*header.name);
  const FileKey key = {header.device_major, header.device_minor, header.inode};
  const auto known = links_.find(key);
  if (known != links_.end()) {
    return tree_.AddHardLink(*header.name, known->second);
  }
  const auto file = tree_.AddFile(*header.name);
  if (file.has_value()) links_.emplace(key, *file);
  return file;
}

absl::Status Unpacker::ReadFile(ByteStream& stream, const CpioHeader& header) {
  const bool is_further_name =
      header.link_count >= 2 &&
      links_.contains({header.device_major, header.device_minor, header.inode});
  const auto file = FileOf(header);
  uint32_t sum = 0;
  CUPEL_RETURN_IF_ERROR(
      stream.Read(header.size, EscapeForDisplay(*header.name),
                  [&](std::span<const uint8_t> piece) -> absl::Status {
                    if (header.sum.has_value()) {
                      for (const uint8_t byte : piece) sum += byte;
                    }
                    return hasher_.Update(piece);
                  }));
  CUPEL_ASSIGN_OR_RETURN(const crypto::Digest digest, hasher_.Finish());
  if (header.sum.has_value() && *header.sum != sum) {
    return absl::InvalidArgumentError(
        absl::StrCat(EscapeForDisplay(*header.name), ": wrong checksum"));
  }
  // Of several names of one file it is mostly the last that has the bytes.
  if (file.has_value() && (!is_further_name || header.size > 0)) {
    tree_.SetDigest(*file, digest);
  }
  return absl::OkStatus();
}

absl::Status Unpacker::ReadSymlink(ByteStream& stream,
                                   const CpioHeader& header) {
  CUPEL_ASSIGN_OR_RETURN(std::string target,
                         stream.ReadText(header.size, "cpio symlink"));
  target.resize(std::min(target.size(), target.find('\0')));
  tree_.AddSymlink(*header.name, target);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<NameTree> ReadInitramfs(std::span<const uint8_t> image,
                                       const InitramfsOptions& options) {
  CUPEL_ASSIGN_OR_RETURN(crypto::Hasher hasher,
                         crypto::Hasher::Create(options.algorithm));
  Unpacker unpacker(options, std::move(hasher));
  CUPEL_RETURN_IF_ERROR(unpacker.Unpack(image));
  return std::move(unpacker).Take();
}

absl::StatusOr<std::vector<std::string>> FindInitramfsImages(
    const std::string& folder) {
  namespace fs = std::filesystem;
  std::vector<std::string> images;
  std::error_code error;
  fs::directory_iterator entry(folder, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    std::error_code unknown;  // a name that is gone again is no image
    if (absl::StartsWith(entry->path().filename().string(), "initr") &&
        entry->symlink_status(unknown).type() == fs::file_type::regular) {
      images.push_back(entry->path().string());
    }
  }
  if (error && error != std::errc::no_such_file_or_directory) {
    const std::string message =
        absl::StrCat(EscapeForDisplay(folder), ": ", error.message());
    return error == std::errc::permission_denied
               ? absl::PermissionDeniedError(message)
               : absl::UnavailableError(message);
  }
  std::ranges::sort(images);
  return images;
}

}  // namespace cupel::tenant
