#include "tests/bench/process_usage.h"

#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/util/status_macros.h"

namespace cupel::bench {
namespace {

// Files of /proc have no size that could be asked for first.
absl::StatusOr<std::string> ReadAll(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  if (!file || text.str().empty()) return absl::NotFoundError(path);
  return text.str();
}

absl::StatusOr<absl::Duration> CpuOf(pid_t pid) {
  const std::string path = absl::StrCat("/proc/", pid, "/stat");
  CUPEL_ASSIGN_OR_RETURN(const std::string text, ReadAll(path));
  // The program's name, in parentheses, may hold anything (proc(5)).
  const size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return absl::InternalError(path);
  const std::vector<std::string> fields =
      absl::StrSplit(text.substr(name_end + 1), ' ', absl::SkipEmpty());
  constexpr size_t kUserTime = 11;  // behind the name; the next is the system's
  int64_t user = 0;
  int64_t system = 0;
  if (fields.size() <= kUserTime + 1 ||
      !absl::SimpleAtoi(fields[kUserTime], &user) ||
      !absl::SimpleAtoi(fields[kUserTime + 1], &system)) {
    return absl::InternalError(path);
  }
  return absl::Seconds(user + system) / sysconf(_SC_CLK_TCK);
}

absl::Status AddMemoryOf(pid_t pid, ProcessUsage& usage) {
  const std::string path = absl::StrCat("/proc/", pid, "/smaps_rollup");
  CUPEL_ASSIGN_OR_RETURN(const std::string text, ReadAll(path));
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    const std::vector<absl::string_view> words =
        absl::StrSplit(line, ' ', absl::SkipEmpty());
    if (words.size() < 2) continue;
    int64_t* size = nullptr;
    if (words[0] == "Rss:") size = &usage.resident_size;
    if (words[0] == "Anonymous:") size = &usage.anonymous_size;
    if (size == nullptr) continue;
    int64_t kib = 0;
    if (!absl::SimpleAtoi(words[1], &kib)) return absl::InternalError(path);
    *size = kib * 1024;
  }
  if (usage.resident_size == 0) return absl::InternalError(path);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ProcessUsage> UsageOf(pid_t pid) {
  ProcessUsage usage;
  CUPEL_ASSIGN_OR_RETURN(usage.cpu, CpuOf(pid));
  CUPEL_RETURN_IF_ERROR(AddMemoryOf(pid, usage));
  return usage;
}

}  // namespace cupel::bench
