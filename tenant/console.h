// What the commands write to people.
#ifndef CUPEL_TENANT_CONSOLE_H_
#define CUPEL_TENANT_CONSOLE_H_

#include <chrono>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"
#include "tenant/exit_code.h"

namespace cupel::tenant {

// Writes `text` to standard output. It is escaped already.
void PrintText(absl::string_view text);

// The same with a newline behind it.
void PrintLine(absl::string_view line);

// False if anything of what was printed since the start could not be written.
bool FlushOutput();

// Writes a message to standard error: "cupel-tenant: MESSAGE". It is escaped
// already.
void PrintError(absl::string_view message);

// `json` as text that no terminal takes orders from: characters outside of
// printable ASCII are escaped. `indent` as for nlohmann's dump.
std::string DumpJson(const nlohmann::ordered_json& json, int indent = -1);

// Prints the error and returns kUndecided.
ExitCode Fail(const absl::Status& status);

// A line on standard error that says how far a long work is; only on a
// terminal, and only once the work has taken half a second. Gone when
// destroyed.
class ProgressMeter {
 public:
  // `what` names the things that are counted: "entries".
  explicit ProgressMeter(absl::string_view what);
  ProgressMeter(const ProgressMeter&) = delete;
  ProgressMeter& operator=(const ProgressMeter&) = delete;
  ~ProgressMeter();

  void Update(uint64_t count);
  // Takes the line away, for what else is to be said.
  void Clear();

 private:
  using Clock = std::chrono::steady_clock;

  std::string what_;
  bool terminal_;
  bool shown_ = false;
  Clock::time_point next_;
};

}  // namespace cupel::tenant

#endif  // CUPEL_TENANT_CONSOLE_H_
