// The commands that README.md shows.

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "catch2/catch.hpp"
#include "tests/cli/cli.h"

namespace cupel::testing {
namespace {

// The lines of README.md's `cupel-tenant appraise`, joined to one.
std::string AppraiseCommand() {
  const std::string text = absl::StrReplaceAll(
      TextOf(CUPEL_SOURCE_DIR "/README.md"), {{"\\\n", " "}});
  for (const std::string& line : Lines(text)) {
    if (absl::StrContains(line, "tenant/cupel-tenant appraise ")) {
      return line;
    }
  }
  FAIL("README.md shows no appraisal");
  return "";
}

TEST_CASE("README: its appraisal passes, proven by a TPM's quote") {
  std::vector<std::string> words =
      absl::StrSplit(AppraiseCommand(), ' ', absl::SkipEmpty());
  REQUIRE(words.front() == "build/release/tenant/cupel-tenant");
  words.erase(words.begin());
  CommandOptions options;
  options.folder = CUPEL_SOURCE_DIR;
  const CommandResult result = Tenant(words, options);
  CHECK(result.exit_code == 0);
  CHECK(result.err.empty());
  CHECK(LastLine(result.out) ==
        "INFO - appraisal passed, proven by a TPM's quote");
}

}  // namespace
}  // namespace cupel::testing
