#ifndef CUPEL_TENANT_REFERENCE_FILE_TREE_H_
#define CUPEL_TENANT_REFERENCE_FILE_TREE_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/crypto/digest.h"

namespace cupel::tenant {

struct FileTreeOptions {
  // One that crypto::Hasher takes.
  crypto::HashAlgorithm algorithm = crypto::HashAlgorithm::kSha256;
  // Paths within the root that are left out, with all below them: "/var/log".
  std::vector<std::string> skip_paths = {};
  unsigned thread_count = 0;  // 0: one a CPU, 16 at the most
  // Called now and then, by the calling thread, with the number of files found.
  std::function<void(uint64_t file_count)> progress = {};
};

// A path within the root, raw bytes, and what is to be said about it.
struct PathNote {
  std::string path;
  std::string text;
};

struct FileTreeDigests {
  struct File {
    std::string path;  // raw bytes, within the root: "/usr/bin/ls"
    crypto::Digest digest;
  };
  // These three in ascending order of the paths' bytes.
  std::vector<File> files;
  std::vector<PathNote> unreadable;  // with the system's reason
  std::vector<PathNote> left_out;    // file systems, with their kind
  // Files that were gone, or had become something else, when their turn came.
  uint64_t vanished_count = 0;
};

// Hashes every regular file below `root`, each under all its names.
//
// Links are followed nowhere, neither out of the tree nor within it, so each
// file stands there by its real path: that of /usr/bin/ls and not that of
// /bin/ls, where /bin is a link. That is the path that the kernel records.
//
// Left out: /proc, /sys, /dev and /run of the root; in other places what is
// mounted there of file systems without files of their own (proc, tmpfs,
// cgroup; those that IMA policies leave out), and, noted in `left_out`, of
// those whose files change elsewhere (nfs, cifs, fuse). The root itself may be
// of any kind.
//
// kNotFound, kPermissionDenied or kInvalidArgument for a root that can't be
// read or is no folder; kUnimplemented for an algorithm that can't be hashed
// with. What can't be read below it is in `unreadable`, for the caller to
// judge.
absl::StatusOr<FileTreeDigests> HashFileTree(const std::string& root,
                                             const FileTreeOptions& options);

// What a mounted file system means for reference values.
enum class FileSystemKind : uint8_t {
  kStored,   // its files are what a machine runs
  kSpecial,  // no files of its own, or gone with the next boot
  kRemote,   // its files change without this machine
};
// `magic`: f_type of statfs(2). `name`, which may be null, is set to its name
// for kRemote.
FileSystemKind KindOfFileSystem(uint64_t magic, const char** name);

}  // namespace cupel::tenant

#endif  // CUPEL_TENANT_REFERENCE_FILE_TREE_H_
