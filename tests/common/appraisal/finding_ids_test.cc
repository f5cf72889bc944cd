// The ids of findings: in the sources, in docs/findings.md and in the tests
// they are the same.
#include <filesystem>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "catch2/catch.hpp"
#include "common/appraisal/finding.h"
#include "common/util/bytes.h"
#include "common/util/file.h"

namespace cupel::appraisal {
namespace {

namespace fs = std::filesystem;

std::string Read(const fs::path& path) {
  const auto bytes = ReadFile(path.string(), size_t{1} << 20);
  INFO(path);
  REQUIRE(bytes.ok());
  return std::string(AsText(*bytes));
}

const fs::path kRoot = CUPEL_SOURCE_DIR;

std::set<std::string> Matches(const std::string& text,
                              const std::string& pattern) {
  const std::regex regex(pattern);
  std::set<std::string> ids;
  for (auto it = std::sregex_iterator(text.begin(), text.end(), regex);
       it != std::sregex_iterator(); ++it) {
    ids.insert((*it)[1]);
  }
  return ids;
}

// Ids as string literals.
std::set<std::string> Literals(const std::string& text) {
  return Matches(text,
                 "\"((?:quote|tpm|pcr|boot|ima|continuity)\\.[a-z0-9_]+)\"");
}

std::set<std::string> InSources() {
  std::set<std::string> ids = Literals(Read(kRoot / "common/tpm/quote.cc"));
  ids.erase("quote.unknown");  // of a check that there is not
  for (const auto& file :
       fs::directory_iterator(kRoot / "common" / "appraisal")) {
    if (file.path().extension() == ".cc") ids.merge(Literals(Read(file)));
  }
  // What only a verifier can see.
  ids.merge(Literals(Read(kRoot / "verifier/session/appraisal_job.cc")));
  return ids;
}

std::set<std::string> InDocument() {
  std::set<std::string> ids;
  for (const absl::string_view line :
       absl::StrSplit(Read(kRoot / "docs/findings.md"), '\n')) {
    if (!absl::StartsWith(line, "| `")) continue;
    const std::vector<std::string> columns = absl::StrSplit(line, " | ");
    for (const std::string& id : Matches(columns[0], "`([^`]+)`")) {
      INFO(id);
      CHECK(ids.insert(id).second);
    }
  }
  return ids;
}

TEST_CASE("docs/findings.md lists the findings that there are") {
  CHECK(InSources().size() > 40);
  CHECK(InDocument() == InSources());
}

TEST_CASE("Every finding has a test that produces it") {
  std::set<std::string> tested;
  for (const auto& file :
       fs::directory_iterator(kRoot / "tests" / "common" / "appraisal")) {
    if (absl::EndsWith(file.path().string(), "checks_test.cc") ||
        file.path().filename() == "progress_test.cc") {
      tested.merge(Literals(Read(file)));
    }
  }
  tested.merge(
      Literals(Read(kRoot / "tests/verifier/session/appraisal_job_test.cc")));
  CHECK(tested == InSources());
}

TEST_CASE("What can be accepted is what an entry, a PCR or a counter shows") {
  std::set<std::string> acceptable;
  for (const std::string& id : InDocument()) {
    if (IsAcceptable(id)) acceptable.insert(id);
  }
  CHECK(acceptable == std::set<std::string>{
                          "boot.kexec", "boot.pcr_mismatch", "continuity.gap",
                          "ima.boot_aggregate", "ima.buffer_mismatch",
                          "ima.buffer_not_in_policy", "ima.digest_mismatch",
                          "ima.digest_zero", "ima.not_in_policy",
                          "ima.violation", "pcr.changed_after_boot"});
  CHECK_FALSE(IsAcceptable("ima.no_such"));
  CHECK_FALSE(IsAcceptable(""));
}

}  // namespace
}  // namespace cupel::appraisal
