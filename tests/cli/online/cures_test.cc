// docs/findings.md and what explain says have to be the same.

#include "tenant/cures.h"

#include <set>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "catch2/catch.hpp"
#include "re2/re2.h"
#include "tests/cli/cli.h"

namespace cupel::testing {
namespace {

// The ids in the first column of the document's tables.
std::set<std::string> DocumentedIds() {
  std::set<std::string> ids;
  for (const std::string& line :
       Lines(TextOf(CUPEL_SOURCE_DIR "/docs/findings.md"))) {
    if (!absl::StartsWith(line, "| `")) continue;
    const std::vector<std::string> cells = absl::StrSplit(line, '|');
    std::string id;
    re2::StringPiece text(cells[1]);
    while (RE2::FindAndConsume(&text, "`([a-z0-9_]+\\.[a-z0-9_]+)`", &id)) {
      ids.insert(id);
    }
  }
  return ids;
}

TEST_CASE("cures: every finding of docs/findings.md has one") {
  const std::set<std::string> ids = DocumentedIds();
  REQUIRE(ids.size() > 30);
  for (const std::string& id : ids) {
    CAPTURE(id);
    const tenant::FindingHelp* const help = tenant::FindHelp(id);
    REQUIRE(help != nullptr);
    CHECK_FALSE(help->meaning.empty());
    CHECK_FALSE(help->cure.empty());
  }
}

TEST_CASE("cures: none that docs/findings.md doesn't know") {
  const std::set<std::string> ids = DocumentedIds();
  std::set<std::string> seen;
  for (const tenant::FindingHelp& help : tenant::AllFindingHelp()) {
    CAPTURE(help.id);
    CHECK(ids.contains(std::string(help.id)));
    CHECK(seen.insert(std::string(help.id)).second);
  }
  CHECK(tenant::FindHelp("ima.no_such") == nullptr);
}

}  // namespace
}  // namespace cupel::testing
