// allowlist create.

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "common/crypto/digest.h"
#include "common/util/bytes.h"
#include "nlohmann/json.hpp"
#include "tests/cli/cli.h"
#include "tests/support/cpio_builder.h"
#include "tests/support/skip.h"
#include "tests/support/temporary_folder.h"

namespace cupel::testing {
namespace {

namespace fs = std::filesystem;
using Arguments = std::vector<std::string>;
using crypto::HashAlgorithm;

std::string Line(absl::string_view content, absl::string_view path,
                 HashAlgorithm algorithm = HashAlgorithm::kSha256) {
  return absl::StrCat(crypto::Hash(algorithm, AsBytes(content)).Hex(), "  ",
                      path, "\n");
}

// A root filesystem.
class Root {
 public:
  Root() {
    Write("usr/bin/ls", "ls");
    Write("sbin/init", "init");
    fs::create_directory_symlink("usr/bin", folder / "bin");
  }
  void Write(const std::string& path, absl::string_view content) const {
    fs::create_directories(fs::path(folder / path).parent_path());
    Spill(folder / path, content);
  }
  CommandResult Create(const Arguments& more) const {
    return Tenant(Arguments{"allowlist", "create"} + more +
                  Arguments{"--root", folder.path()});
  }

  TemporaryFolder folder;
};

TEST_CASE("allowlist create: each file by its real path, as sha256sum writes") {
  const Root root;
  root.Write("a b", "blank");
  root.Write("odd\n\\name", "odd");
  const CommandResult result = root.Create({"-"});
  CAPTURE(result);
  CHECK(result.exit_code == 0);
  CHECK(result.err.empty());
  CHECK(result.out == absl::StrCat(Line("blank", "/a_b"), "\\",
                                   Line("odd", "/odd\\n\\\\name"),
                                   Line("init", "/sbin/init"),
                                   Line("ls", "/usr/bin/ls")));
}

TEST_CASE("allowlist create: by the algorithm that the kernel measures with") {
  const Root root;
  const std::vector<std::pair<const char*, HashAlgorithm>> words = {
      {"sha1", HashAlgorithm::kSha1},
      {"sha1sum", HashAlgorithm::kSha1},
      {"sha256", HashAlgorithm::kSha256},
      {"sha256sum", HashAlgorithm::kSha256},
      {"sha384", HashAlgorithm::kSha384},
      {"sha512", HashAlgorithm::kSha512},
      {"sha512sum", HashAlgorithm::kSha512}};
  for (const auto& [word, algorithm] : words) {
    CAPTURE(word);
    const CommandResult result = root.Create({"-", word});
    CHECK(result.out == absl::StrCat(Line("init", "/sbin/init", algorithm),
                                     Line("ls", "/usr/bin/ls", algorithm)));
    // No longer proof of what a file is.
    CHECK(absl::StrContains(result.err, "SHA-1") ==
          (algorithm == HashAlgorithm::kSha1));
  }
  for (const char* word : {"md5", "md5sum", "sha224", "SHA256", "sum"}) {
    CAPTURE(word);
    CHECK_THAT(root.Create({"-", word}), IsRefused("the algorithm is"));
  }
  CHECK_THAT(root.Create({"-", ""}),
             IsRefused("algorithm: the value is empty"));
}

TEST_CASE("allowlist create: what it writes judges what is there") {
  const Root root;
  const std::string out = root.folder / "out";
  const CommandResult result = root.Create({out});
  CHECK(result.exit_code == 0);
  CHECK(result.out ==
        absl::StrCat(out, ": 2 digests, of 2 files and 0 in the initramfs\n"));
  CHECK(Tenant({"policy", "show", out, "--path", "/usr/bin/ls"}).exit_code ==
        0);
  CHECK(Tenant({"policy", "show", out, "--path", "/bin/ls"}).exit_code == 1);
  const CommandResult json = root.Create({out, "--json"});
  CHECK(nlohmann::json::parse(json.out)["files"] == 3);  // out as well
  CHECK_THAT(root.Create({"-", "--json"}), IsRefused("name a file"));
}

TEST_CASE("allowlist create: with the images of /boot, unless told otherwise") {
  const Root root;
  const std::string image = CpioBuilder().File("init", "early init").Build();
  root.Write("boot/initrd.img-6.1", Zstd(image));
  const std::string other = root.folder / "other";
  const std::string files = absl::StrCat(
      Line(Zstd(image), "/boot/initrd.img-6.1"), Line("early init", "/init"),
      Line("init", "/sbin/init"), Line("ls", "/usr/bin/ls"));
  CHECK(root.Create({"-"}).out == files);
  CHECK_FALSE(
      absl::StrContains(root.Create({"-", "--no-initramfs"}).out, "  /init\n"));
  const TemporaryFolder elsewhere;
  Spill(elsewhere / "x", CpioBuilder().File("other", "o").Build());
  const CommandResult named =
      root.Create({"-", "--initramfs", elsewhere / "x"});
  CHECK(absl::StrContains(named.out, Line("o", "/other")));
  CHECK_FALSE(absl::StrContains(named.out, "  /init\n"));
  // One that can't be read is no reason to leave it out in silence.
  root.Write("boot/initrd.img-6.2", "junk");
  CHECK_THAT(root.Create({"-"}), IsRefused("initrd.img-6.2: in the archive at "
                                           "offset 0"));
  CHECK_THAT(
      root.Create({"-", "--initramfs", elsewhere / "x", "--no-initramfs"}),
      IsRefused("not both"));
}

// What others make of the same: cpio's archive, by way of what compresses it.
TEST_CASE(
    "allowlist create: an image by cpio has the files that it was made of") {
  SkipUnlessInPath({"cpio", "gzip", "bzip2", "xz", "lzma", "lz4", "zstd"});
  const Root root;
  root.Write("init", "init");
  root.Write("usr/lib/empty", "");
  fs::create_hard_link(root.folder / "init", root.folder / "usr/bin/again");
  const TemporaryFolder elsewhere;
  const CommandResult expected = root.Create({"-"});
  for (const char* tool : {"cat", "gzip -c", "bzip2 -c", "xz -c --check=crc32",
                           "lzma -c", "lz4 -lc", "zstd -c"}) {
    CAPTURE(tool);
    CommandOptions options;
    options.folder = root.folder.path();
    const auto made =
        RunCommand({"sh", "-c",
                    absl::StrCat("find . | cpio -o -H newc --quiet | ", tool,
                                 " > ", elsewhere / "image")},
                   options);
    REQUIRE((made.ok() && made->exit_code == 0));
    const TemporaryFolder empty;
    const CommandResult result =
        Tenant({"allowlist", "create", "-", "--root", empty.path(),
                "--initramfs", elsewhere / "image"});
    CHECK(result.out == expected.out);
  }
}

TEST_CASE("allowlist create: the file is replaced at the end, or not at all") {
  const Root root;
  const TemporaryFolder elsewhere;
  const std::string out = elsewhere / "allowlist";
  Spill(out, "old");
  CHECK_THAT(root.Create({out, "--initramfs", "/no/such"}),
             IsRefused("/no/such"));
  CHECK(TextOf(out) == "old");
  CHECK(elsewhere.CountFiles() == 1);
  CHECK(root.Create({out}).exit_code == 0);
  CHECK(Lines(TextOf(out)).size() == 2);
  CHECK(elsewhere.CountFiles() == 1);
  CHECK_THAT(root.Create({elsewhere / "none/x"}), IsRefused("none"));
}

TEST_CASE("allowlist create: a root that is none") {
  const Root root;
  const TemporaryFolder empty;
  CHECK_THAT(Tenant({"allowlist", "create", "-", "--root", empty.path()}),
             IsRefused("nothing to allow"));
  CHECK_THAT(Tenant({"allowlist", "create", "-", "--root", "/no/such"}),
             IsRefused("/no/such"));
  CHECK_THAT(Tenant({"allowlist", "create"}), IsRefused("output"));
}

// Runs the program as a user who may not read everything. Root may, so that
// another one has to be found.
CommandResult RunAsNobody(const Arguments& arguments) {
  Arguments command = Arguments{CUPEL_TENANT} + arguments;
  if (geteuid() == 0) {
    SkipUnlessInPath({"setpriv"});
    command = Arguments{"setpriv", "--reuid=65534", "--regid=65534",
                        "--clear-groups"} +
              command;
  }
  const auto result = RunCommand(command);
  REQUIRE(result.ok());
  if (result->exit_code == 126 || result->exit_code == 127) {
    Skip("only root can reach this build");
  }
  return *result;
}

TEST_CASE("allowlist create: what can't be read is named") {
  const Root root;
  root.Write("etc/shadow", "secret");
  root.Write("private/x", "x");
  chmod(root.folder.path().c_str(), 0755);
  chmod((root.folder / "etc/shadow").c_str(), 0);
  chmod((root.folder / "private").c_str(), 0);
  const Arguments create = {"allowlist", "create", "-", "--root",
                            root.folder.path()};
  const CommandResult refused = RunAsNobody(create);
  CHECK_THAT(refused, IsRefused("2 files or folders can't be read"));
  CHECK(absl::StrContains(refused.err, "/etc/shadow: Permission denied"));
  CHECK(absl::StrContains(refused.err, "/private: Permission denied"));
  CHECK(absl::StrContains(refused.err, "--skip-unreadable"));
  const CommandResult skipped =
      RunAsNobody(create + Arguments{"--skip-unreadable"});
  CHECK(skipped.exit_code == 0);
  CHECK(absl::StrContains(skipped.err,
                          "warning: skipped, can't be read: /etc/shadow"));
  CHECK(skipped.out ==
        absl::StrCat(Line("init", "/sbin/init"), Line("ls", "/usr/bin/ls")));
  // Left out, it is no error.
  CHECK(RunAsNobody(create + Arguments{"--skip-path", "/private", "--skip-path",
                                       "/etc/shadow"})
            .err.empty());
  chmod((root.folder / "private").c_str(), 0700);
}

TEST_CASE("allowlist create: what is mounted of other kinds is left out") {
  const Root root;
  fs::create_directory(root.folder / "mnt");
  const std::string script =
      absl::StrCat("mount -t tmpfs none ", root.folder / "mnt", " && touch ",
                   root.folder / "mnt/x", " || exit 77; exec ", CUPEL_TENANT,
                   " allowlist create - --root ", root.folder.path());
  SkipUnlessInPath({"unshare"});
  const auto result = RunCommand({"unshare", "-m", "sh", "-c", script});
  REQUIRE(result.ok());
  // unshare's own failure is 1, that of the mount 77.
  if (result->exit_code != 0 &&
      !absl::StrContains(result->err, "cupel-tenant")) {
    Skip("a mount is not allowed here");
  }
  CHECK(result->exit_code == 0);
  CHECK(result->out ==
        absl::StrCat(Line("init", "/sbin/init"), Line("ls", "/usr/bin/ls")));
}

}  // namespace
}  // namespace cupel::testing
