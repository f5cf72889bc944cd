// Log lines: one event a line, as text or as JSON.
#ifndef CUPEL_COMMON_UTIL_LOG_H_
#define CUPEL_COMMON_UTIL_LOG_H_

#include <concepts>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <mutex>
#include <optional>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace cupel {

enum class LogLevel : uint8_t { kDebug, kInfo, kWarning, kError };
enum class LogFormat : uint8_t { kText, kJson };

// "DEBUG", "INFO", "WARNING", "ERROR".
absl::string_view LogLevelName(LogLevel level);

// A name, which is the program's own, and a value, which may be anybody's.
class LogField {
 public:
  // Any bytes: they are escaped.
  LogField(absl::string_view name, absl::string_view bytes);
  LogField(absl::string_view name, const char* bytes)
      : LogField(name, absl::string_view(bytes)) {}
  LogField(absl::string_view name, const std::string& bytes)
      : LogField(name, absl::string_view(bytes)) {}
  // A number or a truth value; in JSON without quotes.
  template <typename T>
  requires std::integral<T> || std::floating_point<T> LogField(
      absl::string_view name, T value)
      : name_(name), bare_(true) {
    if constexpr (std::same_as<T, bool>) {
      text_ = value ? "true" : "false";
    } else if constexpr (std::floating_point<T>) {
      SetFloat(static_cast<double>(value));
    } else {
      text_ = absl::StrCat(value);
    }
  }
  LogField(absl::string_view name, absl::Duration value);
  // "PERMISSION_DENIED: message".
  LogField(absl::string_view name, const absl::Status& status);

  absl::string_view name() const { return name_; }
  // Fit for a terminal.
  const std::string& text() const { return text_; }
  // True for what JSON writes without quotes.
  bool bare() const { return bare_; }

 private:
  void SetFloat(double value);

  std::string name_;
  std::string text_;
  bool bare_ = false;
};

// Writes lines such as
//
//   2026-01-31T12:00:00.123Z WARNING - not in policy agent=d432... path=/tmp/x
//   {"time":"2026-...","level":"WARNING","message":"...","agent":"..."}
//
// Nothing in a line can steer a terminal or begin another line, in neither
// format: values are escaped by EscapeForDisplay, and in a message, which may
// hold text that was escaped before (an absl::Status'), all that it would
// escape but backslashes.
//
// Threads: every function may be called by any thread; lines don't mix.
class Logger {
 public:
  // Takes a line that ends in a newline. Called by one thread at a time; must
  // not log.
  using Sink = std::function<void(absl::string_view line)>;

  struct Options {
    LogFormat format = LogFormat::kText;
    LogLevel least = LogLevel::kInfo;        // what is below it is dropped
    Sink sink = {};                          // empty: standard error
    std::function<absl::Time()> clock = {};  // empty: the machine's
  };

  // Text to standard error, from kInfo on.
  Logger() : Logger(Options()) {}
  explicit Logger(Options options);
  Logger(const Logger&) = delete;
  Logger& operator=(const Logger&) = delete;

  void Log(LogLevel level, absl::string_view message,
           std::span<const LogField> fields);
  void Log(LogLevel level, absl::string_view message,
           std::initializer_list<LogField> fields = {}) {
    Log(level, message, std::span(fields.begin(), fields.size()));
  }

  void Debug(absl::string_view message,
             std::initializer_list<LogField> fields = {}) {
    Log(LogLevel::kDebug, message, fields);
  }
  void Info(absl::string_view message,
            std::initializer_list<LogField> fields = {}) {
    Log(LogLevel::kInfo, message, fields);
  }
  void Warning(absl::string_view message,
               std::initializer_list<LogField> fields = {}) {
    Log(LogLevel::kWarning, message, fields);
  }
  void Error(absl::string_view message,
             std::initializer_list<LogField> fields = {}) {
    Log(LogLevel::kError, message, fields);
  }

 private:
  Options options_;
  std::mutex mutex_;
};

}  // namespace cupel

#endif  // CUPEL_COMMON_UTIL_LOG_H_
