#include "tests/support/virtual_machine.h"

#include <signal.h>

#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "common/util/status_macros.h"
#include "nlohmann/json.hpp"

namespace cupel::testing {
namespace {

using Clock = UnixStream::Clock;

// Emulated, and beside other tests: generous, and never waited for in full
// unless something is wrong.
constexpr std::chrono::seconds kBootTimeout{240};
constexpr std::chrono::seconds kMonitorTimeout{20};
constexpr size_t kMaxConsoleSize = size_t{16} << 20;
constexpr size_t kShownConsoleSize = 4000;

std::string TailOf(const std::string& text) {
  return text.size() <= kShownConsoleSize
             ? text
             : text.substr(text.size() - kShownConsoleSize);
}

}  // namespace

absl::StatusOr<std::unique_ptr<VirtualMachine>> VirtualMachine::Boot(
    const MachineOptions& options) {
  std::unique_ptr<VirtualMachine> machine(new VirtualMachine);
  const std::string program = CUPEL_SOURCE_DIR "/packaging/guest/boot.sh";
  std::vector<std::string> arguments = {
      program,
      "--kernel",
      options.kernel,
      "--initramfs",
      options.initramfs,
      "--disk",
      options.disk,
      "--run",
      machine->run_.path(),
      "--memory",
      std::to_string(options.memory_megabytes),
      "--append",
      options.append};
  const auto add = [&](std::initializer_list<std::string> more) {
    arguments.insert(arguments.end(), more);
  };
  if (!options.tpm.empty()) add({"--tpm", options.tpm});
  if (options.verifier_port != 0) {
    add({"--verifier", std::to_string(options.verifier_port)});
  }
  if (options.reboots) add({"--reboots"});
  if (options.uefi) add({"--uefi"});
  if (options.tpm_power) {
    add({"--tpm-relay"});
    machine->relay_ = std::make_unique<TpmRelay>(machine->run_ / "tpm",
                                                 machine->run_ / "tpm.back");
  }
  CUPEL_ASSIGN_OR_RETURN(machine->server_,
                         Server::Start(arguments, machine->run_ / "boot.log"));
  CUPEL_RETURN_IF_ERROR(machine->Connect());
  CUPEL_RETURN_IF_ERROR(machine->WaitUntilReady());
  return machine;
}

absl::Status VirtualMachine::Connect() {
  const auto deadline = Clock::now() + kBootTimeout;
  auto control = UnixStream::Connect(run_ / "control", Clock::now());
  // Where it has ended, nobody will listen.
  while (!control.ok() && Clock::now() < deadline &&
         !server_->Wait(std::chrono::milliseconds(50)).ok()) {
    control = UnixStream::Connect(run_ / "control", Clock::now());
  }
  if (!control.ok()) {
    const auto said = ReadFile(run_ / "boot.log", kMaxConsoleSize);
    return absl::DeadlineExceededError(absl::StrCat(
        control.status().message(), said.ok() ? AsText(*said) : ""));
  }
  control_ = *std::move(control);
  return absl::OkStatus();
}

absl::Status VirtualMachine::WaitUntilReady() {
  const auto deadline = Clock::now() + kBootTimeout;
  while (true) {
    const auto line = control_->ReadLine(deadline);
    if (!line.ok()) {
      return absl::Status(
          line.status().code(),
          absl::StrCat("the guest does not come up: ", line.status().message(),
                       "\n", TailOf(Console())));
    }
    if (absl::StripAsciiWhitespace(*line) == "ready 0") {
      return absl::OkStatus();
    }
  }
}

absl::Status VirtualMachine::WaitUntilOff() {
  const auto deadline = Clock::now() + kBootTimeout;
  while (true) {
    const auto line = control_->ReadLine(deadline);
    if (absl::IsUnavailable(line.status())) return absl::OkStatus();
    if (!line.ok()) return line.status();
  }
}

absl::Status VirtualMachine::Send(absl::string_view command) {
  return control_->WriteLine(
      absl::StrCat(++last_tag_, " ", absl::Base64Escape(command)));
}

absl::StatusOr<CommandResult> VirtualMachine::Run(
    absl::string_view command, std::chrono::seconds timeout) {
  CUPEL_RETURN_IF_ERROR(Send(command));
  const auto deadline = Clock::now() + timeout;
  while (true) {
    const auto line = control_->ReadLine(deadline);
    if (!line.ok()) {
      return absl::Status(
          line.status().code(),
          absl::StrCat("in the guest: ", command, ": ", line.status().message(),
                       "\n", TailOf(Console())));
    }
    const std::vector<std::string> parts =
        absl::StrSplit(*line, absl::MaxSplits(' ', 2));
    // An answer to what was only sent is nobody's.
    if (parts.size() != 3 || parts[0] != std::to_string(last_tag_)) continue;
    CommandResult result;
    if (!absl::SimpleAtoi(parts[1], &result.exit_code) ||
        !absl::Base64Unescape(parts[2], &result.out)) {
      return absl::DataLossError(absl::StrCat("the guest answers ", *line));
    }
    return result;
  }
}

absl::StatusOr<std::string> VirtualMachine::Do(absl::string_view command,
                                               std::chrono::seconds timeout) {
  CUPEL_ASSIGN_OR_RETURN(CommandResult result, Run(command, timeout));
  if (result.exit_code != 0) {
    return absl::InternalError(absl::StrCat("in the guest: ", command,
                                            ": exit code ", result.exit_code,
                                            ": ", result.out));
  }
  return std::move(result.out);
}

absl::StatusOr<std::string> VirtualMachine::Read(absl::string_view path) {
  return Do(absl::StrCat("cat '", path, "'"));
}

absl::StatusOr<std::string> VirtualMachine::Monitor(absl::string_view command) {
  const auto deadline = Clock::now() + kMonitorTimeout;
  CUPEL_ASSIGN_OR_RETURN(const auto monitor,
                         UnixStream::Connect(run_ / "monitor", deadline));
  const auto ask =
      [&](const nlohmann::json& request) -> absl::StatusOr<nlohmann::json> {
    CUPEL_RETURN_IF_ERROR(monitor->WriteLine(request.dump()));
    while (true) {
      CUPEL_ASSIGN_OR_RETURN(const std::string line,
                             monitor->ReadLine(deadline));
      const auto answer =
          nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
      if (answer.is_object() && answer.contains("return")) return answer;
      if (answer.is_object() && answer.contains("error")) {
        return absl::InternalError(line);
      }
    }
  };
  CUPEL_RETURN_IF_ERROR(ask({{"execute", "qmp_capabilities"}}).status());
  CUPEL_ASSIGN_OR_RETURN(
      const nlohmann::json answer,
      ask({{"execute", "human-monitor-command"},
           {"arguments", {{"command-line", std::string(command)}}}}));
  return answer["return"].get<std::string>();
}

void VirtualMachine::PowerCut() {
  control_.reset();
  server_.reset();
}

absl::Status VirtualMachine::SignalTpm(int signal) {
  CUPEL_ASSIGN_OR_RETURN(const auto text, ReadFile(run_ / "tpm.pid", 64));
  pid_t pid = 0;
  if (!absl::SimpleAtoi(AsText(text), &pid) || pid <= 1 ||
      kill(pid, signal) != 0) {
    return absl::InternalError("the TPM's process is gone");
  }
  return absl::OkStatus();
}

absl::Status VirtualMachine::StallTpm(bool stall) {
  return SignalTpm(stall ? SIGSTOP : SIGCONT);
}

absl::Status VirtualMachine::KillTpm() { return SignalTpm(SIGKILL); }

absl::Status VirtualMachine::PowerCycleTpm() {
  if (relay_ == nullptr) return absl::FailedPreconditionError("no relay");
  return relay_->PowerCycle();
}

std::string VirtualMachine::Console() const {
  const auto console = ReadFile(run_ / "console.log", kMaxConsoleSize);
  return console.ok() ? std::string(AsText(*console)) : "";
}

}  // namespace cupel::testing
