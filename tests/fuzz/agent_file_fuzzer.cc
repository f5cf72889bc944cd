// Any file ends in rows and errors, each of a line of its own, and what the
// rows say is read again from rows that are written anew.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/util/bytes.h"
#include "tenant/agent_file.h"

namespace {

using ::cupel::tenant::AgentFile;
using ::cupel::tenant::AgentRow;
using ::cupel::tenant::ParseAgentFile;

void Require(bool condition) {
  if (!condition) std::abort();
}

std::string LineOf(const AgentRow& row) {
  std::string line = absl::StrCat(row.id.ToString(), ",",
                                  row.ek_sha256.empty() ? "-" : row.ek_sha256);
  for (const auto& [key, value] : row.labels) {
    absl::StrAppend(
        &line, ",\"",
        absl::StrReplaceAll(absl::StrCat(key, "=", value), {{"\"", "\"\""}}),
        "\"");
  }
  return line;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto text = cupel::AsText({data, size});
  const AgentFile file = ParseAgentFile(text);
  const auto lines =
      static_cast<size_t>(std::count(text.begin(), text.end(), '\n')) + 1;
  Require(file.rows.size() + file.errors.size() <= lines);
  for (const std::string& error : file.errors) {
    Require(std::ranges::all_of(
        error, [](char c) { return c != '\x1b' && c != '\n' && c != '\0'; }));
  }
  std::string again;
  size_t last = 0;
  for (const AgentRow& row : file.rows) {
    Require(row.line > last && row.line <= lines);
    last = row.line;
    Require(row.ek_sha256.empty() || row.ek_sha256.size() == 64);
    absl::StrAppend(&again, LineOf(row), "\n");
  }
  const AgentFile reread = ParseAgentFile(again);
  Require(reread.errors.empty() && reread.rows.size() == file.rows.size());
  for (size_t i = 0; i < file.rows.size(); ++i) {
    Require(reread.rows[i].id == file.rows[i].id);
    Require(reread.rows[i].ek_sha256 == file.rows[i].ek_sha256);
    Require(reread.rows[i].labels == file.rows[i].labels);
  }
  return 0;
}
