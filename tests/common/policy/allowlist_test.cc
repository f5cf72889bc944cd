#include "common/policy/allowlist.h"

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "tests/support/status_matchers.h"

namespace cupel::policy {
namespace {

using crypto::Digest;
using crypto::HashAlgorithm;
using testing::IsOk;
using testing::StatusIs;

using testing::kInvalid;

std::string Hex(char digit, size_t size = 64) {
  return std::string(size, digit);
}

// The only path and digest of a one-line list.
std::string PathOf(absl::string_view line) {
  const auto policy = ParseAllowlist(line, "a");
  REQUIRE_THAT(policy.status(), IsOk());
  REQUIRE(policy->digests.path_count() == 1);
  REQUIRE(policy->digests.digest_count() == 1);
  std::string only;
  policy->digests.ForEach([&](absl::string_view path, std::span<const Digest>) {
    only = std::string(path);
  });
  return only;
}

std::vector<std::string> Codes(const RuntimePolicy& policy) {
  std::vector<std::string> codes;
  for (const auto& warning : policy.warnings) codes.push_back(warning.code);
  return codes;
}

TEST_CASE("The separators of sha256sum, Keylime and both of them") {
  CHECK(PathOf(Hex('a') + "  /bin/sh\n") == "/bin/sh");
  CHECK(PathOf(Hex('a') + " /bin/sh\n") == "/bin/sh");
  CHECK(PathOf(Hex('a') + " */bin/sh\n") == "/bin/sh");
  CHECK(PathOf(Hex('a') + "\t/bin/sh\n") == "/bin/sh");
  CHECK(PathOf(Hex('a') + "  /bin/sh") == "/bin/sh");
  CHECK(PathOf(Hex('A') + "  /bin/a b") == "/bin/a b");
  CHECK(PathOf(Hex('a') + "  */bin/sh") == "*/bin/sh");
  CHECK(PathOf(Hex('a') + " *  /bin/sh") == "  /bin/sh");
  CHECK(PathOf(Hex('a') + "  data") == "data");
  CHECK(PathOf(Hex('a') + "  /a\\n") == "/a\\n");
}

TEST_CASE("A leading backslash turns escapes on") {
  CHECK(PathOf("\\" + Hex('a') + "  /a\\nb\\\\c\\rd\n") == "/a\nb\\c\rd");
  for (const char* path : {"/a\\t", "/a\\", "/a\\0"}) {
    CHECK_THAT(
        ParseAllowlist(absl::StrCat("\\", Hex('a'), "  ", path), "a").status(),
        StatusIs(kInvalid, "a:1: a backslash"));
  }
}

TEST_CASE("An allowlist may hold digests of every algorithm") {
  const auto policy = ParseAllowlist(
      absl::StrCat(Hex('1', 40), "  /f\n", Hex('2', 64), "  /f\n", Hex('3', 96),
                   "  /f\n", Hex('4', 128), "  /f\n", Hex('2', 64), "  /f\n",
                   "sm3:", Hex('2', 64), "  /f\n"),
      "a");
  REQUIRE_THAT(policy.status(), IsOk());
  CHECK(policy->digests.Find("/f") ==
        std::vector{Digest::Filled(HashAlgorithm::kSha1, 0x11),
                    Digest::Filled(HashAlgorithm::kSha256, 0x22),
                    Digest::Filled(HashAlgorithm::kSha384, 0x33),
                    Digest::Filled(HashAlgorithm::kSha512, 0x44),
                    Digest::Filled(HashAlgorithm::kSm3_256, 0x22)});
  CHECK(Codes(*policy) == std::vector<std::string>{"digest.sha1"});
}

TEST_CASE("A path's digests may stand anywhere in the file") {
  const auto policy =
      ParseAllowlist(absl::StrCat(Hex('1'), "  /f\n\n", Hex('2'), "  /g\n",
                                  Hex('3'), "  /f\n"),
                     "a");
  REQUIRE_THAT(policy.status(), IsOk());
  CHECK(policy->digests.path_count() == 2);
  CHECK(policy->digests.Find("/f").size() == 2);
  CHECK(policy->warnings.empty());
}

TEST_CASE("CR LF never becomes part of a path") {
  const auto policy = ParseAllowlist(Hex('a') + "  /bin/sh\r\n\r\n", "a");
  REQUIRE_THAT(policy.status(), IsOk());
  CHECK(policy->digests.Contains("/bin/sh"));
  CHECK_FALSE(policy->digests.Contains("/bin/sh\r"));
  CHECK(Codes(*policy) == std::vector<std::string>{"allowlist.crlf"});
}

TEST_CASE("Odd paths are warned about") {
  const auto warned = [](absl::string_view path) {
    const auto policy = ParseAllowlist(absl::StrCat(Hex('a'), "  ", path), "a");
    REQUIRE_THAT(policy.status(), IsOk());
    return Codes(*policy);
  };
  CHECK(warned("data") == std::vector<std::string>{"allowlist.relative_path"});
  CHECK(warned("./data") ==
        std::vector<std::string>{"allowlist.relative_path"});
  CHECK(warned("boot_aggregate").empty());
  CHECK(warned("boot_aggregate_late").empty());
  CHECK(warned("boot_aggregate2") ==
        std::vector<std::string>{"allowlist.relative_path"});
  CHECK(warned("SYSV00000000").empty());
  CHECK(warned("memfd:x").empty());
  CHECK(warned("/data ") ==
        std::vector<std::string>{"allowlist.trailing_blank"});
  const auto empty = ParseAllowlist("\n", "a");
  REQUIRE_THAT(empty.status(), IsOk());
  CHECK(Codes(*empty) == std::vector<std::string>{"allowlist.empty"});
}

TEST_CASE("What is no line of an allowlist is an error with its number") {
  const std::string good = Hex('a') + "  /bin/sh\n";
  const std::pair<std::string, std::string> cases[] = {
      {"# comment", "no comments"},
      {Hex('a'), "a digest without a path"},
      {Hex('a') + " ", "a digest without a path"},
      {Hex('a') + "  ", "a digest without a path"},
      {Hex('a') + " *", "a digest without a path"},
      {Hex('a') + "   /bin/sh", "more than two blanks"},
      {Hex('a') + " \t/bin/sh", "more than two blanks"},
      {Hex('a') + "\t\t/bin/sh", "more than two blanks"},
      {Hex('a', 63) + "  /bin/sh", "63 characters"},
      {Hex('a', 66) + "  /bin/sh", "66 characters"},
      {Hex('g') + "  /bin/sh", "not hex digits"},
      {"SHA256 (/bin/sh) = " + Hex('a'), "characters; a digest has"},
      {" " + Hex('a') + "  /bin/sh", "0 characters"},
      {"/bin/sh  " + Hex('a'), "characters; a digest has"},
      {Hex('a') + "  /bin/" + std::string(1, '\0') + "sh", "NUL"},
      {Hex('a') + "  " + std::string(9000, '/'), "9000 bytes, limit 8192"},
  };
  for (const auto& [line, reason] : cases) {
    INFO(line.substr(0, 100));
    CHECK_THAT(
        ParseAllowlist(good + "\n" + line + "\n" + good, "list").status(),
        StatusIs(kInvalid, "list:3: "));
    CHECK_THAT(ParseAllowlist(good + "\n" + line, "list").status(),
               StatusIs(kInvalid, reason));
  }
}

TEST_CASE("Every prefix of a line but the whole path's is refused or shorter") {
  const std::string line = Hex('a') + "  /bin/sh";
  for (size_t size = 1; size < line.size(); ++size) {
    const auto policy = ParseAllowlist(line.substr(0, size), "a");
    if (size <= 66) {
      CHECK_FALSE(policy.ok());
    } else {
      REQUIRE_THAT(policy.status(), IsOk());
      CHECK(policy->digests.Contains(line.substr(66, size - 66)));
    }
  }
}

TEST_CASE("A digest that anyone can make clears nothing, but may deny") {
  const std::string good = Hex('a') + "  /bin/sh\n";
  const std::pair<std::string, HashAlgorithm> weak[] = {
      {"md4:" + Hex('1', 32), HashAlgorithm::kMd4},
      {"md5:" + Hex('1', 32), HashAlgorithm::kMd5},
      {"rmd160:" + Hex('1', 40), HashAlgorithm::kRmd160}};
  for (const auto& [digest, algorithm] : weak) {
    INFO(digest);
    const std::string text = good + digest + "  /bin/ls\n";
    CHECK_THAT(ParseAllowlist(text, "list").status(),
               StatusIs(kInvalid, "list:2: "));
    CHECK_THAT(ParseAllowlist(text, "list").status(),
               StatusIs(kInvalid,
                        "is too weak to prove what a file is: list "
                        "its SHA-256"));
    const auto denied = ParseDenyList(text, "list");
    REQUIRE_THAT(denied.status(), IsOk());
    REQUIRE(denied->deny.size() == 2);
    CHECK(denied->deny[1].digest == Digest::Filled(algorithm, 0x11));
  }
}

TEST_CASE("A deny list has the lines of an allowlist") {
  const auto policy = ParseDenyList(
      absl::StrCat(Hex('1'), "  /a\r\n\n", Hex('2', 40), " *b\n"), "d");
  REQUIRE_THAT(policy.status(), IsOk());
  REQUIRE(policy->deny.size() == 2);
  CHECK(policy->deny[0].digest == Digest::Filled(HashAlgorithm::kSha256, 0x11));
  CHECK(policy->deny[0].path == "/a");
  CHECK(policy->deny[0].origin == "d:1");
  CHECK(policy->deny[1].path == "b");
  CHECK(policy->deny[1].origin == "d:3");
  CHECK(policy->digests.path_count() == 0);
  CHECK(Codes(*policy) == std::vector<std::string>{"allowlist.crlf"});

  CHECK_THAT(ParseDenyList(Hex('1') + "  /a\n# b\n", "d").status(),
             StatusIs(kInvalid, "d:2: an allowlist has no comments"));
  const auto empty = ParseDenyList("\n", "d");
  REQUIRE_THAT(empty.status(), IsOk());
  CHECK(Codes(*empty) == std::vector<std::string>{"deny.empty"});
}

TEST_CASE("Warnings are raw bytes, errors are escaped once") {
  const std::string origin = "a\x1b\\";
  const auto policy =
      ParseAllowlist(Hex('a') + "  b\x1b\\\n" + Hex('1', 40) + "  /c", origin);
  REQUIRE_THAT(policy.status(), IsOk());
  REQUIRE(policy->warnings.size() == 2);
  CHECK(policy->warnings[0].origin == origin + ":1");
  CHECK(absl::StartsWith(policy->warnings[0].message, "\"b\x1b\\\" does"));
  CHECK(policy->warnings[1].origin == origin);
  CHECK(ParseAllowlist("#", origin).status().message() ==
        "a\\x1b\\\\:1: an allowlist has no comments: remove the line");
  const auto denied = ParseDenyList(Hex('a') + "  /b", origin);
  REQUIRE_THAT(denied.status(), IsOk());
  CHECK(denied->deny.at(0).origin == origin + ":1");
}

}  // namespace
}  // namespace cupel::policy
