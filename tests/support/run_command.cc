#include "tests/support/run_command.h"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/util/descriptor.h"
#include "common/util/status_macros.h"

namespace cupel::testing {
namespace {

using Clock = std::chrono::steady_clock;

absl::Status Errno(const char* call) {
  return absl::InternalError(absl::StrCat(call, ": ", std::strerror(errno)));
}

// Two ends; one of them is the program's. Either may be absent.
struct Channel {
  Descriptor ours;
  Descriptor theirs;
};

absl::Status MakePipe(Descriptor& read_end, Descriptor& write_end) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return Errno("pipe2");
  read_end = Descriptor(ends[0]);
  write_end = Descriptor(ends[1]);
  return absl::OkStatus();
}

// A terminal that leaves what is written to it alone.
absl::Status MakeTerminal(Channel& channel) {
  int ours = -1;
  int theirs = -1;
  termios raw = {};
  cfmakeraw(&raw);
  if (openpty(&ours, &theirs, nullptr, &raw, nullptr) != 0) {
    return Errno("openpty");
  }
  channel.ours = Descriptor(ours);
  channel.theirs = Descriptor(theirs);
  fcntl(ours, F_SETFD, FD_CLOEXEC);
  fcntl(theirs, F_SETFD, FD_CLOEXEC);
  return absl::OkStatus();
}

absl::StatusOr<Channel> MakeInput(const CommandOptions& options) {
  Channel channel;
  if (options.in != Stream::kCaptured) return channel;
  CUPEL_RETURN_IF_ERROR(MakePipe(channel.theirs, channel.ours));
  if (fcntl(channel.ours.get(), F_SETFL, O_NONBLOCK) != 0) {
    return Errno("fcntl");
  }
  return channel;
}

absl::StatusOr<Channel> MakeOutput(Stream stream, const std::string& path) {
  Channel channel;
  if (!path.empty()) {
    channel.theirs = Descriptor(open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!channel.theirs.is_open()) return Errno("open");
  } else if (stream == Stream::kTerminal) {
    CUPEL_RETURN_IF_ERROR(MakeTerminal(channel));
  } else if (stream == Stream::kCaptured) {
    CUPEL_RETURN_IF_ERROR(MakePipe(channel.ours, channel.theirs));
  }
  return channel;
}

struct Child {
  std::vector<char*> argv;
  std::vector<char*> environment;
  const char* folder;
  std::array<int, 3> streams;  // -1: closed
};

// Becomes the program. Between fork and exec: system calls alone.
[[noreturn]] void Become(const Child& child, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent || setpgid(0, 0) != 0) _exit(126);
  if (*child.folder != '\0' && chdir(child.folder) != 0) _exit(126);
  for (int fd = 0; fd < 3; ++fd) {
    const int stream = child.streams[static_cast<size_t>(fd)];
    if (stream < 0) {
      close(fd);
    } else if (dup2(stream, fd) < 0) {
      _exit(126);
    }
  }
  execvpe(child.argv.front(), child.argv.data(), child.environment.data());
  _exit(127);
}

// The environment's lines, `extra` in place of those of the same name.
std::vector<std::string> EnvironmentWith(
    const std::map<std::string, std::string>& extra) {
  std::vector<std::string> lines;
  for (char** line = environ; *line != nullptr; ++line) {
    const std::string name(*line, std::strcspn(*line, "="));
    if (!extra.contains(name)) lines.emplace_back(*line);
  }
  for (const auto& [name, value] : extra) {
    lines.push_back(absl::StrCat(name, "=", value));
  }
  return lines;
}

std::vector<char*> Pointers(std::vector<std::string>& lines) {
  std::vector<char*> pointers;
  pointers.reserve(lines.size() + 1);
  for (std::string& line : lines) pointers.push_back(line.data());
  pointers.push_back(nullptr);
  return pointers;
}

// Starts a program with these streams; -1: closed.
absl::StatusOr<pid_t> Spawn(std::vector<std::string> arguments,
                            const CommandOptions& options,
                            const std::array<int, 3>& streams) {
  if (arguments.empty()) return absl::InvalidArgumentError("no program");
  std::vector<std::string> environment = EnvironmentWith(options.environment);
  const Child child{Pointers(arguments), Pointers(environment),
                    options.folder.c_str(), streams};
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) return Errno("fork");
  if (pid == 0) Become(child, parent);
  setpgid(pid, pid);  // whichever of the two comes first
  return pid;
}

