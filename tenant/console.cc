#include "tenant/console.h"

#include <unistd.h>

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace cupel::tenant {
namespace {

constexpr std::chrono::milliseconds kFirstUpdate(500);
constexpr std::chrono::milliseconds kNextUpdate(100);
// Carriage return, erase to the end of the line (ECMA-48, EL).
constexpr char kEraseLine[] = "\r\x1b[K";

}  // namespace

void PrintText(absl::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
}

void PrintLine(absl::string_view line) {
  PrintText(line);
  std::fputc('\n', stdout);
}

bool FlushOutput() {
  return std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
}

void PrintError(absl::string_view message) {
  std::fflush(stdout);
  const std::string line = absl::StrCat("cupel-tenant: ", message, "\n");
  std::fwrite(line.data(), 1, line.size(), stderr);
}

std::string DumpJson(const nlohmann::ordered_json& json, int indent) {
  std::string text = json.dump(indent, ' ', /*ensure_ascii=*/true);
  // The one control character that this leaves as it is.
  return absl::StrReplaceAll(text, {{"\x7f", "\\u007f"}});
}

ExitCode Fail(const absl::Status& status) {
  PrintError(status.message());
  return ExitCode::kUndecided;
}

ProgressMeter::ProgressMeter(absl::string_view what)
    : what_(what),
      terminal_(isatty(STDERR_FILENO) == 1),
      next_(Clock::now() + kFirstUpdate) {}

ProgressMeter::~ProgressMeter() { Clear(); }

void ProgressMeter::Clear() {
  if (shown_) std::fputs(kEraseLine, stderr);
  shown_ = false;
}

void ProgressMeter::Update(uint64_t count) {
  if (!terminal_) return;
  const Clock::time_point now = Clock::now();
  if (now < next_) return;
  next_ = now + kNextUpdate;
  shown_ = true;
  std::fprintf(stderr, "%s%llu %s", kEraseLine,
               static_cast<unsigned long long>(count), what_.c_str());
  std::fflush(stderr);
}

}  // namespace cupel::tenant
