#include "tenant/reference/file_tree.h"

#include <linux/magic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_folder.h"

namespace cupel::tenant {
namespace {

namespace fs = std::filesystem;
using absl::StatusCode;
using crypto::HashAlgorithm;
using testing::IsOk;
using testing::StatusIs;
using testing::StatusOf;
using Files = std::map<std::string, std::string>;

std::string Sha256(absl::string_view content) {
  return crypto::Hash(HashAlgorithm::kSha256, AsBytes(content)).Hex();
}

class Root {
 public:
  void Write(const std::string& path, absl::string_view content) {
    fs::create_directories(fs::path(folder / path).parent_path());
    REQUIRE_THAT(WriteFile(folder / path, content), IsOk());
  }
  FileTreeDigests Hash(const FileTreeOptions& options = {}) {
    auto tree = HashFileTree(folder.path(), options);
    REQUIRE_THAT(StatusOf(tree), IsOk());
    return *std::move(tree);
  }
  Files files(const FileTreeOptions& options = {}) {
    Files all;
    for (const auto& file : Hash(options).files) {
      all[file.path] = file.digest.Hex();
    }
    return all;
  }

  testing::TemporaryFolder folder;
};

TEST_CASE("Every file, by its path within the root") {
  Root root;
  root.Write("init", "1");
  root.Write("usr/bin/ls", "2");
  root.Write("usr/bin/ls.large", std::string(3'000'000, 'x'));
  root.Write("a b\n\xff", "");
  fs::create_directory(root.folder / "empty");
  CHECK(root.files() ==
        Files{{"/init", Sha256("1")},
              {"/usr/bin/ls", Sha256("2")},
              {"/usr/bin/ls.large", Sha256(std::string(3'000'000, 'x'))},
              {"/a b\n\xff", Sha256("")}});
  const FileTreeDigests tree = root.Hash();
  CHECK(tree.unreadable.empty());
  CHECK(tree.left_out.empty());
  CHECK(tree.vanished_count == 0);
  CHECK(std::ranges::is_sorted(tree.files, {}, &FileTreeDigests::File::path));
}

TEST_CASE("Links are followed nowhere, and each name of a file is its own") {
  Root root;
  const testing::TemporaryFolder outside;
  REQUIRE_THAT(WriteFile(outside / "secret", "s"), IsOk());
  root.Write("usr/bin/ls", "1");
  fs::create_directory_symlink("usr/bin", root.folder / "bin");
  fs::create_directory_symlink(outside.path(), root.folder / "out");
  fs::create_directory_symlink("..", root.folder / "usr/up");
  fs::create_symlink(outside / "secret", root.folder / "secret");
  fs::create_symlink("nowhere", root.folder / "dangling");
  fs::create_hard_link(root.folder / "usr/bin/ls", root.folder / "usr/bin/dir");
  CHECK(root.files() ==
        Files{{"/usr/bin/ls", Sha256("1")}, {"/usr/bin/dir", Sha256("1")}});
}

TEST_CASE("Pipes, sockets and devices are no files, and nothing waits") {
  Root root;
  root.Write("a", "1");
  REQUIRE(mkfifo((root.folder / "pipe").c_str(), 0600) == 0);
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const std::string path = root.folder / "socket";
  REQUIRE(path.size() < sizeof(address.sun_path));
  path.copy(address.sun_path, path.size());
  REQUIRE(bind(fd, reinterpret_cast<const sockaddr*>(&address),
               sizeof(address)) == 0);
  CHECK(root.files() == Files{{"/a", Sha256("1")}});
  close(fd);
}

TEST_CASE("What a running system has elsewhere is left out, and what is told") {
  Root root;
  for (const char* path : {"proc/x", "sys/x", "dev/x", "run/x", "usr/proc/x",
                           "var/log/a/b", "var/log.1", "var/lib/x", "tmp/x"}) {
    root.Write(path, "1");
  }
  FileTreeOptions options;
  options.skip_paths = {"/var/log", "var/lib/", "/tmp/x"};
  Files expected = {{"/usr/proc/x", Sha256("1")}, {"/var/log.1", Sha256("1")}};
  CHECK(root.files(options) == expected);
  options.skip_paths = {"/var/log/a", "/nothing"};
  CHECK(root.files(options).size() == 4);
}

TEST_CASE("Each algorithm, and any number of threads") {
  Root root;
  for (int i = 0; i < 300; ++i) {
    root.Write(absl::StrCat("d", i % 7, "/f", i), std::to_string(i));
  }
  Files first;
  for (const unsigned threads : {1U, 2U, 16U, 1000U}) {
    FileTreeOptions options;
    options.thread_count = threads;
    uint64_t progress = 0;
    options.progress = [&](uint64_t count) { progress = count; };
    const Files files = root.files(options);
    CHECK(files.size() == 300);
    CHECK(progress > 200);
    if (first.empty()) first = files;
    CHECK(files == first);
  }
  FileTreeOptions options;
  options.algorithm = HashAlgorithm::kSha512;
  CHECK(root.Hash(options).files.front().digest.algorithm() ==
        HashAlgorithm::kSha512);
  options.algorithm = HashAlgorithm::kMd5;
  CHECK_THAT(StatusOf(HashFileTree(root.folder.path(), options)),
             StatusIs(StatusCode::kUnimplemented, "md5"));
}

TEST_CASE("A root that is none") {
  Root root;
  root.Write("file", "1");
  CHECK_THAT(StatusOf(HashFileTree(root.folder / "none", {})),
             StatusIs(StatusCode::kNotFound, "none"));
  CHECK_THAT(StatusOf(HashFileTree(root.folder / "file", {})),
             StatusIs(StatusCode::kInvalidArgument, "file"));
}

TEST_CASE("Folders deeper than any real ones are named, not followed") {
  Root root;
  std::string path = root.folder.path();
  for (int i = 0; i < 600; ++i) {
    absl::StrAppend(&path, "/d");
    REQUIRE(mkdir(path.c_str(), 0700) == 0);
  }
  root.Write("a", "1");
  const FileTreeDigests tree = root.Hash();
  CHECK(tree.files.size() == 1);
  REQUIRE(tree.unreadable.size() == 1);
  CHECK(tree.unreadable[0].text == "too many folders in one another");
}

TEST_CASE("File systems are those that IMA policies measure") {
  const std::vector<uint64_t> special = {
      PROC_SUPER_MAGIC,    SYSFS_MAGIC,       DEBUGFS_MAGIC,
      TMPFS_MAGIC,         RAMFS_MAGIC,       SECURITYFS_MAGIC,
      CGROUP2_SUPER_MAGIC, DEVPTS_SUPER_MAGIC};
  for (const uint64_t magic : special) {
    CAPTURE(magic);
    CHECK(KindOfFileSystem(magic, nullptr) == FileSystemKind::kSpecial);
  }
  const std::vector<uint64_t> stored = {EXT4_SUPER_MAGIC,
                                        XFS_SUPER_MAGIC,
                                        BTRFS_SUPER_MAGIC,
                                        OVERLAYFS_SUPER_MAGIC,
                                        SQUASHFS_MAGIC,
                                        MSDOS_SUPER_MAGIC,
                                        0};
  for (const uint64_t magic : stored) {
    CAPTURE(magic);
    CHECK(KindOfFileSystem(magic, nullptr) == FileSystemKind::kStored);
  }
  const char* name = nullptr;
  CHECK(KindOfFileSystem(NFS_SUPER_MAGIC, &name) == FileSystemKind::kRemote);
  CHECK(std::string(name) == "nfs");
}

}  // namespace
}  // namespace cupel::tenant
