#include "common/util/log.h"

#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "common/util/escape.h"

namespace cupel {
namespace {

// Escapes what steers a display, but no backslash: text that was escaped before
// stays as it is.
std::string EscapeText(absl::string_view text) {
  return absl::StrJoin(absl::StrSplit(text, '\\'), "\\",
                       [](std::string* out, absl::string_view piece) {
                         out->append(EscapeForDisplay(piece));
                       });
}

// `text`, which is fit for a display and so free of control characters, as a
// JSON string.
void AppendJsonString(absl::string_view text, std::string& out) {
  out += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  out += '"';
}

// Quotes where a blank, a quote or an equals sign would blur where it ends.
void AppendTextValue(absl::string_view text, std::string& out) {
  if (!text.empty() && text.find_first_of(" \"=") == absl::string_view::npos) {
    absl::StrAppend(&out, text);
    return;
  }
  out += '"';
  for (const char c : text) {
    if (c == '"') out += '\\';
    out += c;
  }
  out += '"';
}

void WriteToStandardError(absl::string_view line) {
  while (!line.empty()) {
    const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return;  // there is nowhere left to complain
    }
    line.remove_prefix(static_cast<size_t>(written));
  }
}

}  // namespace

absl::string_view LogLevelName(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "DEBUG";
    case LogLevel::kInfo:
      return "INFO";
    case LogLevel::kWarning:
      return "WARNING";
    case LogLevel::kError:
      return "ERROR";
  }
  return "ERROR";
}

LogField::LogField(absl::string_view name, absl::string_view bytes)
    : name_(name), text_(EscapeForDisplay(bytes)) {}

LogField::LogField(absl::string_view name, absl::Duration value)
    : name_(name), text_(absl::FormatDuration(value)) {}

LogField::LogField(absl::string_view name, const absl::Status& status)
    : name_(name),
      text_(status.ok() ? "OK"
                        : absl::StrCat(absl::StatusCodeToString(status.code()),
                                       ": ", EscapeText(status.message()))) {}

void LogField::SetFloat(double value) {
  bare_ = std::isfinite(value);  // JSON has no word for the others
  text_ = absl::StrCat(value);
}

Logger::Logger(Options options) : options_(std::move(options)) {
  if (!options_.sink) options_.sink = WriteToStandardError;
  if (!options_.clock) options_.clock = absl::Now;
}

void Logger::Log(LogLevel level, absl::string_view message,
                 std::span<const LogField> fields) {
  if (level < options_.least) return;
  const std::string time = absl::FormatTime(
      "%Y-%m-%dT%H:%M:%E3SZ", options_.clock(), absl::UTCTimeZone());
  std::string line;
  if (options_.format == LogFormat::kJson) {
    absl::StrAppend(&line, "{\"time\":\"", time, "\",\"level\":\"",
                    LogLevelName(level), "\",\"message\":");
    AppendJsonString(EscapeText(message), line);
    for (const LogField& field : fields) {
      line += ',';
      AppendJsonString(field.name(), line);
      line += ':';
      if (field.bare()) {
        line += field.text();
      } else {
        AppendJsonString(field.text(), line);
      }
    }
    line += "}\n";
  } else {
    absl::StrAppend(&line, time, " ", LogLevelName(level), " - ",
                    EscapeText(message));
    for (const LogField& field : fields) {
      absl::StrAppend(&line, " ", field.name(), "=");
      AppendTextValue(field.text(), line);
    }
    line += '\n';
  }
  const std::lock_guard lock(mutex_);
  options_.sink(line);
}

}  // namespace cupel
