// A machine on which the doctor finds nothing, until a test changes one thing.
#ifndef CUPEL_TESTS_AGENT_DOCTOR_DOCTOR_RIG_H_
#define CUPEL_TESTS_AGENT_DOCTOR_DOCTOR_RIG_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "agent/doctor/doctor.h"
#include "agent/tpm/tpm.h"
#include "common/crypto/digest.h"
#include "common/tpm/pcr_values.h"
#include "tests/support/certificate_builder.h"
#include "tests/support/list_builder.h"
#include "tests/support/temporary_folder.h"

namespace cupel::agent {

inline constexpr char kImaList[] =
    "/sys/kernel/security/ima/binary_runtime_measurements";
inline constexpr char kImaCount[] =
    "/sys/kernel/security/ima/runtime_measurements_count";

// A TPM that answers what it was told to. It quotes nothing.
class ScriptedTpm : public Tpm {
 public:
  std::vector<crypto::HashAlgorithm> banks;
  tpm::PcrValues values;
  TpmState state;
  std::vector<EkCertificate> certificates;
  tpm::PublicArea ek;
  // What every method answers instead; OK: the above.
  absl::Status error;
  // Called before PCRs are read.
  std::function<void()> before_read;

  absl::StatusOr<std::vector<crypto::HashAlgorithm>> AllocatedBanks() override;
  absl::StatusOr<TpmState> ReadState() override;
  absl::StatusOr<tpm::PcrValues> ReadPcrs(
      const tpm::PcrSelection& selection) override;
  absl::StatusOr<std::vector<EkCertificate>> ReadEkCertificates() override;
  absl::StatusOr<tpm::PublicArea> ReadEk(tpm::EkTemplate ek_template) override;

  absl::Status ExtendPcr(uint32_t, std::span<const crypto::Digest>) override;
  absl::StatusOr<AkBlobs> CreateAk(tpm::EkTemplate, AkKind) override;
  absl::StatusOr<tpm::PublicArea> UseAk(const AkBlobs&) override;
  absl::StatusOr<Secret> ActivateCredential(const tpm::Credential&) override;
  absl::StatusOr<Quote> MakeQuote(std::span<const uint8_t>,
                                  const tpm::PcrSelection&) override;
};

// The values of all PCRs after a firmware's boot and `list`.
tpm::PcrValues ValuesOf(const testing::ListBuilder& list,
                        const std::vector<crypto::HashAlgorithm>& banks);

class DoctorRig {
 public:
  DoctorRig();

  // Writes a file below the root, and the folders above it.
  void Write(const std::string& path, absl::string_view content) const;
  void Remove(const std::string& path) const;
  // Writes list and count, and has the TPM extended by them.
  void SetList(const testing::ListBuilder& list);

  std::string root() const { return root_.path(); }
  ScriptedTpm& tpm() { return *tpm_; }
  // Takes the TPM away, with this error.
  void LoseTpm(absl::Status status);

  // What the check `id` says.
  std::vector<Observation> Check(absl::string_view id) const;

  Machine machine;
  testing::ListBuilder list;
  absl::Time steady = absl::UnixEpoch();
  // Of the TPM's clock beside the machine's.
  double tpm_speed = 1;

 private:
  testing::TemporaryFolder root_;
  ScriptedTpm* tpm_;  // machine's
};

// Exactly one observation of `outcome`, whose text contains `text`, and which
// has a cure unless it is OK; the others are OK.
bool Says(const std::vector<Observation>& observations, Outcome outcome,
          absl::string_view text);

}  // namespace cupel::agent

#endif  // CUPEL_TESTS_AGENT_DOCTOR_DOCTOR_RIG_H_
