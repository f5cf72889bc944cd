#include "tests/lint/citation_lint.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"

namespace cupel::lint {
namespace {

using Rules = std::vector<std::string>;

TEST_CASE("The project's documents cite what there is") {
  const auto tree = ReadTree(CUPEL_SOURCE_DIR);
  REQUIRE(tree.ok());
  REQUIRE(Find(*tree, "docs/threat-model.md") != nullptr);
  CHECK(Describe(CheckCitations(*tree)) == "");
}

// `text` in `document`, beside a source and its test.
Rules Broken(const std::string& text,
             const std::string& document = "docs/a.md") {
  Rules rules;
  for (const Violation& violation : CheckCitations(
           {{"common/a.cc", "void Judge::Check() { CheckAll(); }\n"},
            {"common/a.h", ""},
            {document, text},
            {"tests/a_test.cc",
             "TEST_CASE(\"A1: once\") {}\n"
             "TEST_CASE(\n    \"A2: a name \"\n    \"in two parts\") {}\n"
             "TEST_CASE_METHOD(Fixture, \"A3: of a fixture [A4]\", \"[x]\") "
             "{}\n"
             "// \"A5: a comment\"\n"}})) {
    rules.push_back(violation.rule);
  }
  return rules;
}

TEST_CASE("A name that is cited stands in its file") {
  CHECK(Broken("see [`Check`](../common/a.cc)\n") == Rules{});
  CHECK(Broken("see [`Judge::Check`](../common/a.cc)\n") == Rules{});
  CHECK(Broken("see [`Chec`](../common/a.cc)\n") == Rules{"cite"});
  CHECK(Broken("see [`Check`](../common/a.h)\n") == Rules{"cite"});
  CHECK(Broken("[`Check`](../common/a.cc), [`No`](../common/a.cc)\n") ==
        Rules{"cite"});
  CHECK(Broken("see [any text](../common/a.cc)\n") == Rules{});
  CHECK(Broken("see [`log show`](b.md)\n") == Rules{});
}

TEST_CASE("A test that is cited stands in its file") {
  CHECK(Broken("[\"A1: once\"](../tests/a_test.cc)\n") == Rules{});
  CHECK(Broken("[\"A2: a name in two parts\"](../tests/a_test.cc)\n") ==
        Rules{});
  CHECK(Broken("[\"A3: of a fixture [A4]\"](../tests/a_test.cc)\n") == Rules{});
  CHECK(Broken("[\"A1: onc\"](../tests/a_test.cc)\n") == Rules{"cite"});
  CHECK(Broken("[\"A1: once \"](../tests/a_test.cc)\n") == Rules{"cite"});
  CHECK(Broken("[\"[x]\"](../tests/a_test.cc)\n") == Rules{"cite"});
  CHECK(Broken("[\"A5: a comment\"](../tests/a_test.cc)\n") == Rules{"cite"});
  CHECK(Broken("[\"A1: once\"](../common/a.cc)\n") == Rules{"cite"});
}

TEST_CASE("A part that is linked to is there") {
  const std::string text = "# A\n\n## What `is` there, now?\n";
  CHECK(Broken(text + "[x](#what-is-there-now), [y](#a)\n") == Rules{});
  CHECK(Broken(text + "[x](../docs/a.md#what-is-there-now)\n") == Rules{});
  CHECK(Broken(text + "[x](#what-is-there)\n") == Rules{"anchor"});
  CHECK(Broken(text + "[x](../docs/a.md#b)\n") == Rules{"anchor"});
  CHECK(Broken(text + "[x](https://example.com/y#b)\n") == Rules{});
  CHECK(Broken("what-is-there [x](#what-is-there)\n") == Rules{"anchor"});
}

TEST_CASE("Each claim of the threat model cites a check and a test") {
  const std::string check = "[`Check`](../common/a.cc)";
  const std::string test = "[\"A1: once\"](../tests/a_test.cc)";
  const auto row = [](int id, const std::string& checks,
                      const std::string& tests) {
    return absl::StrCat("| C", id, " | a claim | ", checks, " | ", tests,
                        " |\n");
  };
  const auto broken = [](const std::string& text) {
    return Broken(text, "docs/threat-model.md");
  };
  CHECK(broken(row(1, check, test) + row(2, check, test)) == Rules{});
  CHECK(broken("") == Rules{"claim"});
  CHECK(broken(row(2, check, test)) == Rules{"claim"});
  CHECK(broken(row(1, check, test) + row(1, check, test)) == Rules{"claim"});
  CHECK(broken(row(1, "a check", test)) == Rules{"claim"});
  CHECK(broken(row(1, check, "a test")) == Rules{"claim"});
  CHECK(broken(row(1, test, check)) == Rules{"claim", "claim"});
  CHECK(broken("| C1 | a claim | " + check + " |\n") ==
        Rules{"claim", "claim"});
}

}  // namespace
}  // namespace cupel::lint
