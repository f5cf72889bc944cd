// A machine with a software TPM behind the agent's own TPM code, and with the
// emulated kernel's measurement list.
#ifndef CUPEL_TESTS_SUPPORT_SWTPM_MACHINE_H_
#define CUPEL_TESTS_SUPPORT_SWTPM_MACHINE_H_

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/ima_emulator/ima_emulator.h"
#include "agent/tpm/tpm.h"
#include "tests/support/held_machine.h"
#include "tests/support/swtpm.h"
#include "tests/support/temporary_folder.h"

namespace cupel::testing {

class SwtpmMachine : public HeldMachine {
 public:
  // Booted: firmware has extended PCR 0 to 7, and the list holds boot_aggregate
  // and one file. Errors of whatever it is made of.
  static absl::StatusOr<std::unique_ptr<SwtpmMachine>> Start(const AgentId& id);

  // The vendor's root and CA, PEM.
  std::string VendorPem() const;

  const AgentId& id() const override { return id_; }
  const agent::Enrollee& enrollee() const override { return *enrollee_; }
  absl::StatusOr<Secret> Activate(
      std::span<const uint8_t> credential_blob,
      std::span<const uint8_t> encrypted_secret) override;
  absl::StatusOr<agent::QuoteResult> Quote(
      std::span<const uint8_t> qualifying_data,
      const tpm::PcrSelection& selection) override;
  std::vector<uint8_t> List() override;
  std::vector<crypto::HashAlgorithm> Banks() override;
  std::string Allowlist() override { return allowlist_; }

  // Measures a file with this content; with `allow` the next allowlist has it.
  absl::Status Measure(const std::string& name, const std::string& content,
                       bool allow);
  // A power cut, and a boot.
  absl::Status Reboot();
  // Enrols from now on as what is in the TPM's folder: ak.pub, as tpm2-tools
  // write it, and ak.ctx, which lies in another hierarchy than the EK's.
  absl::Status UseKeyOfTools();

  // For what its owner does to it by hand.
  SwTpm& tpm() { return *swtpm_; }

 private:
  explicit SwtpmMachine(const AgentId& id) : id_(id) {}
  // What a boot does, with PCRs of zeros.
  absl::Status Boot();

  const AgentId id_;
  TemporaryFolder ca_folder_;
  TemporaryFolder folder_;
  std::unique_ptr<SwTpm> swtpm_;
  std::unique_ptr<agent::Tpm> tpm_;
  std::unique_ptr<agent::ImaEmulator> ima_;
  std::optional<agent::Enrollee> enrollee_;
  std::string ek_handle_;
  std::string allowlist_;
  bool uses_tools_ = false;
};

}  // namespace cupel::testing

#endif  // CUPEL_TESTS_SUPPORT_SWTPM_MACHINE_H_
