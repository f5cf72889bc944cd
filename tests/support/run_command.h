// Runs programs as a user would, for tests.
#ifndef CUPEL_TESTS_SUPPORT_RUN_COMMAND_H_
#define CUPEL_TESTS_SUPPORT_RUN_COMMAND_H_

#include <sys/types.h>

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace cupel::testing {

// What stands behind a standard stream of the program.
enum class Stream {
  kCaptured,  // for input: CommandOptions::input, then its end
  kTerminal,  // a terminal whose output is captured; none for input
  kClosed,
};

struct CommandOptions {
  std::string input;
  Stream in = Stream::kCaptured;
  Stream out = Stream::kCaptured;
  Stream err = Stream::kCaptured;
  // Where standard output goes instead, if it is not empty: "/dev/full".
  std::string out_path;
  // The working folder; empty for this process's own.
  std::string folder;
  // Set in the program's environment, beside this process's.
  std::map<std::string, std::string> environment;
  std::chrono::milliseconds timeout = std::chrono::seconds(60);
};

struct CommandResult {
  int exit_code = 0;  // 128 + N where signal N ended it, as a shell says
  std::string out;
  std::string err;
};

// Runs `arguments`, the first of which is looked for in PATH, and waits for its
// end. What it started and left running, in its process group, is killed then.
// The program is killed if this process ends.
//
// Errors: kInvalidArgument without arguments; kInternal where a system call
// fails; kDeadlineExceeded, with the program killed. A program that can't be
// started exits with 126 or 127.
absl::StatusOr<CommandResult> RunCommand(
    const std::vector<std::string>& arguments,
    const CommandOptions& options = {});

// A program that serves a test. It and what it started, in its process group,
// are killed with this object; the program also if this process ends.
class Server {
 public:
  // Starts `arguments` without input and with both outputs in the file
  // `log_path`. Of `options`, folder and environment count. Errors as those of
  // RunCommand.
  static absl::StatusOr<std::unique_ptr<Server>> Start(
      const std::vector<std::string>& arguments, const std::string& log_path,
      const CommandOptions& options = {});
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  pid_t pid() const { return pid_; }

 private:
  explicit Server(pid_t pid) : pid_(pid) {}

  pid_t pid_;
};

// True if `program` is in PATH.
bool IsInPath(const std::string& program);

}  // namespace cupel::testing

#endif  // CUPEL_TESTS_SUPPORT_RUN_COMMAND_H_
