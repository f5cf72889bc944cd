#include "tests/agent/doctor/doctor_rig.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "common/ima/entry.h"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "tests/support/fake_ek.h"
#include "tests/support/status_matchers.h"

namespace cupel::agent {
namespace {

using ::cupel::crypto::HashAlgorithm;
using ::cupel::testing::CaSpec;
using ::cupel::testing::CertificateSpec;
using ::cupel::testing::EkSpec;
using ::cupel::testing::FakeEk;
using ::cupel::testing::FakeKeyKind;
using ::cupel::testing::IsOk;
using ::cupel::testing::ListBuilder;
using ::cupel::testing::MakeCertificate;
using ::cupel::testing::TestTime;

constexpr char kRelease[] = "6.1.0-18-amd64";
constexpr int kEkIndex = 71;

absl::Status Unasked() {
  return absl::InternalError("the doctor has no business with this");
}

CertificateSpec Lasting(CertificateSpec spec) {
  spec.not_after = TestTime() + absl::Hours(24 * 365);
  return spec;
}

}  // namespace

absl::StatusOr<std::vector<HashAlgorithm>> ScriptedTpm::AllocatedBanks() {
  if (!error.ok()) return error;
  return banks;
}

absl::StatusOr<TpmState> ScriptedTpm::ReadState() {
  if (!error.ok()) return error;
  return state;
}

absl::StatusOr<tpm::PcrValues> ScriptedTpm::ReadPcrs(
    const tpm::PcrSelection& selection) {
  if (!error.ok()) return error;
  if (before_read) before_read();
  return values.Only(selection);
}

absl::StatusOr<std::vector<EkCertificate>> ScriptedTpm::ReadEkCertificates() {
  if (!error.ok()) return error;
  return certificates;
}

absl::StatusOr<tpm::PublicArea> ScriptedTpm::ReadEk(
    tpm::EkTemplate /*ek_template*/) {
  if (!error.ok()) return error;
  return ek;
}

absl::Status ScriptedTpm::ExtendPcr(uint32_t, std::span<const crypto::Digest>) {
  return Unasked();
}
absl::StatusOr<AkBlobs> ScriptedTpm::CreateAk(tpm::EkTemplate, AkKind) {
  return Unasked();
}
absl::StatusOr<tpm::PublicArea> ScriptedTpm::UseAk(const AkBlobs&) {
  return Unasked();
}
absl::StatusOr<Secret> ScriptedTpm::ActivateCredential(const tpm::Credential&) {
  return Unasked();
}
absl::StatusOr<Quote> ScriptedTpm::MakeQuote(std::span<const uint8_t>,
                                             const tpm::PcrSelection&) {
  return Unasked();
}

tpm::PcrValues ValuesOf(const ListBuilder& list,
                        const std::vector<HashAlgorithm>& banks) {
  tpm::PcrValues values;
  for (const HashAlgorithm bank : banks) {
    for (uint32_t pcr = 0; pcr < crypto::kPcrCount; ++pcr) {
      crypto::Digest value =
          pcr < 8 ? crypto::Digest::Filled(bank, static_cast<uint8_t>(pcr + 1))
                  : crypto::Digest(bank);
      if (pcr >= ima::kImaPcr && crypto::IsReplayBank(bank)) {
        value = list.Pcr(bank, pcr);
      }
      REQUIRE_THAT(values.Set(pcr, value), IsOk());
    }
  }
  return values;
}

DoctorRig::DoctorRig() {
  machine.root = root_.path();
  machine.kernel_release = kRelease;
  machine.now = TestTime();
  machine.config.verifiers = {{"verifier.test", 8891}};
  Write("/proc/mounts",
        "proc /proc proc rw 0 0\n"
        "securityfs /sys/kernel/security securityfs rw,relatime 0 0\n");
  Write("/proc/cmdline",
        "BOOT_IMAGE=/vmlinuz root=/dev/sda1 ima_hash=sha256 quiet\n");
  Write(absl::StrCat("/boot/config-", kRelease),
        "# Linux\nCONFIG_IMA=y\nCONFIG_TCG_TPM=y\nCONFIG_TCG_TIS=y\n"
        "CONFIG_IMA_MEASURE_PCR_IDX=10\n"
        "CONFIG_IMA_DEFAULT_TEMPLATE=\"ima-ng\"\n# CONFIG_EVM is not set\n");
  Write("/sys/kernel/security/ima/policy",
        "dont_measure fsmagic=0x9fa0\n"
        "measure func=MMAP_CHECK mask=MAY_EXEC\n"
        "measure func=BPRM_CHECK mask=MAY_EXEC\n"
        "measure func=MODULE_CHECK\nmeasure func=FIRMWARE_CHECK\n"
        "measure func=POLICY_CHECK\nmeasure func=KEXEC_KERNEL_CHECK\n"
        "measure func=KEXEC_INITRAMFS_CHECK\nmeasure func=KEXEC_CMDLINE\n"
        "measure func=KEY_CHECK\nmeasure func=CRITICAL_DATA\n");
  Write("/sys/class/rtc/rtc0/since_epoch",
        absl::StrCat(absl::ToUnixSeconds(machine.now), "\n"));
  Write("/dev/tpmrm0", "");
  const auto ca = MakeCertificate(Lasting(CaSpec("Verifiers", 80)));
  Write(machine.config.ca_file, testing::ToPem(ca.certificate));
  Write(absl::StrCat(machine.config.state_dir, "/agent_id"),
        "d432fbb3-d2f1-4a97-9ef7-75bd81c00000\n");
  REQUIRE(chmod(machine.Path(machine.config.state_dir).c_str(), S_IRWXU) == 0);

  auto tpm = std::make_unique<ScriptedTpm>();
  tpm_ = tpm.get();
  machine.tpm = std::move(tpm);
  tpm_->banks = {HashAlgorithm::kSha1, HashAlgorithm::kSha256};
  tpm_->state = {.manufacturer = "IFX",
                 .clock = {.clock = 1000, .reset_count = 3, .safe = true},
                 .has_endorsement = true,
                 .free_object_count = 3,
                 .free_session_count = 3,
                 .unnamed_banks = {}};
  tpm_->ek =
      FakeEk(tpm::EkTemplate::kL2, FakeKeyKind::kEcP256, kEkIndex).area();
  const auto certificate =
      MakeCertificate(Lasting(EkSpec(FakeKeyKind::kEcP256, kEkIndex)), &ca);
  tpm_->certificates = {
      {tpm::EkTemplate::kL2, ToVector(certificate.certificate.der())}};
  for (int i = 0; i < 5; ++i) {
    const std::string path = absl::StrCat("/usr/bin/", i);
    list.AddFile(path, testing::FileDigestOf(path));
  }
  SetList(list);

  machine.may_open = [](const std::string&, const std::string&, bool) {
    return true;
  };
  machine.probe_tls = [certificate = ca.certificate](const config::Endpoint&,
                                                     const std::string&) {
    return TlsPeer{.certificate = certificate,
                   .tls_version = "TLSv1.3",
                   .speaks_http2 = true};
  };
  machine.steady_clock = [this] { return steady; };
  machine.sleep = [this](absl::Duration duration) {
    steady += duration;
    tpm_->state.clock.clock +=
        static_cast<uint64_t>(tpm_speed * absl::ToDoubleMilliseconds(duration));
  };
}

void DoctorRig::Write(const std::string& path,
                      absl::string_view content) const {
  const std::filesystem::path file = machine.Path(path);
  std::filesystem::create_directories(file.parent_path());
  REQUIRE_THAT(WriteFile(file.string(), content), IsOk());
}

void DoctorRig::Remove(const std::string& path) const {
  REQUIRE(std::filesystem::remove_all(machine.Path(path)) > 0);
}

void DoctorRig::SetList(const ListBuilder& new_list) {
  Write(kImaList, AsText(new_list.bytes()));
  Write(kImaCount, absl::StrCat(new_list.size(), "\n"));
  tpm_->values = ValuesOf(new_list, tpm_->banks);
}

void DoctorRig::LoseTpm(absl::Status status) {
  tpm_ = nullptr;
  machine.tpm = std::move(status);
}

std::vector<Observation> DoctorRig::Check(absl::string_view id) const {
  std::vector<Observation> observations;
  const Report report = Examine(machine);
  for (const Observation& one : report.all()) {
    if (one.check == id) observations.push_back(one);
  }
  REQUIRE_FALSE(observations.empty());
  return observations;
}

bool Says(const std::vector<Observation>& observations, Outcome outcome,
          absl::string_view text) {
  size_t found = 0;
  for (const Observation& one : observations) {
    UNSCOPED_INFO(one.check << ": " << OutcomeName(one.outcome) << ": "
                            << one.text << " [" << one.cure << "]");
    if (one.outcome == outcome && absl::StrContains(one.text, text) &&
        one.cure.empty() == (outcome == Outcome::kOk)) {
      ++found;
    } else if (one.outcome != Outcome::kOk) {
      return false;
    }
  }
  return outcome == Outcome::kOk ? found > 0 : found == 1;
}

}  // namespace cupel::agent
