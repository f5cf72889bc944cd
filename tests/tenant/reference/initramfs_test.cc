#include "tenant/reference/initramfs.h"

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "tests/support/cpio_builder.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_folder.h"

namespace cupel::tenant {
namespace {

using absl::StatusCode;
using crypto::Digest;
using crypto::HashAlgorithm;
using testing::CpioBuilder;
using testing::IsOk;
using testing::StatusIs;
using testing::StatusOf;
using Files = std::map<std::string, std::string>;

std::string Sha256Of(absl::string_view content) {
  return crypto::Hash(HashAlgorithm::kSha256, AsBytes(content)).Hex();
}

absl::Status StatusOfImage(absl::string_view image,
                           const InitramfsOptions& options = {}) {
  return ReadInitramfs(AsBytes(image), options).status();
}

// Path to digest.
Files FilesOf(absl::string_view image) {
  const auto tree = ReadInitramfs(AsBytes(image), {});
  REQUIRE_THAT(StatusOf(tree), IsOk());
  Files files;
  tree->ForEachFile([&](absl::string_view path, const Digest& digest) {
    files[std::string(path)] = digest.Hex();
  });
  return files;
}

// What mkinitramfs makes: folders, the links of a merged /usr, a shell.
CpioBuilder Main() {
  CpioBuilder main;
  main.Folder(".")
      .Symlink("bin", "usr/bin")
      .Folder("usr")
      .Folder("usr/bin")
      .File("init", "#!/bin/sh\n")
      .File("usr/bin/busybox", std::string(100'000, 'b'))
      .Symlink("usr/bin/sh", "busybox");
  return main;
}
const Files& MainFiles() {
  static const auto& files =
      *new Files{{"/init", Sha256Of("#!/bin/sh\n")},
                 {"/usr/bin/busybox", Sha256Of(std::string(100'000, 'b'))}};
  return files;
}

std::string Early() {
  return CpioBuilder()
      .Folder("kernel")
      .File("kernel/x86/microcode/GenuineIntel.bin", "microcode")
      .Build();
}
Files WithEarly(Files files) {
  files["/kernel/x86/microcode/GenuineIntel.bin"] = Sha256Of("microcode");
  return files;
}

TEST_CASE("Each compression gives the same files") {
  const std::string main = Main().Build();
  for (const std::string& image :
       {main, testing::Gzip(main), testing::Bzip2(main), testing::Xz(main),
        testing::Lzma(main), testing::Zstd(main), testing::Lz4(main),
        testing::Lz4(main, 777)}) {
    CHECK(FilesOf(image) == MainFiles());
  }
}

TEST_CASE("The early archive comes first, with zeros behind it") {
  const std::string main = testing::Zstd(Main().Build());
  for (const size_t zeros : {0U, 1U, 3U, 4U, 511U, 512U, 4096U}) {
    CAPTURE(zeros);
    CHECK(FilesOf(Early() + std::string(zeros, '\0') + main) ==
          WithEarly(MainFiles()));
  }
}

TEST_CASE("Any number of archives, of any compression, in any order") {
  const auto one = [](const char* name) {
    return CpioBuilder().File(name, name).Build();
  };
  const std::string pad(4, '\0');
  std::string image = Early();
  std::vector<std::string> parts = {
      testing::Gzip(one("a")), testing::Xz(one("b")), testing::Zstd(one("c")),
      testing::Bzip2(one("d")), testing::Lz4(one("e")), testing::Lzma(one("f")),
      // Several in one stream, zeros between them.
      testing::Zstd(one("g") + std::string(512, '\0') + one("h"))};
  for (const std::string& part : parts) {
    image += part + pad;
    image.resize((image.size() + 3) / 4 * 4);  // a plain archive is aligned
    image += one("plain");
  }
  Files expected = WithEarly({{"/plain", Sha256Of("plain")}});
  for (const char* name : {"a", "b", "c", "d", "e", "f", "g", "h"}) {
    expected[absl::StrCat("/", name)] = Sha256Of(name);
  }
  CHECK(FilesOf(image) == expected);
}

TEST_CASE("A later archive overwrites an earlier one") {
  const std::string extra = CpioBuilder()
                                .File("init", "another")
                                .File("bin/sh", "by way of the link")
                                .Build();
  Files expected = MainFiles();
  expected["/init"] = Sha256Of("another");
  expected["/usr/bin/sh"] = Sha256Of("by way of the link");
  CHECK(FilesOf(testing::Gzip(Main().Build()) + testing::Gzip(extra)) ==
        expected);
}

TEST_CASE("Several names of one file: the bytes stand behind the last") {
  CpioBuilder archive;
  for (const auto& [name, content] :
       std::vector<std::pair<std::string, std::string>>{
           {"a", ""}, {"b", ""}, {"usr/c", "content"}}) {
    CpioBuilder::Entry entry;
    entry.name = name;
    entry.content = content;
    entry.inode = 7;
    entry.link_count = 3;
    archive.Add(entry);
  }
  const std::string digest = Sha256Of("content");
  CHECK(FilesOf(archive.Build()) ==
        Files{{"/a", digest}, {"/b", digest}, {"/usr/c", digest}});
  // Inodes are those of one archive: the next one's are others.
  CpioBuilder::Entry other;
  other.name = "d";
  other.content = "other";
  other.inode = 7;
  other.link_count = 2;
  Files expected = {{"/a", digest}, {"/b", digest}, {"/usr/c", digest}};
  expected["/d"] = Sha256Of("other");
  CHECK(FilesOf(archive.Build() + CpioBuilder().Add(other).Build()) ==
        expected);
}

TEST_CASE("Hostile names stay within") {
  CpioBuilder archive;
  archive.File("/absolute", "1")
      .File("../../../etc/shadow", "2")
      .Symlink("out", "/../../../srv")
      .File("out/x", "3")
      .Symlink("loop", "loop")
      .File("loop/y", "4")
      .File(std::string(5000, 'n'), "5")
      .Symlink("long", std::string(5000, 't'))
      .File("long/z", "6")
      .Folder("..")
      .File(".", "7")
      .File("a\nb\x1b[2J", "8");
  CHECK(FilesOf(archive.Build()) == Files{{"/absolute", Sha256Of("1")},
                                          {"/etc/shadow", Sha256Of("2")},
                                          {"/srv/x", Sha256Of("3")},
                                          {"/long/z", Sha256Of("6")},
                                          {"/a\nb\x1b[2J", Sha256Of("8")}});
}

TEST_CASE("Devices, pipes and folders with content are no files") {
  CpioBuilder archive;
  for (const uint32_t mode : {0020600U, 0060600U, 0010600U, 0140600U}) {
    CpioBuilder::Entry entry;
    entry.name = absl::StrCat("special", mode);
    entry.mode = mode;
    archive.Add(entry);
  }
  CpioBuilder::Entry folder;
  folder.name = "folder";
  folder.mode = 040755;
  folder.content = "no folder has any";
  archive.Add(folder).File("last", "x");
  CHECK(FilesOf(archive.Build()) == Files{{"/last", Sha256Of("x")}});
}

TEST_CASE("A checksum is looked at where there is one") {
  CpioBuilder::Entry entry;
  entry.name = "a";
  entry.content = "content";
  entry.with_sum = true;
  CHECK(FilesOf(CpioBuilder().Add(entry).Build()) ==
        Files{{"/a", Sha256Of("content")}});
  entry.wrong_sum = 1;
  CHECK_THAT(StatusOfImage(CpioBuilder().Add(entry).Build()),
             StatusIs(StatusCode::kInvalidArgument,
                      "in the archive at offset 0: a: wrong checksum"));
}

TEST_CASE("An image that breaks off anywhere is an error") {
  CpioBuilder small;
  small.File("init", "#!/bin/sh\n").Folder("usr").Symlink("bin", "usr/bin");
  const std::string plain = small.Build();
  for (size_t size = 0; size < plain.size(); ++size) {
    CAPTURE(size);
    CHECK_THAT(StatusOfImage(plain.substr(0, size)),
               StatusIs(StatusCode::kInvalidArgument));
  }
  for (const std::string& image :
       {testing::Gzip(plain), testing::Xz(plain), testing::Zstd(plain),
        testing::Bzip2(plain), testing::Lz4(plain)}) {
    for (size_t size = 0; size < image.size(); ++size) {
      CAPTURE(size);
      CHECK_THAT(StatusOfImage(image.substr(0, size)),
                 StatusIs(StatusCode::kInvalidArgument));
    }
  }
}

TEST_CASE("What is no archive says where") {
  for (const std::string& junk : {std::string("junk"),
                                  std::string("\x7f"
                                              "ELF"),
                                  std::string("\xff\xff\xff\xff")}) {
    CHECK_THAT(StatusOfImage(Early() + junk),
               StatusIs(StatusCode::kInvalidArgument,
                        absl::StrCat("in the archive at offset ",
                                     Early().size(), ": neither a cpio")));
    CHECK_THAT(StatusOfImage(testing::Gzip(Early() + junk)),
               StatusIs(StatusCode::kInvalidArgument, "neither a cpio"));
  }
  CHECK_THAT(StatusOfImage(""),
             StatusIs(StatusCode::kInvalidArgument, "no initramfs"));
  CHECK_THAT(StatusOfImage(std::string(4096, '\0')),
             StatusIs(StatusCode::kInvalidArgument, "no initramfs"));
  CHECK_THAT(StatusOfImage(testing::Gzip("")),
             StatusIs(StatusCode::kInvalidArgument, "no initramfs"));
  // The kernel takes a plain archive at a multiple of 4 only.
  CHECK_THAT(StatusOfImage(std::string(1, '\0') + Early()),
             StatusIs(StatusCode::kInvalidArgument, "offset 1"));
  CHECK_THAT(StatusOfImage("\x89LZO and so on"),
             StatusIs(StatusCode::kUnimplemented, "recompress it"));
}

TEST_CASE("What unpacks to more than is allowed is refused") {
  InitramfsOptions options;
  options.max_unpacked_size = 100'000;
  const std::string main = Main().Build();  // a little more than that
  CHECK_THAT(StatusOfImage(testing::Gzip(main), options),
             StatusIs(StatusCode::kResourceExhausted, "100000 bytes"));
  CHECK_THAT(StatusOfImage(main, options), IsOk());
  // Zeros between archives count as well.
  CHECK_THAT(StatusOfImage(testing::Gzip(std::string(200'000, '\0')), options),
             StatusIs(StatusCode::kResourceExhausted));
  options.max_unpacked_size = 1'000'000;
  options.max_names = 100;
  CpioBuilder many;
  for (int i = 0; i < 200; ++i) many.File(absl::StrCat("f", i), "");
  CHECK_THAT(StatusOfImage(many.Build(), options),
             StatusIs(StatusCode::kResourceExhausted, "100 names"));
  // Folders that no entry names as well.
  std::string deep;
  for (int i = 0; i < 500; ++i) deep += "d/";
  CHECK_THAT(StatusOfImage(CpioBuilder().File(deep + "x", "").Build(), options),
             StatusIs(StatusCode::kResourceExhausted, "100 names"));
}

TEST_CASE("Each algorithm that policies use") {
  for (const auto algorithm :
       {HashAlgorithm::kSha1, HashAlgorithm::kSha256, HashAlgorithm::kSha384,
        HashAlgorithm::kSha512}) {
    InitramfsOptions options;
    options.algorithm = algorithm;
    const std::string image = CpioBuilder().File("a", "content").Build();
    const auto tree = ReadInitramfs(AsBytes(image), options);
    REQUIRE_THAT(StatusOf(tree), IsOk());
    tree->ForEachFile([&](absl::string_view, const Digest& digest) {
      CHECK(digest == crypto::Hash(algorithm, AsBytes("content")));
    });
  }
  InitramfsOptions options;
  options.algorithm = HashAlgorithm::kMd5;
  CHECK_THAT(StatusOfImage(Early(), options),
             StatusIs(StatusCode::kUnimplemented, "md5"));
}

TEST_CASE("Images are found by their names") {
  const testing::TemporaryFolder folder;
  for (const char* name : {"initrd.img-6.1", "initramfs-6.1.img", "vmlinuz",
                           "System.map", "config-initrd"}) {
    REQUIRE_THAT(WriteFile(folder / name, "x"), IsOk());
  }
  std::filesystem::create_symlink("initrd.img-6.1", folder / "initrd.img");
  std::filesystem::create_directory(folder / "initrd.d");
  const auto images = FindInitramfsImages(folder.path());
  REQUIRE_THAT(StatusOf(images), IsOk());
  CHECK(*images == std::vector<std::string>{folder / "initramfs-6.1.img",
                                            folder / "initrd.img-6.1"});
  CHECK(FindInitramfsImages(folder / "none")->empty());
  CHECK_THAT(StatusOf(FindInitramfsImages(folder / "vmlinuz")),
             StatusIs(StatusCode::kUnavailable, "vmlinuz"));
}

}  // namespace
}  // namespace cupel::tenant
