#include "tests/cli/cli.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "nlohmann/json.hpp"
#include "tests/support/status_matchers.h"

namespace cupel::testing {

CommandResult Tenant(const std::vector<std::string>& arguments,
                     const CommandOptions& options) {
  auto result =
      RunCommand(std::vector<std::string>{CUPEL_TENANT} + arguments, options);
  REQUIRE_THAT(StatusOf(result), IsOk());
  return *std::move(result);
}

std::vector<std::string> operator+(std::vector<std::string> first,
                                   const std::vector<std::string>& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

std::string VectorPath(const std::string& name) {
  return absl::StrCat(CUPEL_VECTORS_DIR, "/", name);
}

void Spill(const std::string& path, absl::string_view content) {
  REQUIRE_THAT(WriteFile(path, content), IsOk());
}

std::vector<std::string> Lines(absl::string_view text) {
  std::vector<std::string> lines = absl::StrSplit(text, '\n');
  if (lines.back().empty()) lines.pop_back();
  return lines;
}

std::string LastLine(absl::string_view text) {
  const std::vector<std::string> lines = Lines(text);
  return lines.empty() ? "" : lines.back();
}

std::string Replace(std::string text, absl::string_view from,
                    absl::string_view to) {
  const size_t at = text.find(from.data(), 0, from.size());
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to.data(), to.size());
}

std::string QuotedList() {
  return VectorPath("ima/quote/binary_runtime_measurements");
}

std::string AllowlistOf(const std::string& path) {
  std::string allowlist;
  for (const std::string& line :
       Lines(Tenant({"log", "show", "--json", path}).out)) {
    const auto entry = nlohmann::json::parse(line);
    const std::vector<std::string> digest =
        absl::StrSplit(entry["digest"].get<std::string>(), ':');
    const std::string name = entry["path"].get<std::string>();
    // As sha256sum writes a name with a newline.
    absl::StrAppend(&allowlist, absl::StrContains(name, "\n") ? "\\" : "",
                    digest.back(), "  ",
                    absl::StrReplaceAll(name, {{"\n", "\\n"}}), "\n");
  }
  return allowlist;
}

bool IsRefused::match(const CommandResult& result) const {
  const std::vector<std::string> lines = Lines(result.err);
  return result.exit_code == 2 && result.out.empty() && !lines.empty() &&
         absl::StartsWith(result.err, "cupel-tenant: ") &&
         absl::StrContains(result.err, text_) &&
         std::ranges::all_of(result.err, [](char c) {
           return c == '\n' || (c >= ' ' && c <= '~');
         });
}

std::string IsRefused::describe() const {
  return absl::StrCat("is refused with \"", text_, "\"");
}

}  // namespace cupel::testing
