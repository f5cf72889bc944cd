#ifndef CUPEL_TENANT_REFERENCE_INITRAMFS_H_
#define CUPEL_TENANT_REFERENCE_INITRAMFS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/crypto/digest.h"
#include "tenant/reference/name_tree.h"

namespace cupel::tenant {

struct InitramfsOptions {
  // One that crypto::Hasher takes.
  crypto::HashAlgorithm algorithm = crypto::HashAlgorithm::kSha256;
  // Bytes that compressed archives unpack to, all together.
  uint64_t max_unpacked_size = uint64_t{16} << 30;
  // Of NameTree::size().
  size_t max_names = size_t{1} << 21;
  // Called now and then with the number of entries read.
  std::function<void(uint64_t entry_count)> progress = {};
};

// The files that the kernel will have unpacked from `image`, each at its real
// path, "/init" for instance, with its digest. In it stand any number of cpio
// archives ("newc"), plain or compressed, zeros between them: the early one
// with microcode first, as a rule. Later ones overwrite.
//
// Trust: the image may be hostile. Nothing is written anywhere, no file's bytes
// are kept, and what is named stays within the tree. Format: Linux
// Documentation/driver-api/early-userspace/buffer-format.rst, and what
// init/initramfs.c makes of it.
//
// kInvalidArgument, with the offset in the image: bytes that are no archive, a
// damaged one, one that breaks off (which the kernel would not notice, if it
// does so between two files). kUnimplemented for LZO; kResourceExhausted past a
// limit.
absl::StatusOr<NameTree> ReadInitramfs(std::span<const uint8_t> image,
                                       const InitramfsOptions& options);

// The images in `folder`, by the names that distributions give them: files, not
// links, that begin with "initr". In ascending order; empty if there is no such
// folder. kPermissionDenied and kUnavailable where it can't be read.
absl::StatusOr<std::vector<std::string>> FindInitramfsImages(
    const std::string& folder);

}  // namespace cupel::tenant

#endif  // CUPEL_TENANT_REFERENCE_INITRAMFS_H_
