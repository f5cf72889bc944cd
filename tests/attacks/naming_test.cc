// docs/attacks.md against the tests in this folder.
#include <filesystem>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "common/util/file.h"

namespace cupel {
namespace {

namespace fs = std::filesystem;

std::string Read(const fs::path& path) {
  const auto bytes = ReadFile(path.string(), size_t{1} << 20);
  REQUIRE(bytes.ok());
  return std::string(AsText(*bytes));
}

// Row to status.
std::map<int, std::string> Table() {
  std::map<int, std::string> table;
  const fs::path root = CUPEL_SOURCE_DIR;
  const std::string text = Read(root / "docs/attacks.md");
  const std::vector<std::string> lines = absl::StrSplit(text, '\n');
  for (const std::string& line : lines) {
    if (!absl::StartsWith(line, "| A")) continue;
    const std::vector<std::string> columns = absl::StrSplit(line, " | ");
    REQUIRE(columns.size() == 4);
    const int row = std::stoi(columns[0].substr(3));
    INFO(line);
    CHECK(
        table.emplace(row, columns[3].substr(0, columns[3].find(' '))).second);
  }
  return table;
}

TEST_CASE("Every attack has one status, and the tests that its status says") {
  std::set<int> tested;
  const fs::path folder = fs::path(CUPEL_SOURCE_DIR) / "tests" / "attacks";
  const std::regex name("TEST_CASE\\(\\s*\"([^\"]*)");
  const std::regex row("^A([0-9]+): .*");
  for (const auto& file : fs::directory_iterator(folder)) {
    if (!absl::EndsWith(file.path().string(), "_attacks_test.cc")) continue;
    const std::string text = Read(file);
    for (auto it = std::sregex_iterator(text.begin(), text.end(), name);
         it != std::sregex_iterator(); ++it) {
      const std::string test = (*it)[1];
      std::smatch match;
      INFO(test);
      REQUIRE(std::regex_match(test, match, row));
      tested.insert(std::stoi(match[1]));
    }
  }
  const std::map<int, std::string> table = Table();
  REQUIRE(table.size() == 43);
  CHECK(table.begin()->first == 1);
  CHECK(table.rbegin()->first == 43);
  for (const auto& [id, status] : table) {
    INFO("A" << id << " " << status);
    if (status == "tested" || status == "partly") {
      CHECK(tested.count(id) == 1);
    } else {
      CHECK((status == "later" || status == "limit"));
      CHECK(tested.count(id) == 0);
    }
  }
}

}  // namespace
}  // namespace cupel
