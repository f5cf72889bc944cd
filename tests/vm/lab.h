// A real kernel under attestation: a machine under QEMU with our agent, our
// verifier outside it, and an operator at the command line.
#ifndef CUPEL_TESTS_VM_LAB_H_
#define CUPEL_TESTS_VM_LAB_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/crypto/digest.h"
#include "nlohmann/json.hpp"
#include "tests/support/run_command.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/virtual_machine.h"

namespace cupel::vm {

// The folder of images that images.sh has made.
std::string ImagePath(const std::string& name);

// The id of the machine of every lab.
inline constexpr char kAgentId[] = "d432fbb3-d2f1-4a97-9ef7-75bd81c00000";

// TPM2_PCR_Extend in the digest's bank, with an empty password.
std::vector<uint8_t> PcrExtendCommand(uint32_t pcr,
                                      const crypto::Digest& digest);

// What a machine boots, below ImagePath.
struct Image {
  std::string root = "rootfs";
  std::string initramfs = "initramfs";
  // Says why it could not be made, if that is so.
  std::string unavailable = "unavailable";
};

struct LabOptions {
  Image image = {};
  // Active PCR banks of the TPM.
  std::string banks = "sha256";
  // Lines of the verifier's configuration.
  std::vector<std::string> verifier_settings = {};
  // Lines of the agent's.
  std::vector<std::string> agent_settings = {};
  // Size of the disk in MiB; 0 leaves it to disk.sh.
  uint64_t disk_megabytes = 0;
};

// One machine with its TPM and disk, and one verifier. Everything ends with it.
// Not thread-safe.
class Lab {
 public:
  // Makes the TPM, and starts the verifier. Ends the process as skipped, with
  // the reason, where images.sh could not make the images.
  static absl::StatusOr<std::unique_ptr<Lab>> Create(
      const LabOptions& options = {});

  // --- The disk. The folder that it is made of can be added to until Boot.
  std::string RootPath(const std::string& path) const;
  // An executable script at `path` that says `text`.
  absl::Status AddScript(const std::string& path, const std::string& text);
  absl::Status AddFile(const std::string& path, const std::string& content);

  // --- The machine.
  // `append` is more of the kernel's command line. The first boot makes the
  // disk; later ones go on with disk and TPM.
  absl::Status Boot(const std::string& append,
                    testing::MachineOptions options = {});
  testing::VirtualMachine& machine() { return *machine_; }
  void PowerCut() { machine_.reset(); }
  // Loads an IMA policy of packaging/ima.
  absl::Status LoadImaPolicy(const std::string& name);
  // Loads an IMA policy of these lines, behind those that leave out what holds
  // no files.
  absl::Status LoadImaRules(const std::string& lines);
  absl::Status StartAgent();
  absl::Status KillAgent();
  // Root sends the machine's TPM whole commands, one after another. kInternal
  // where one does not succeed.
  absl::Status SendToTpm(const std::vector<std::vector<uint8_t>>& commands);
  // What the agent has logged.
  std::string AgentLog();
  // A copy of the binary list, in the lab's folder.
  absl::StatusOr<std::string> FetchList();
  // The PCRs of PCR 10's bank files, as evmctl writes them: "PCR-10: ...".
  absl::StatusOr<std::string> FetchPcrs(const std::string& bank);

  // --- The operator.
  // Runs cupel-tenant; flags of the connection are added to online commands.
  absl::StatusOr<testing::CommandResult> Offline(
      const std::vector<std::string>& arguments);
  absl::StatusOr<testing::CommandResult> Tenant(
      const std::vector<std::string>& arguments);
  // Starts `cupel-tenant watch --json`, of the machine, into that file.
  absl::StatusOr<std::unique_ptr<testing::Server>> Watch(
      const std::string& log_path);
  // Adds the machine with the EK that it has, `boot: any`, and these options.
  absl::Status Add(const std::vector<std::string>& options);
  // A policy of everything on the disk and in the initramfs, as our tool makes
  // it, and of what the measurement list at `list` has unless that is empty:
  // its path.
  absl::StatusOr<std::string> MakePolicy(
      const std::string& algorithm = "sha256", const std::string& list = "");
  // `cupel-tenant status --json`.
  absl::StatusOr<nlohmann::json> Status();
  // Waits until the machine is in `state`; kDeadlineExceeded with what it is
  // in instead, and kFailedPrecondition at once if it is FAILED and should not
  // be.
  absl::Status AwaitState(
      const std::string& state,
      std::chrono::seconds timeout = std::chrono::seconds(90));
  // Waits until a quote that was made from now on, and that covers at least as
  // many entries as the list has now, has left the machine in `state`. Errors
  // as AwaitState's.
  absl::Status AwaitStateOfNow(
      const std::string& state,
      std::chrono::seconds timeout = std::chrono::seconds(90));
  absl::Status AwaitTrustedAgain(
      std::chrono::seconds timeout = std::chrono::seconds(90)) {
    return AwaitStateOfNow("TRUSTED", timeout);
  }
  // The ids of the findings on record, notices apart.
  absl::StatusOr<std::vector<std::string>> Findings();
  // What the verifier has logged.
  std::string VerifierLog() const;

  std::string Path(const std::string& name) const { return folder_ / name; }

 private:
  Lab() = default;
  absl::Status StartVerifier(const LabOptions& options);
  absl::Status Load(const std::string& policy);
  testing::CommandOptions ConnectionOptions() const;

  testing::TemporaryFolder folder_;
  std::unique_ptr<testing::Server> verifier_;
  uint16_t attest_port_ = 0;
  uint16_t fleet_port_ = 0;
  std::unique_ptr<testing::VirtualMachine> machine_;
  Image image_;
  uint64_t disk_megabytes_ = 0;
  bool has_disk_ = false;
};

}  // namespace cupel::vm

#endif  // CUPEL_TESTS_VM_LAB_H_
