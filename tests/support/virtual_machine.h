// A machine under QEMU with a real kernel and a software TPM, for tests.
#ifndef CUPEL_TESTS_SUPPORT_VIRTUAL_MACHINE_H_
#define CUPEL_TESTS_SUPPORT_VIRTUAL_MACHINE_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tests/support/run_command.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tpm_relay.h"
#include "tests/support/unix_stream.h"

namespace cupel::testing {

struct MachineOptions {
  std::string kernel = {};     // packaging/guest/kernel.sh has made it
  std::string initramfs = {};  // packaging/guest/initramfs.sh has
  std::string disk = {};       // the root disk; written to
  std::string tpm = {};        // the TPM's state; empty: a machine without one
  std::string append = {};     // more of the kernel's command line
  // What 10.0.2.100:8891 is in the guest, on the host's loopback; 0: nothing.
  uint16_t verifier_port = 0;
  bool reboots = false;  // a reset starts it again, else ends it
  bool uefi = false;
  bool tpm_power = false;  // PowerCycleTpm will be called
  int memory_megabytes = 384;
};

// It and its TPM are killed with this object, and with this process. Not
// thread-safe.
class VirtualMachine {
 public:
  // Returns once the guest takes commands. kDeadlineExceeded, with the
  // console's end, if that does not come about.
  static absl::StatusOr<std::unique_ptr<VirtualMachine>> Boot(
      const MachineOptions& options);

  // Runs a shell command in the guest; both of its outputs are in `out`.
  // kDeadlineExceeded, kUnavailable if the guest has gone.
  absl::StatusOr<CommandResult> Run(
      absl::string_view command,
      std::chrono::seconds timeout = std::chrono::seconds(60));
  // The same for a command that must exit with 0: its output.
  absl::StatusOr<std::string> Do(
      absl::string_view command,
      std::chrono::seconds timeout = std::chrono::seconds(60));
  // A file of the guest's, as bytes.
  absl::StatusOr<std::string> Read(absl::string_view path);

  // Starts `command` in the guest and does not wait for the guest's answer:
  // the guest may not live to give one.
  absl::Status Send(absl::string_view command);
  // After a reboot: waits until the guest takes commands again.
  absl::Status WaitUntilReady();
  // Waits until the guest has powered itself off.
  absl::Status WaitUntilOff();

  // QEMU's human monitor: "system_reset", "system_wakeup". What it said.
  absl::StatusOr<std::string> Monitor(absl::string_view command);
  // Kills the machine and its TPM at once.
  void PowerCut();
  // Stops the TPM's process, or lets it go on.
  absl::Status StallTpm(bool stall);
  absl::Status KillTpm();
  // Takes power away from the TPM alone, and gives it back.
  absl::Status PowerCycleTpm();

  // What the kernel has written to its console.
  std::string Console() const;

 private:
  VirtualMachine() = default;
  absl::Status Connect();
  // kInternal if it has none any more.
  absl::Status SignalTpm(int signal);

  TemporaryFolder run_;
  std::unique_ptr<TpmRelay> relay_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<UnixStream> control_;
  uint64_t last_tag_ = 0;
};

}  // namespace cupel::testing

#endif  // CUPEL_TESTS_SUPPORT_VIRTUAL_MACHINE_H_
