#include "common/policy/exclude_list.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "common/policy/exclude_lint.h"
#include "tests/support/status_matchers.h"

namespace cupel::policy {
namespace {

using testing::IsOk;
using testing::StatusIs;

using testing::kInvalid;
constexpr absl::StatusCode kExhausted = absl::StatusCode::kResourceExhausted;

ExcludeSet SetOf(const std::vector<std::string>& texts) {
  std::vector<ExcludePattern> patterns;
  patterns.reserve(texts.size());
  for (const std::string& text : texts) patterns.push_back({text, "test"});
  auto set = ExcludeSet::Create(std::move(patterns));
  REQUIRE_THAT(set.status(), IsOk());
  return *std::move(set);
}

std::vector<std::string> CodesOf(const std::string& text) {
  const std::vector<ExcludePattern> patterns = {{text, "test"}};
  std::vector<std::string> codes;
  for (const PolicyWarning& warning : LintExcludes(patterns, "test")) {
    codes.push_back(warning.code);
  }
  std::ranges::sort(codes);
  return codes;
}

TEST_CASE("A set without patterns excludes nothing") {
  const ExcludeSet set;
  CHECK_FALSE(set.Matches("/a"));
  CHECK_FALSE(set.Matches(""));
  CHECK_FALSE(SetOf({}).Matches("/a"));
}

TEST_CASE("Any pattern of a set excludes, from the start of the path") {
  const ExcludeSet set = SetOf({"/nope", "/tmp/.*", "/var/log$"});
  CHECK(set.Matches("/tmp/a"));
  CHECK(set.Matches("/var/log"));
  CHECK_FALSE(set.Matches("/var/log/a"));
  CHECK_FALSE(set.Matches("/x/tmp/a"));
  CHECK_FALSE(set.Matches(""));
  CHECK_FALSE(set.Matches("/usr"));
}

TEST_CASE("One pattern's flags don't reach the next") {
  const ExcludeSet set = SetOf({"(?i)/A$", "/B$", "/c|/d", "/e$"});
  CHECK(set.Matches("/a"));
  CHECK_FALSE(set.Matches("/b"));
  CHECK(set.Matches("/d"));
  CHECK_FALSE(set.Matches("d"));
}

TEST_CASE("Names without a slash need a pattern that starts as they do") {
  CHECK(SetOf({"memfd:.*"}).Matches("memfd:x"));
  CHECK(SetOf({"/tmp/.*|memfd:.*"}).Matches("memfd:x"));
  CHECK(SetOf({"\\.ima"}).Matches(".ima"));
  CHECK(SetOf({"a.*"}).Matches("ab"));
  for (const char* pattern : {".*x", ".ima", "[m]emfd:", "(memfd:.*)",
                              "(?i)memfd:", ".*/cache/.*|.ima", "m?emfd:"}) {
    INFO(pattern);
    CHECK_FALSE(SetOf({pattern}).Matches("memfd:x"));
    CHECK_FALSE(SetOf({pattern}).Matches(".ima"));
  }
}

TEST_CASE("boot_aggregate is only excluded by its name") {
  CHECK(SetOf({"boot_aggregate"}).Matches("boot_aggregate"));
  CHECK(SetOf({"^boot_aggregate$"}).Matches("boot_aggregate"));
  CHECK(SetOf({"boot_aggregate.*"}).Matches("boot_aggregate"));
  for (const char* pattern :
       {"boot_.*", "b.*", "boot", ".*aggregate", "(boot_aggregate)",
        "(?i)boot_aggregate", "boot_aggregatex?", "/boot_aggregate"}) {
    INFO(pattern);
    const bool is_whole = absl::string_view(pattern) == "boot_aggregatex?";
    CHECK(SetOf({pattern}).Matches("boot_aggregate") == is_whole);
  }
}

TEST_CASE("boot_aggregate_late is only excluded by its whole name") {
  constexpr char kLate[] = "boot_aggregate_late";
  CHECK(SetOf({"boot_aggregate_late"}).Matches(kLate));
  CHECK(SetOf({"^boot_aggregate_late$"}).Matches(kLate));
  CHECK(SetOf({"/a|boot_aggregate_late.*"}).Matches(kLate));
  for (const char* pattern :
       {"boot_.*", "b.*", "boot", "boot_aggregate", "boot_aggregate.*",
        "boot_aggregate_", "boot_aggregate_.*", ".*late",
        "(boot_aggregate_late)", "(?i)boot_aggregate_late",
        "/boot_aggregate_late"}) {
    INFO(pattern);
    CHECK_FALSE(SetOf({pattern}).Matches(kLate));
  }
  CHECK_FALSE(SetOf({"boot_aggregate_late"}).Matches("boot_aggregate"));
}

TEST_CASE("Paths are bytes") {
  const ExcludeSet set = SetOf({"/tmp/.$", "/x/\xc3\xa9$"});
  CHECK(set.Matches("/tmp/\xff"));
  CHECK(set.Matches("/x/\xc3\xa9"));
  CHECK_FALSE(set.Matches("/tmp/\n"));
  CHECK_FALSE(set.Matches("/x/\xe9"));
  CHECK(SetOf({"/a\\x00b"}).Matches(absl::string_view("/a\0b", 4)));
}

TEST_CASE("Patterns that exclude everything unseen are refused") {
  for (const char* pattern : {".*", "a*", "/?", "(a|)", "/a|", "|/a", "^", "$",
                              "(?i)", "(?#x)", "()", "x{0}"}) {
    INFO(pattern);
    CHECK_THAT(ExcludeSet::Create({{pattern, "f:1"}}).status(),
               StatusIs(kInvalid, "would exclude every path"));
  }
  CHECK_THAT(ExcludeSet::Create({{"", "f:1"}}).status(),
             StatusIs(kInvalid, "an empty pattern"));
}

TEST_CASE("Every bad pattern is named at once") {
  const auto set = ExcludeSet::Create({{"/ok", "f:1"},
                                       {"a[", "f:2"},
                                       {"/fine", "f:3"},
                                       {"", "f:4"},
                                       {"(?=x)", "f:5"}});
  CHECK_THAT(set.status(), StatusIs(kInvalid, "f:2: \"a[\": "));
  CHECK_THAT(set.status(), StatusIs(kInvalid, "f:4: \"\": "));
  CHECK_THAT(set.status(), StatusIs(kInvalid, "f:5: \"(?=x)\": look-around"));
  // What only RE2 finds is named with the others, in the file's order.
  CHECK(ExcludeSet::Create({{"a*", "f:1"}, {"a[", "f:2"}, {"/b", "f:3"}})
            .status()
            .message()
            .substr(0, 10) == "f:1: \"a*\":");
  CHECK_FALSE(absl::StrContains(set.status().message(), "f:1"));
  CHECK_FALSE(absl::StrContains(set.status().message(), "f:3"));
}

TEST_CASE("Very many bad patterns are counted") {
  std::vector<ExcludePattern> patterns(200, {"(", "f"});
  CHECK_THAT(ExcludeSet::Create(patterns).status(),
             StatusIs(kInvalid, "150 more"));
}

TEST_CASE("Patterns are bounded in size and number") {
  const std::string longest =
      "/" + std::string(kMaxExcludePatternSize - 1, 'a');
  CHECK_THAT(ExcludeSet::Create({{longest, "f"}}).status(), IsOk());
  CHECK_THAT(ExcludeSet::Create({{longest + "a", "f"}}).status(),
             StatusIs(kInvalid, "4097 bytes"));
  CHECK_THAT(ExcludeSet::Create(std::vector<ExcludePattern>(
                                    kMaxExcludePatterns + 1, {"/a", "f"}))
                 .status(),
             StatusIs(kExhausted, "10001 excludes"));
  CHECK_THAT(
      ExcludeSet::Create(std::vector<ExcludePattern>(
                             kMaxExcludeBytes / 4096 + 1, {longest, "f"}))
          .status(),
      StatusIs(kExhausted, "bytes, limit"));
}

TEST_CASE("Repetitions that RE2 finds too large are refused") {
  CHECK_THAT(ExcludeSet::Create({{"/((a{100}){100}){100}", "f:7"}}).status(),
             StatusIs(kInvalid, "f:7"));
}

TEST_CASE("Matching takes no longer than the path is") {
  // Backtracking would take 2^4000 steps.
  const ExcludeSet set = SetOf({"/(a+)+$", "/(a|aa)+b"});
  CHECK_FALSE(set.Matches("/" + std::string(4000, 'a') + "!"));
  CHECK(set.Matches("/" + std::string(4000, 'a')));
}

TEST_CASE("An excludes file is a pattern a line") {
  const auto list =
      ParseExcludeList("/tmp/.*\n\n  \n/var/log/.*\n", "excludes.txt");
  REQUIRE_THAT(list.status(), IsOk());
  REQUIRE(list->patterns.size() == 2);
  CHECK(list->patterns[0].text == "/tmp/.*");
  CHECK(list->patterns[0].origin == "excludes.txt:1");
  CHECK(list->patterns[1].text == "/var/log/.*");
  CHECK(list->patterns[1].origin == "excludes.txt:4");
  CHECK(list->warnings.empty());
}

TEST_CASE("An excludes file may be empty, or lack its last newline") {
  const auto empty = ParseExcludeList("", "e");
  REQUIRE_THAT(empty.status(), IsOk());
  CHECK(empty->patterns.empty());
  const auto cut = ParseExcludeList("/tmp/.*", "e");
  REQUIRE_THAT(cut.status(), IsOk());
  CHECK(cut->patterns.size() == 1);
}

TEST_CASE("CR LF is taken for a line end, with a warning") {
  const auto list = ParseExcludeList("/tmp/.*\r\n\r\n/a$\r\n", "e");
  REQUIRE_THAT(list.status(), IsOk());
  REQUIRE(list->patterns.size() == 2);
  CHECK(list->patterns[1].text == "/a$");
  REQUIRE(list->warnings.size() == 1);
  CHECK(list->warnings[0].code == "exclude.crlf");
}

TEST_CASE("A bad line fails the file and is named, with all others") {
  const auto list = ParseExcludeList("/tmp/.*\na[\n/ok\n.*\n", "e.txt");
  CHECK_THAT(list.status(), StatusIs(kInvalid, "e.txt:2: "));
  CHECK_THAT(list.status(), StatusIs(kInvalid, "e.txt:4: "));
}

TEST_CASE("A file with too many lines is refused early") {
  std::string text;
  for (size_t i = 0; i <= kMaxExcludePatterns; ++i) text += "/a\n";
  CHECK_THAT(ParseExcludeList(text, "e").status(),
             StatusIs(kExhausted, "e:10001: more than 10000 excludes"));
}

TEST_CASE("Patterns that are as narrow as they look get no warning") {
  for (const char* pattern :
       {"/tmp/.*", "/tmp/", "/tmp/a$", "/tmp/a\\.log\\Z", "/tmp/[^/]+",
        "(/tmp|/var/tmp)/.*", "/home/[^/]+/\\.cache/.*", "/tmp(/|$)"}) {
    INFO(pattern);
    CHECK(CodesOf(pattern).empty());
  }
}

TEST_CASE("Each warning has a pattern that calls for it") {
  using Codes = std::vector<std::string>;
  CHECK(CodesOf("/.*") == Codes{"exclude.everything"});
  CHECK(CodesOf("/") == Codes{"exclude.everything"});
  CHECK(CodesOf("/usr/bin/") == Codes{"exclude.executables"});
  CHECK(CodesOf("/usr/.*") == Codes{"exclude.executables"});
  CHECK(CodesOf("boot_aggregate$") == Codes{"exclude.boot_aggregate"});
  CHECK(CodesOf("boot_aggregate_late$") == Codes{"exclude.boot_aggregate"});
  CHECK(CodesOf("boot_$") == Codes{"exclude.no_leading_slash"});
  CHECK(CodesOf("/tmp") == Codes{"exclude.prefix"});
  CHECK(CodesOf("/tmp/foo.*") == Codes{"exclude.prefix"});
  CHECK(CodesOf("/srv/libfoo.so$") == Codes{"exclude.dot"});
  CHECK(CodesOf(".*\\.log$") == Codes{"exclude.leading_wildcard"});
  CHECK(CodesOf("tmp/.*") == Codes{"exclude.no_leading_slash"});
  CHECK(CodesOf("memfd:.*$").empty());
  CHECK(CodesOf("/srv/a/|/srv/b/") == Codes{"exclude.alternation"});
  CHECK(CodesOf("# a comment$") ==
        Codes{"exclude.comment", "exclude.no_leading_slash"});
  CHECK(CodesOf("/tmp/a ") == Codes{"exclude.prefix", "exclude.whitespace"});
  CHECK(CodesOf("a[").empty());
}

TEST_CASE("Warnings name the pattern and where it stands") {
  const auto list = ParseExcludeList("/tmp/.*\n/opt\n", "e.txt");
  REQUIRE_THAT(list.status(), IsOk());
  REQUIRE(list->warnings.size() == 2);
  CHECK(list->warnings[0].code == "exclude.executables");
  CHECK(list->warnings[0].origin == "e.txt:2");
  CHECK(absl::StrContains(list->warnings[0].message, "\"/opt\""));
}

TEST_CASE("A hundred warnings of one kind are summed up") {
  std::string text;
  for (int i = 0; i < 100; ++i) absl::StrAppend(&text, "/srv/", i, "\n");
  const auto list = ParseExcludeList(text, "e");
  REQUIRE_THAT(list.status(), IsOk());
  REQUIRE(list->warnings.size() == 21);
  CHECK(list->warnings.back().message == "80 more");
  CHECK(list->warnings.back().origin == "e");
  CHECK(list->warnings.back().count == 80);
}

TEST_CASE(
    "Origins and patterns stay raw in warnings, and are escaped in errors") {
  const auto list = ParseExcludeList("/a\\.b\x1b\n", "e\x1b");
  REQUIRE_THAT(list.status(), IsOk());
  CHECK(list->patterns.at(0).origin == "e\x1b:1");
  REQUIRE(list->warnings.size() == 1);
  CHECK(list->warnings[0].origin == "e\x1b:1");
  CHECK(absl::StartsWith(list->warnings[0].message, "\"/a\\.b\x1b\" also"));
  CHECK_THAT(ParseExcludeList("a[\x1b", "e\x1b").status(),
             StatusIs(kInvalid, "e\\x1b:1: \"a[\\x1b\": "));
}

TEST_CASE("A long pattern is cut in the error about it") {
  CHECK_THAT(ExcludeSet::Create({{std::string(300, 'a') + "[", "f"}}).status(),
             StatusIs(kInvalid, "f: \"" + std::string(200, 'a') + "\"...: "));
}

}  // namespace
}  // namespace cupel::policy
