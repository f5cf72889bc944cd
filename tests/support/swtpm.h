// A software TPM (swtpm) for one test, and tpm2-tools to drive it with.
#ifndef CUPEL_TESTS_SUPPORT_SWTPM_H_
#define CUPEL_TESTS_SUPPORT_SWTPM_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tests/support/run_command.h"
#include "tests/support/temporary_folder.h"

namespace cupel::testing {

// A manufactured TPM 2.0 with PCR banks SHA-1 and SHA-256 and with its EKs
// persistent (RSA-2048 at 0x81010001, ECC P-384 at 0x81010016), running behind
// a Unix socket in a folder of its own. It ends, and the folder goes, with this
// object, and it ends with the process if that is killed.
class SwTpm {
 public:
  // True if swtpm, swtpm_setup and tpm2-tools are in PATH.
  static bool IsAvailable();
  // Ends the process as skipped (Skip) unless they are.
  static void SkipUnlessAvailable();

  // `setup_options` are further arguments of swtpm_setup. kInternal or
  // kDeadlineExceeded with what the programs said if it does not come up.
  static absl::StatusOr<std::unique_ptr<SwTpm>> Start(
      const std::vector<std::string>& setup_options = {});

  // The same with certificates for the EKs in NV, by a CA of its own whose
  // files are in `ca_folder` (which exists): issuer.pem is the EKs' issuer, and
  // swtpm-localca-rootca-cert.pem the root above it.
  static absl::StatusOr<std::unique_ptr<SwTpm>> StartCertified(
      const std::string& ca_folder,
      const std::vector<std::string>& setup_options = {});

  // Where it listens, as tss2's TCTI loader takes it.
  std::string Tcti() const;

  // Has it answer nothing, and go on where it was.
  void Stall();
  void Resume();

  // A power cut: kills the TPM. Until Restart nobody listens.
  void Kill();
  // Powers it on, with PCRs of zeros. Errors as Start's.
  absl::Status Restart();

  // Runs a tool of tpm2-tools in the TPM's folder and returns what it wrote to
  // standard output. Then flushes transient objects and sessions: there is no
  // resource manager. kInternal with its standard error if it fails.
  absl::StatusOr<std::string> Run(const std::vector<std::string>& arguments);
  // The same without the flush, for what follows within a session.
  absl::StatusOr<std::string> RunWithoutFlush(
      const std::vector<std::string>& arguments);
  absl::Status Flush();

  // A file in the TPM's folder, where tools run.
  absl::StatusOr<std::vector<uint8_t>> Read(const std::string& name) const;
  absl::Status Write(const std::string& name,
                     std::span<const uint8_t> content) const;

 private:
  SwTpm() = default;
  absl::Status StartServer();

  TemporaryFolder folder_;
  std::unique_ptr<Server> server_;  // ends before its folder goes
};

}  // namespace cupel::testing

#endif  // CUPEL_TESTS_SUPPORT_SWTPM_H_
