// Reference values made from files: of a root filesystem, of an initramfs.
#ifndef CUPEL_TENANT_REFERENCE_INPUTS_H_
#define CUPEL_TENANT_REFERENCE_INPUTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "CLI/App.hpp"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/crypto/digest.h"
#include "common/policy/digest_table.h"
#include "nlohmann/json.hpp"

namespace cupel::tenant {

// The algorithm by the names that people have for it: sha256, sha256sum.
// kInvalidArgument, naming those that there are, for any but SHA-1, SHA-256,
// SHA-384 and SHA-512.
absl::StatusOr<crypto::HashAlgorithm> ParseAlgorithm(absl::string_view name);

struct ReferenceFlags {
  std::string root;  // empty: no file tree
  std::vector<std::string> initramfs;
  std::vector<std::string> skip_paths;
  bool skip_unreadable = false;

  // --initramfs, --skip-path and --skip-unreadable.
  void Register(CLI::App& command);
};

// What was added, for the last line.
struct ReferenceCounts {
  uint64_t file_count = 0;       // of the tree
  uint64_t initramfs_count = 0;  // files of images
  uint64_t skipped_count = 0;    // unreadable ones, left out as wanted
  uint64_t vanished_count = 0;

  nlohmann::ordered_json ToJson() const;
};

// Adds each file of the flags' tree and images, by the path that the kernel
// records, to `digests`. Shows progress; says on standard error what it leaves
// out.
//
// kInvalidArgument if files can't be read, unless `skip_unreadable`: each of
// them has been named on standard error. Errors of HashFileTree and
// ReadInitramfs, naming the file.
absl::StatusOr<ReferenceCounts> AddReferenceFiles(
    const ReferenceFlags& flags, crypto::HashAlgorithm algorithm,
    policy::DigestTable::Builder& digests);

}  // namespace cupel::tenant

#endif  // CUPEL_TENANT_REFERENCE_INPUTS_H_
