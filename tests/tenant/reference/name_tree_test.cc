#include "tenant/reference/name_tree.h"

#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "common/util/bytes.h"

namespace cupel::tenant {
namespace {

using crypto::Digest;
using crypto::HashAlgorithm;
using Files = std::map<std::string, std::string>;

// A tree whose files are told apart by a word.
class Tree {
 public:
  bool File(absl::string_view path, absl::string_view word) {
    const auto file = tree.AddFile(path);
    if (file.has_value()) {
      tree.SetDigest(*file,
                     crypto::Hash(HashAlgorithm::kSha256, AsBytes(word)));
      words_[crypto::Hash(HashAlgorithm::kSha256, AsBytes(word)).Hex()] =
          std::string(word);
    }
    return file.has_value();
  }
  // Path to word.
  Files files() {
    Files all;
    tree.ForEachFile([&](absl::string_view path, const Digest& digest) {
      all[std::string(path)] = words_[digest.Hex()];
    });
    return all;
  }

  NameTree tree;

 private:
  std::map<std::string, std::string> words_;
};

TEST_CASE("Names are paths from the root, whatever they begin with") {
  Tree t;
  CHECK(t.File("init", "1"));
  CHECK(t.File("./bin/sh", "2"));
  CHECK(t.File("//sbin///init", "3"));
  CHECK(t.File("etc/./x/../y", "4"));
  CHECK(t.files() == Files{{"/init", "1"},
                           {"/bin/sh", "2"},
                           {"/sbin/init", "3"},
                           {"/etc/y", "4"}});
}

TEST_CASE("Nothing leads out of the root") {
  Tree t;
  CHECK(t.File("../../etc/shadow", "1"));
  t.tree.AddSymlink("up", "../../../..");
  t.tree.AddSymlink("absolute", "/../../");
  CHECK(t.File("up/a", "2"));
  CHECK(t.File("absolute/b", "3"));
  CHECK(t.files() == Files{{"/etc/shadow", "1"}, {"/a", "2"}, {"/b", "3"}});
  for (const char* path : {"", "/", ".", "..", "a/..", "/../."}) {
    CAPTURE(path);
    CHECK_FALSE(t.File(path, "x"));
    CHECK_FALSE(t.tree.AddFolder(path).has_value());
    CHECK_FALSE(t.tree.AddSymlink(path, "a").has_value());
    CHECK_FALSE(t.tree.AddSpecial(path).has_value());
  }
}

TEST_CASE("A file stands at its real path, once") {
  Tree t;
  t.tree.AddFolder("usr/bin");
  t.tree.AddSymlink("bin", "usr/bin");
  t.tree.AddSymlink("lib", "/usr/lib");
  t.tree.AddSymlink("usr/sbin", "../bin");
  CHECK(t.File("bin/sh", "1"));
  CHECK(t.File("lib/libc.so", "2"));
  CHECK(t.File("usr/sbin/init", "3"));
  CHECK(t.files() == Files{{"/usr/bin/sh", "1"},
                           {"/usr/lib/libc.so", "2"},
                           {"/usr/bin/init", "3"}});
}

TEST_CASE("Links in a circle end nowhere") {
  Tree t;
  t.tree.AddSymlink("a", "b");
  t.tree.AddSymlink("b", "a");
  t.tree.AddSymlink("self", "self/x");
  CHECK_FALSE(t.File("a/x", "1"));
  CHECK_FALSE(t.File("self/x", "1"));
  // 40 of them are followed, as by the kernel.
  for (int i = 0; i < 41; ++i) {
    t.tree.AddSymlink(absl::StrCat("l", i), absl::StrCat("l", i + 1));
  }
  t.tree.AddFolder("l41");
  CHECK(t.File("l1/x", "2"));
  CHECK_FALSE(t.File("l0/x", "3"));
  CHECK(t.files() == Files{{"/l41/x", "2"}});
}

TEST_CASE("A later entry takes an earlier one's place") {
  Tree t;
  CHECK(t.File("a", "1"));
  CHECK(t.File("a", "2"));
  CHECK(t.files() == Files{{"/a", "2"}});
  t.tree.AddSymlink("a", "b");
  CHECK(t.files().empty());
  CHECK(t.File("a", "3"));  // not /b
  CHECK(t.files() == Files{{"/a", "3"}});
  t.tree.AddFolder("a");
  CHECK(t.files().empty());
  t.tree.AddSpecial("a");
  CHECK_FALSE(t.File("a/b", "4"));
  t.tree.AddFolder("a");
  CHECK(t.File("a/b", "5"));
  // A folder that holds something stays.
  CHECK_FALSE(t.File("a", "6"));
  CHECK_FALSE(t.tree.AddSymlink("a", "b").has_value());
  CHECK(t.tree.AddFolder("a").has_value());
  CHECK(t.files() == Files{{"/a/b", "5"}});
}

TEST_CASE("All names of a file show the same") {
  Tree t;
  CHECK(t.File("a", "1"));
  const auto file = t.tree.AddFile("a");
  REQUIRE(file.has_value());
  CHECK(t.tree.AddHardLink("usr/b", *file) == file);
  CHECK(t.files() == Files{{"/a", "1"}, {"/usr/b", "1"}});
  CHECK(t.File("usr/b", "2"));
  CHECK(t.files() == Files{{"/a", "2"}, {"/usr/b", "2"}});
  t.tree.AddSymlink("a", "x");
  CHECK(t.files() == Files{{"/usr/b", "2"}});
}

TEST_CASE("A file without content is listed once it is known") {
  Tree t;
  REQUIRE(t.tree.AddFile("a").has_value());
  CHECK(t.files().empty());
}

TEST_CASE("Paths longer than the kernel names are left out") {
  Tree t;
  const std::string folder(250, 'd');
  std::string path;
  for (int i = 0; i < 16; ++i) absl::StrAppend(&path, folder, "/");  // 4016
  CHECK(t.File(absl::StrCat(path, std::string(78, 'x')), "1"));
  CHECK_FALSE(t.File(absl::StrCat(path, std::string(79, 'y')), "2"));
  // By way of a link as well.
  t.tree.AddSymlink("l", path);
  CHECK(t.File(absl::StrCat("l/", std::string(78, 'z')), "3"));
  CHECK_FALSE(t.File(absl::StrCat("l/a/", std::string(78, 'z')), "4"));
  CHECK(t.files().size() == 2);
}

TEST_CASE("A way of too many names leads nowhere, and makes few folders") {
  Tree t;
  std::string path;
  for (int i = 0; i < 2000; ++i) path += "d/";
  CHECK_FALSE(t.File(path + "x", "1"));
  CHECK(t.tree.size() < 1100);
}

}  // namespace
}  // namespace cupel::tenant
