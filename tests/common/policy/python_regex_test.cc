#include "common/policy/python_regex.h"

#include <re2/re2.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "tests/support/status_matchers.h"

namespace cupel::policy {
namespace {

using testing::IsOk;
using testing::StatusIs;

using testing::kInvalid;

bool Matches(absl::string_view pattern, absl::string_view path) {
  const auto regex = TranslatePythonRegex(pattern);
  REQUIRE_THAT(regex.status(), IsOk());
  RE2::Options options(RE2::Quiet);
  options.set_encoding(RE2::Options::EncodingLatin1);
  for (const RegexBranch& branch : regex->branches) {
    const RE2 compiled(branch.re2, options);
    INFO(branch.re2);
    REQUIRE(compiled.ok());
    if (compiled.Match(re2::StringPiece(path.data(), path.size()), 0,
                       path.size(), RE2::ANCHOR_START, nullptr, 0)) {
      return true;
    }
  }
  return false;
}

TEST_CASE("Patterns mean what they mean in Python") {
  struct Case {
    absl::string_view pattern;
    absl::string_view path;
    bool matches;
  };
  // Each checked against re.match.
  const Case cases[] = {
      {"/tmp", "/tmpfoo", true},
      {"/tmp", "/var/tmp", false},
      {"/tmp/.*", "/tmp/a", true},
      {"/tmp/.*", "/tmp", false},
      {"/tmp$", "/tmp", true},
      {"/tmp$", "/tmpfoo", false},
      {"/tmp\\Z", "/tmp", true},
      {"^/tmp", "/tmp", true},
      {"\\A/tmp", "/tmp", true},
      {".*\\.log$", "/var/a.log", true},
      {".*\\.log$", "/var/a_log", false},
      {".*\\.log$", "/var\n/a.log", false},
      {"(?s).*\\.log$", "/var\n/a.log", true},
      {"(?i)/TMP", "/tmp", true},
      {"/(?i:TMP)/x", "/tmp/x", true},
      {"/(?i:TMP)/x", "/tmp/X", false},
      {"(?i)/a(?-i:B)", "/AB", true},
      {"(?i)/a(?-i:B)", "/Ab", false},
      {"(?a)/x", "/x", true},
      {"/a{2}$", "/aa", true},
      {"/a{,2}$", "/aa", true},
      {"/a{,2}$", "/a{,2}", false},
      {"/a{2,}$", "/aaaa", true},
      {"/a{,}$", "/aaaa", true},
      {"/a{}", "/a{}", true},
      {"/a{x}", "/a{x}", true},
      {"/a{1,x}", "/a{1,x}", true},
      {"/a}", "/a}", true},
      {"/[]a]x", "/]x", true},
      {"/[^]a]x", "/bx", true},
      {"/[^]a]x", "/]x", false},
      {"/[[:alpha:]]", "/a]", true},
      {"/[[:alpha:]]", "/[]", true},
      {"/[[:alpha:]]", "/b]", false},
      {"/[a\\-z]", "/-", true},
      {"/[a\\-z]", "/m", false},
      {"/[a-]", "/-", true},
      {"/[\\d_]", "/7", true},
      {"/[\\b]", "/\b", true},
      {"/[\\101]", "/A", true},
      {"/\\101", "/A", true},
      {"/\\x41", "/A", true},
      {"/\\u0041", "/A", true},
      {"/\\U00000041", "/A", true},
      {"/\\u00e9", "/\xc3\xa9", true},
      {"/\\xe9", "/\xc3\xa9", true},
      {"/\\xe9", "/\xe9", false},
      {"/\\udce9", "/\xe9", true},
      {"/\xc3\xa9+$", "/\xc3\xa9\xc3\xa9", true},
      {"/\xc3\xa9+$", "/\xc3\xa9\xa9", false},
      {"/\xe9+$", "/\xe9\xe9", true},
      {"/\\d+$", "/12", true},
      {"/\\D$", "/a", true},
      {"/\\D$", "/1", false},
      {"/\\s$", "/\v", true},
      {"/\\s$", "/\x1c", true},
      {"/\\S$", "/\x1c", false},
      {"/\\w+$", "/a_9", true},
      {"/\\W$", "/-", true},
      {"/\\.", "/.", true},
      {"/\\.", "/x", false},
      {"/\\/", "//", true},
      {"/a|b", "b", true},
      {"/(?:a|b)c", "/bc", true},
      {"/(?P<name>a)b", "/ab", true},
      {"/a(?#comment)b", "/ab", true},
      {"/a*?b", "/aab", true},
      {"/\\0", absl::string_view("/\0", 2), true},
      {"/a.b", "/a\nb", false},
      {"/[^/]b", "/\nb", true},
      {"/#", "/#", true},
      {"/ b", "/ b", true},
  };
  for (const Case& c : cases) {
    INFO(c.pattern << " on " << c.path);
    CHECK(Matches(c.pattern, c.path) == c.matches);
  }
}

TEST_CASE("Where it differs from Python, it matches less") {
  CHECK_FALSE(Matches("/tmp$", "/tmp\n"));       // Python: True
  CHECK_FALSE(Matches("/\\d", "/\xd9\xa1"));     // an Arabic digit: True
  CHECK_FALSE(Matches("/\\w", "/\xc3\xa9"));     // True
  CHECK_FALSE(Matches("/\\W", "/\xc3\xa9"));     // False, as here
  CHECK_FALSE(Matches("/\\D", "/\xd9\xa1"));     // False, as here
  CHECK_FALSE(Matches("/\\S", "/\xc2\xa0"));     // False, as here
  CHECK_FALSE(Matches("/[^\\w]", "/\xc3\xa9"));  // False, as here
  CHECK_FALSE(Matches("/[^\\s/]+x", "/\xe2\x80\x89x"));  // False, as here
  CHECK_FALSE(Matches("/[\\W\\w]", "/\xc3\xa9"));        // True
  CHECK_FALSE(Matches("(?i)/K", "/\xe2\x84\xaa"));  // the Kelvin sign: True
}

TEST_CASE("What RE2 can't do, or Python does not take, is refused") {
  const std::pair<absl::string_view, absl::string_view> cases[] = {
      {"/a(?=b)", "look-around"},
      {"/a(?!b)", "look-around"},
      {"/(?<=a)b", "look-around"},
      {"/(?<!a)b", "look-around"},
      {"/a\\b", "word boundary"},
      {"/a\\Bb", "word boundary"},
      {"/(a)\\1", "back-reference"},
      {"/(a)\\12", "back-reference"},
      {"/(?P<n>a)(?P=n)", "back-reference"},
      {"/(a)?(?(1)b|c)", "conditional"},
      {"/(?>a)", "atomic"},
      {"/a*+b", "possessive"},
      {"/a++b", "possessive"},
      {"/a?+b", "possessive"},
      {"/a{2}+b", "possessive"},
      {"/a**", "quantifier after"},
      {"/a*{2}", "quantifier after"},
      {"*a", "nothing to repeat"},
      {"/(*a)", "nothing to repeat"},
      {"/a|*b", "nothing to repeat"},
      {"{2}a", "nothing to repeat"},
      {"^*a", "nothing to repeat"},
      {"/a$+", "nothing to repeat"},
      {"/a{3,2}", "least is over its most"},
      {"/a{2000}", "repetition over 1000"},
      {"/a{99999999999999999999}", "repetition over 1000"},
      {"/a(?i)b", "may only stand at the very start"},
      {"(?m)/a", "(?m)"},
      {"(?x)/a", "(?x)"},
      {"(?L)/a", "(?L)"},
      {"/(?m:a)", "(?m)"},
      {"/(?U:a)", "(?U is unknown"},
      {"/(?", "is unknown"},
      {"/(?i-:a)", "turned off"},
      {"/(?P<1>a)", "valid name"},
      {"/(?P<>a)", "valid name"},
      {"/(?P<a>x)(?P<a>y)", "of one name"},
      {"/(?P<a>(?P<a>x))|y", "of one name"},
      {"/(?P<a", "without its >"},
      {"/(?#a", "without its end"},
      {"/(a", "without its end"},
      {"/a)", "without an opening one"},
      {"/[a", "without its ]"},
      {"/[]", "without its ]"},
      {"/[", "without its ]"},
      {"/[z-a]", "backwards"},
      {"/[\\d-z]", "range"},
      {"/[a-\\d]", "range"},
      {"/[\xc3\xa9]", "non-ASCII character in [...]"},
      {"/[\\xe9]", "non-ASCII character in [...]"},
      {"/[a-\\u20ac]", "non-ASCII character in [...]"},
      {"(?i)/\xc3\xa9", "under (?i)"},
      {"/\\", "backslash at the end"},
      {"/\\q", "unknown"},
      {"/\\Q", "unknown"},
      {"/\\C", "unknown"},
      {"/\\pL", "unknown"},
      {"/\\z", "unknown"},
      {"/\\x4", "2 hex digits"},
      {"/\\u12", "4 hex digits"},
      {"/\\U0000004", "8 hex digits"},
      {"/\\U00110000", "no character"},
      {"/\\ud800", "no character"},
      {"/\\N{BULLET}", "unknown"},
      {"/[\\8]", "octal"},
      {"/\\777", "octal"},
  };
  for (const auto& [pattern, reason] : cases) {
    INFO(pattern);
    CHECK_THAT(TranslatePythonRegex(pattern).status(),
               StatusIs(kInvalid, std::string(reason)));
  }
}

TEST_CASE("Groups nest to a bound") {
  const auto nested = [](size_t depth) {
    return absl::StrCat("/", std::string(depth, '('), "a",
                        std::string(depth, ')'));
  };
  CHECK(Matches(nested(100), "/a"));
  CHECK_THAT(TranslatePythonRegex(nested(101)).status(),
             StatusIs(kInvalid, "over 100 deep"));
  CHECK_THAT(TranslatePythonRegex(std::string(100000, '(')).status(),
             StatusIs(kInvalid, "over 100 deep"));
}

TEST_CASE("Literal prefixes hold what every match starts with") {
  const std::pair<absl::string_view, absl::string_view> cases[] = {
      {"/tmp/x", "/tmp/x"},
      {"^/tmp", "/tmp"},
      {"/tmp/.*", "/tmp/"},
      {"/tmpx*", "/tmp"},
      {"/tmpx?", "/tmp"},
      {"/tmpx{0}", "/tmp"},
      {"/tmpx+y", "/tmpx"},
      {"boot_aggregate$", "boot_aggregate"},
      {"boot\\x5faggregate", "boot_aggregate"},
      {"b.*", "b"},
      {".*b", ""},
      {"(b)", ""},
      {"[b]", ""},
      {"(?i)b", ""},
      {"b*", ""},
      {"b^c", "b"},
      {"\xc3\xa9", "\xc3\xa9"},
  };
  for (const auto& [pattern, prefix] : cases) {
    INFO(pattern);
    const auto regex = TranslatePythonRegex(pattern);
    REQUIRE_THAT(regex.status(), IsOk());
    REQUIRE(regex->branches.size() == 1);
    CHECK(regex->branches[0].literal_prefix == prefix);
  }
}

TEST_CASE("Every prefix of a pattern is translated or refused") {
  const std::string pattern =
      "(?i)^/a(?P<n>b|c)+[^x-z\\d]{2,3}?\\x41(?s:.*)\\Z|/e";
  for (size_t size = 0; size <= pattern.size(); ++size) {
    const auto regex = TranslatePythonRegex(pattern.substr(0, size));
    if (!regex.ok()) {
      CHECK(regex.status().code() == kInvalid);
      continue;
    }
    for (const RegexBranch& branch : regex->branches) {
      INFO(branch.re2);
      CHECK(RE2(branch.re2, RE2::Quiet).ok());
    }
  }
}

}  // namespace
}  // namespace cupel::policy
