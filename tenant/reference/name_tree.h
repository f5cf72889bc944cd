// Names as a file system has them, in memory: what unpacking archives, one over
// another, into an empty root leaves there. Nothing is written anywhere.
#ifndef CUPEL_TENANT_REFERENCE_NAME_TREE_H_
#define CUPEL_TENANT_REFERENCE_NAME_TREE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "common/crypto/digest.h"

namespace cupel::tenant {

// Paths may be hostile: they are bytes, start at the root whether they begin
// with a slash or not, and ".." of the root is the root. Links in the middle of
// a path are followed, 40 at the most, and never out of the tree. Each function
// does what the kernel's unpacking does (Linux init/initramfs.c): a later entry
// takes an earlier one's place, but a folder that holds something stays.
//
// nullopt, and no change, where the kernel would leave an entry out: below a
// file, in a loop of links, at the root itself, in place of a folder that is
// not empty. Two things differ on purpose. Folders that no entry names are
// made, so that archives without them can be read; and an entry is left out if
// the way to it has more than 1024 names, or its real path more than
// kMaxKernelPathSize bytes.
//
// Not thread-safe.
class NameTree {
 public:
  using Node = uint32_t;

  NameTree();

  std::optional<Node> AddFolder(absl::string_view path);
  std::optional<Node> AddSymlink(absl::string_view path,
                                 absl::string_view target);
  // A device, a pipe, a socket.
  std::optional<Node> AddSpecial(absl::string_view path);
  // The file at `path`, emptied if it was there: all its names show what is
  // set for it then.
  std::optional<Node> AddFile(absl::string_view path);
  // A further name of `file`.
  std::optional<Node> AddHardLink(absl::string_view path, Node file);
  void SetDigest(Node file, const crypto::Digest& digest) {
    nodes_[file].digest = digest;
  }

  // How much was ever made, whatever of it is left: what memory grows with.
  size_t size() const { return nodes_.size(); }

  // Every file that has a digest, by each of its real names, in ascending order
  // of the names' bytes folder by folder.
  void ForEachFile(absl::FunctionRef<void(absl::string_view path,
                                          const crypto::Digest& digest)>
                       visit) const;

 private:
  enum class Kind : uint8_t { kFolder, kFile, kSymlink, kSpecial };
  struct Entry {
    Kind kind = Kind::kFolder;
    Node parent = 0;                                 // of a folder
    size_t path_size = 0;                            // of a folder
    std::map<std::string, Node, std::less<>> names;  // of a folder
    std::string target;                              // of a symlink
    std::optional<crypto::Digest> digest;            // of a file
  };
  // A place in a folder for a name.
  struct Place {
    Node folder;
    std::string name;
  };

  std::optional<Place> Find(absl::string_view path);
  std::optional<Node> Put(const Place& place, Kind kind);
  // Takes what is there away; false for a folder that is not empty.
  bool Clear(const Place& place);

  std::vector<Entry> nodes_;
};

}  // namespace cupel::tenant

#endif  // CUPEL_TENANT_REFERENCE_NAME_TREE_H_