// Ends a program and its process group; how the program ended. The group's
// number is the program's as long as nobody has waited for it.
int End(pid_t pid) {
  kill(-pid, SIGKILL);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

// Writes as much of `input` as goes; closes `to` at its end, or where nobody
// reads on.
void WriteSome(Descriptor& to, absl::string_view& input) {
  if (!input.empty()) {
    const ssize_t written = write(to.get(), input.data(), input.size());
    if (written < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (written < 0) {
      to.Close();
      return;
    }
    input.remove_prefix(static_cast<size_t>(written));
  }
  if (input.empty()) to.Close();
}

// Reads once; closes `from` at its end. A terminal's end is EIO.
void ReadSome(Descriptor& from, std::string& output) {
  std::array<char, 1 << 16> buffer;
  const ssize_t got = read(from.get(), buffer.data(), buffer.size());
  if (got < 0 && errno == EINTR) return;
  if (got <= 0) {
    from.Close();
  } else {
    output.append(buffer.data(), static_cast<size_t>(got));
  }
}

// Serves the streams until the program has closed them. False at the deadline.
bool Serve(Descriptor& in, Descriptor& out, Descriptor& err,
           absl::string_view input, Clock::time_point deadline,
           CommandResult& result) {
  while (in.is_open() || out.is_open() || err.is_open()) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    if (left.count() <= 0) return false;
    // poll skips descriptors below zero.
    std::array<pollfd, 3> streams = {{{in.get(), POLLOUT, 0},
                                      {out.get(), POLLIN, 0},
                                      {err.get(), POLLIN, 0}}};
    if (poll(streams.data(), streams.size(), static_cast<int>(left.count())) <=
        0) {
      continue;
    }
    if (streams[0].revents != 0) WriteSome(in, input);
    if (streams[1].revents != 0) ReadSome(out, result.out);
    if (streams[2].revents != 0) ReadSome(err, result.err);
  }
  return true;
}

// Waits for the end of `pid`, whose status End is to fetch; false at the
// deadline.
bool WaitUntil(pid_t pid, Clock::time_point deadline) {
  while (true) {
    siginfo_t info = {};
    if (waitid(P_PID, static_cast<id_t>(pid), &info,
               WEXITED | WNOHANG | WNOWAIT) == 0 &&
        info.si_pid == pid) {
      return true;
    }
    if (Clock::now() > deadline) return false;
    usleep(1000);
  }
}

// Writing to a program that has ended is an error, not this process's end.
class IgnoreSigpipe {
 public:
  IgnoreSigpipe() : before_(signal(SIGPIPE, SIG_IGN)) {}
  IgnoreSigpipe(const IgnoreSigpipe&) = delete;
  IgnoreSigpipe& operator=(const IgnoreSigpipe&) = delete;
  ~IgnoreSigpipe() { signal(SIGPIPE, before_); }

 private:
  void (*before_)(int);
};

}  // namespace

absl::StatusOr<CommandResult> RunCommand(
    const std::vector<std::string>& arguments, const CommandOptions& options) {
  CUPEL_ASSIGN_OR_RETURN(Channel in, MakeInput(options));
  CUPEL_ASSIGN_OR_RETURN(Channel out,
                         MakeOutput(options.out, options.out_path));
  CUPEL_ASSIGN_OR_RETURN(Channel err, MakeOutput(options.err, ""));
  CUPEL_ASSIGN_OR_RETURN(
      const pid_t pid,
      Spawn(arguments, options,
            {in.theirs.get(), out.theirs.get(), err.theirs.get()}));
  in.theirs.Close();
  out.theirs.Close();
  err.theirs.Close();

  const IgnoreSigpipe ignore_sigpipe;
  const Clock::time_point deadline = Clock::now() + options.timeout;
  CommandResult result;
  const bool ended =
      Serve(in.ours, out.ours, err.ours, options.input, deadline, result) &&
      WaitUntil(pid, deadline);
  const int status = End(pid);
  if (!ended) {
    return absl::DeadlineExceededError(
        absl::StrCat(arguments.front(), ": no end in time"));
  }
  result.exit_code =
      WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(
    const std::vector<std::string>& arguments, const std::string& log_path,
    const CommandOptions& options) {
  const Descriptor in(open("/dev/null", O_RDONLY | O_CLOEXEC));
  const Descriptor log(
      open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!in.is_open() || !log.is_open()) return Errno("open");
  CUPEL_ASSIGN_OR_RETURN(
      const pid_t pid,
      Spawn(arguments, options, {in.get(), log.get(), log.get()}));
  return std::unique_ptr<Server>(new Server(pid));
}

Server::~Server() { End(pid_); }

absl::StatusOr<int> Server::Wait(std::chrono::milliseconds timeout) const {
  siginfo_t info = {};
  // Its status stays there for End.
  if (!WaitUntil(pid_, Clock::now() + timeout) ||
      waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT) != 0) {
    return absl::DeadlineExceededError("the program runs on");
  }
  return info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
}

bool IsInPath(const std::string& program) {
  const char* const path = std::getenv("PATH");
  const std::vector<std::string> folders =
      absl::StrSplit(path == nullptr ? "" : path, ':');
  return std::ranges::any_of(folders, [&](const std::string& folder) {
    return access(absl::StrCat(folder, "/", program).c_str(), X_OK) == 0;
  });
}

}  // namespace cupel::testing
