#include "tests/lint/source_tree.h"

#include "absl/strings/str_join.h"
#include "catch2/catch.hpp"

namespace cupel::lint {
namespace {

std::string Code(absl::string_view source) {
  return absl::StrJoin(CodeLines(source), "\n");
}

TEST_CASE("CodeLines blanks comments and keeps the lines") {
  CHECK(Code("a // b\nc /* d\n e */ f\n") == "a     \nc     \n      f\n");
  CHECK(Code("a / b") == "a / b");
  CHECK(Code("/* no end\n") == "         \n");
}

TEST_CASE("CodeLines blanks literals") {
  CHECK(Code("f(\"x // \\\" y\") + g;") == "f(           ) + g;");
  CHECK(Code("'\"' + a") == "    + a");
  CHECK(Code("1'000'000 + 'a'") == "1'000'000 +    ");
  CHECK(Code("R\"x(a\n)\" // )x\" + b") == "     \n          + b");
}

TEST_CASE("CodeLines keeps the path of an include, outside of comments alone") {
  CHECK(Code("#include \"a/b.h\"  // c\n") == "#include \"a/b.h\"      \n");
  CHECK(Code("  # include <a>\n") == "  # include <a>\n");
  CHECK(Code("/*\n#include \"a.h\"\n*/") == "  \n              \n  ");
  CHECK(Code("R\"(\n#include \"a.h\"\n)\"") == "   \n              \n  ");
}

TEST_CASE("ReadTree reads this project") {
  const auto tree = ReadTree(CUPEL_SOURCE_DIR);
  REQUIRE(tree.ok());
  const File* const header = Find(*tree, "common/util/hex.h");
  REQUIRE(header != nullptr);
  CHECK(header->text.find("HexEncode") != std::string::npos);
  CHECK(Find(*tree, "tests/lint/source_tree_test.cc") != nullptr);
  CHECK(Find(*tree, ".ci/run") != nullptr);
  CHECK(Find(*tree, "CMakeLists.txt") != nullptr);
  for (const File& file : *tree) {
    CHECK(file.path.rfind("build/", 0) != 0);
    CHECK(file.path.rfind(".git/", 0) != 0);
  }
}

TEST_CASE("ReadTree refuses a folder that is not there") {
  CHECK_FALSE(ReadTree(CUPEL_SOURCE_DIR "/no/such/folder").ok());
}

}  // namespace
}  // namespace cupel::lint
