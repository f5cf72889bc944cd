#include "tests/lint/text_lint.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "catch2/catch.hpp"

namespace cupel::lint {
namespace {

using Rules = std::vector<std::string>;

Tree ReadProject() {
  auto tree = ReadTree(CUPEL_SOURCE_DIR);
  REQUIRE(tree.ok());
  return *std::move(tree);
}

Rules RulesOf(const std::vector<Violation>& violations) {
  Rules rules;
  for (const Violation& violation : violations) {
    rules.push_back(violation.rule);
  }
  return rules;
}

TEST_CASE("The project's sources are in order") {
  CHECK(Describe(CheckSources(ReadProject())) == "");
}

TEST_CASE("The project's texts are in order") {
  CHECK(Describe(CheckTexts(ReadProject())) == "");
}

TEST_CASE("The project's fuzz targets are in order") {
  CHECK(Describe(CheckFuzzTargets(ReadProject())) == "");
}

TEST_CASE("The project's table of attacks is in order") {
  CHECK(Describe(CheckAttackTable(ReadProject())) == "");
}

constexpr char kGuarded[] =
    "// What it is.\n"
    "#ifndef CUPEL_COMMON_UTIL_A_B_H_\n"
    "#define CUPEL_COMMON_UTIL_A_B_H_\n"
    "#include <vector>\n"
    "#endif  // CUPEL_COMMON_UTIL_A_B_H_\n";

Rules BrokenHeader(const std::string& text) {
  return RulesOf(CheckSources({{"common/util/a_b.h", text}}));
}

std::string Replaced(std::string text, const std::string& what,
                     const std::string& with) {
  const size_t at = text.find(what);
  REQUIRE(at != std::string::npos);
  return text.replace(at, what.size(), with);
}

TEST_CASE("A header is guarded by its path") {
  CHECK(BrokenHeader(kGuarded) == Rules{});
  CHECK(BrokenHeader("") == Rules{"guard"});
  CHECK(BrokenHeader(Replaced(kGuarded, "#ifndef CUPEL_COMMON_UTIL_A_B_H_",
                              "#ifndef CUPEL_A_B_H_")) == Rules{"guard"});
  CHECK(BrokenHeader(Replaced(kGuarded, "#define CUPEL_COMMON_UTIL_A_B_H_",
                              "#define CUPEL_COMMON_UTIL_A_B_H")) ==
        Rules{"guard"});
  CHECK(BrokenHeader(Replaced(kGuarded, "#endif  // CUPEL_COMMON",
                              "#endif  // COMMON")) == Rules{"guard"});
  CHECK(BrokenHeader(Replaced(kGuarded, "// What it is.\n",
                              "#include <span>\n")) == Rules{"guard"});
  CHECK(BrokenHeader(Replaced(kGuarded, "#include <vector>", "#pragma once")) ==
        Rules{"guard"});
}

TEST_CASE("No source says using namespace, a comment may") {
  const auto with = [](const std::string& line) {
    return BrokenHeader(Replaced(kGuarded, "#include <vector>", line));
  };
  CHECK(with("using namespace std;") == Rules{"using"});
  CHECK(with("  using  namespace std::literals;") == Rules{"using"});
  CHECK(with("// using namespace std;") == Rules{});
  CHECK(with("using std::vector;") == Rules{});
}

// A source file at `path`, and a CMakeLists.txt beside it that names it.
Rules BrokenPlace(const std::string& path) {
  return RulesOf(CheckSources(
      {{absl::StrCat(FolderOf(path), "/CMakeLists.txt"),
        absl::StrCat("cupel_library(x SOURCES ", NameOf(path), ")\n",
                     "cupel_fuzzer(", absl::StripSuffix(NameOf(path), ".cc"),
                     ")\n")},
       {path, ""}}));
}

TEST_CASE("A source file stands in a room of the architecture") {
  for (const char* path :
       {"common/util/a.cc", "common/uefi/a.cc", "agent/main.cc",
        "agent/tpm/a.cc", "verifier/session/a.cc", "tenant/commands/a.cc",
        "tests/lint/a_test.cc", "tests/common/util/a_test.cc",
        "tests/verifier/store/a_test.cc", "tests/fuzz/a_fuzzer.cc"}) {
    CAPTURE(path);
    CHECK(BrokenPlace(path) == Rules{});
  }
  for (const char* path : {"common/a.cc", "common/misc/a.cc", "src/a.cc",
                           "common/util/detail/a.cc", "tests/a.cc",
                           "tests/util/a_test.cc", "agent/store/a.cc"}) {
    CAPTURE(path);
    CHECK(BrokenPlace(path) == Rules{"room"});
  }
}

TEST_CASE("A source file's name says what it is") {
  CHECK(BrokenPlace("common/util/ByteReader.cc") == Rules{"name"});
  CHECK(BrokenPlace("common/util/byte-reader.cc") == Rules{"name"});
  CHECK(BrokenPlace("common/util/byte_reader_test.cc") == Rules{"name"});
  CHECK(BrokenPlace("tests/common/util/hex_fuzzer.cc") == Rules{"name"});
  CHECK(BrokenPlace("tests/fuzz/hex.cc") == Rules{"name"});
}

TEST_CASE("A source file is built") {
  const File source{"tests/common/util/hex_test.cc", ""};
  const auto broken = [&](const std::string& cmake, const std::string& text) {
    return RulesOf(CheckSources({{cmake, text}, source}));
  };
  CHECK(broken("tests/common/util/CMakeLists.txt",
               "cupel_test(a SOURCES hex_test.cc)") == Rules{});
  CHECK(broken("tests/common/CMakeLists.txt", "a(SOURCES util/hex_test.cc)") ==
        Rules{});
  CHECK(broken("tests/common/util/CMakeLists.txt", "") == Rules{"built"});
  CHECK(broken("tests/common/util/CMakeLists.txt", "a(escape_hex_test.cc)") ==
        Rules{"built"});
  CHECK(broken("common/util/CMakeLists.txt", "a(hex_test.cc)") ==
        Rules{"built"});
  CHECK(RulesOf(CheckSources(
            {{"tests/fuzz/CMakeLists.txt", "cupel_fuzzer(a_fuzzer DEPS x)\n"},
             {"tests/fuzz/a_fuzzer.cc", ""}})) == Rules{});
}

Rules BrokenText(const std::string& path, const std::string& text) {
  return RulesOf(CheckTexts({{path, text}, {"docs/adr/0001-a.md", ""}}));
}

TEST_CASE("Texts end their lines cleanly") {
  CHECK(BrokenText("a.md", "a\n\n  b\n") == Rules{});
  CHECK(BrokenText("a.md", "a \n") == Rules{"whitespace"});
  CHECK(BrokenText("a.md", "a\t\n") == Rules{"whitespace"});
  CHECK(BrokenText("a.md", "\ta\n") == Rules{"whitespace"});
  CHECK(BrokenText("a.md", "a\r\n") == Rules{"whitespace"});
  CHECK(BrokenText("a.md", "a") == Rules{"whitespace"});
}

TEST_CASE("Texts speak of the project alone") {
  CHECK(BrokenText("a.sh",
                   "see deb.debi"
                   "an.org\n") == Rules{"word"});
  CHECK(BrokenText("a.sh",
                   "archive.ubun"
                   "tu.com\n") == Rules{"word"});
  CHECK(BrokenText("a.md",
                   "in /wor"
                   "k/main\n") == Rules{"word"});
  CHECK(BrokenText("a.md",
                   "in /ho"
                   "me/somebody\n") == Rules{"word"});
  CHECK(BrokenText("a.cc",
                   "// TO"
                   "DO: write\n") == Rules{"word"});
  CHECK(BrokenText("a.cc",
                   "// FIX"
                   "ME\n") == Rules{"word"});
  CHECK(BrokenText("a.cc",
                   "// XX"
                   "X\n") == Rules{"word"});
  CHECK(BrokenText("a.cc",
                   "mkostemp(\"a.XX"
                   "XXXX\")\n") == Rules{});
  CHECK(BrokenText("a.md", "Debian 12\n") == Rules{});
}

TEST_CASE("Links lead somewhere") {
  CHECK(BrokenText("README.md", "[a](docs/adr/0001-a.md)\n") == Rules{});
  CHECK(BrokenText("README.md", "[a](docs/adr), [b](docs/adr/)\n") == Rules{});
  CHECK(BrokenText("README.md", "[a](docs/adr/0001-a.md#part)\n") == Rules{});
  CHECK(BrokenText("README.md", "[a](https://example.com/x)\n") == Rules{});
  CHECK(BrokenText("docs/b.md", "[a](adr/0001-a.md)\n") == Rules{});
  CHECK(BrokenText("docs/x/b.md", "[a](../adr/0001-a.md)\n") == Rules{});
  CHECK(BrokenText("README.md", "[a](docs/gone.md)\n") == Rules{"link"});
  CHECK(BrokenText("README.md", "[a](docs/adr) [b](gone.md)\n") ==
        Rules{"link"});
  CHECK(BrokenText("docs/b.md", "[a](docs/adr/0001-a.md)\n") == Rules{"link"});
  CHECK(BrokenText("README.md", "[a](../docs/adr)\n") == Rules{"link"});
  CHECK(BrokenText("a.cc", "x[i](gone)\n") == Rules{});
}

TEST_CASE("A document that a source names is there") {
  CHECK(BrokenText("common/a.h", "// See docs/adr/0001-a.md, 7.\n") == Rules{});
  CHECK(BrokenText("common/a.h", "// See docs/gone.md, 7.\n") == Rules{"link"});
}

TEST_CASE("Fuzz targets, their files and their corpora belong together") {
  const File cmake{"tests/fuzz/CMakeLists.txt",
                   "function(cupel_fuzzer name)\n"
                   "cupel_fuzzer(hex_fuzzer DEPS cupel::common_util)\n"};
  const File target{"tests/fuzz/hex_fuzzer.cc", ""};
  CHECK(RulesOf(CheckFuzzTargets(
            {cmake, target, {"tests/fuzz/corpus/hex_fuzzer/a", ""}})) ==
        Rules{});
  CHECK(RulesOf(CheckFuzzTargets({cmake})) == Rules{"fuzz"});
  CHECK(RulesOf(CheckFuzzTargets(
            {cmake, target, {"tests/fuzz/escape_fuzzer.cc", ""}})) ==
        Rules{"fuzz"});
  CHECK(RulesOf(CheckFuzzTargets(
            {cmake, target, {"tests/fuzz/corpus/hexx_fuzzer/a", ""}})) ==
        Rules{"fuzz"});
}

std::string Rows(int count) {
  std::string rows = "# Attacks\n\n| id | attack | answer | status |\n";
  for (int i = 1; i <= count; ++i) {
    absl::StrAppend(&rows, "| A", i, " | a | b | later |\n");
  }
  return rows;
}

Rules BrokenTable(const std::string& table, const std::string& test = "") {
  return RulesOf(CheckAttackTable(
      {{"docs/attacks.md", table}, {"tests/attacks/a_test.cc", test}}));
}

TEST_CASE("The table of attacks is complete and in order") {
  CHECK(BrokenTable(Rows(43)) == Rules{});
  CHECK(RulesOf(CheckAttackTable({})) == Rules{"attack"});
  CHECK(BrokenTable(Rows(42)) == Rules{"attack"});
  CHECK(BrokenTable(Rows(44)) == Rules{"attack"});
  CHECK(BrokenTable(Replaced(Rows(43), "| A7 | a | b | later |\n", "")) ==
        Rules{"attack"});
  CHECK(BrokenTable(Replaced(Rows(43), "| A7 | a |", "| A7 |  |")) ==
        Rules{"attack", "attack"});
  CHECK(BrokenTable(Replaced(Rows(43), "| A7 | a | b | later |",
                             "| A7 | a | b | perhaps |")) == Rules{"attack"});
}

TEST_CASE("An attack's status tells the truth about its test") {
  const std::string tested =
      Replaced(Rows(43), "| A7 | a | b | later |", "| A7 | a | b | tested |");
  CHECK(BrokenTable(tested, "TEST_CASE(\"A7: other bank\") {") == Rules{});
  CHECK(BrokenTable(tested, "TEST_CASE(\"Quotes: A7, other bank\") {") ==
        Rules{});
  CHECK(BrokenTable(tested) == Rules{"attack"});
  CHECK(BrokenTable(tested, "TEST_CASE(\"A70: other\") {") == Rules{"attack"});
  CHECK(BrokenTable(tested, "// A7 is tested elsewhere\n") == Rules{"attack"});
  CHECK(BrokenTable(Rows(43), "TEST_CASE(\"A7: other bank\") {") ==
        Rules{"attack"});
}

}  // namespace
}  // namespace cupel::lint
