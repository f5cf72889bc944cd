#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "tests/agent/doctor/doctor_rig.h"
#include "tests/support/certificate_builder.h"
#include "tests/support/fake_ek.h"

namespace cupel::agent {
namespace {

using ::cupel::crypto::HashAlgorithm;
using ::cupel::testing::EkSpec;
using ::cupel::testing::FakeKeyKind;
using ::cupel::testing::MakeCertificate;
using ::cupel::testing::TestTime;

TEST_CASE("the way to the TPM") {
  DoctorRig rig;
  CHECK(Says(rig.Check("tpm.tcti"), Outcome::kOk, "/dev/tpmrm0"));
  SECTION("there is no TPM") {
    rig.Remove("/dev/tpmrm0");
    CHECK(Says(rig.Check("tpm.tcti"), Outcome::kFailure, "no TPM 2.0"));
  }
  SECTION("there is no resource manager") {
    rig.Remove("/dev/tpmrm0");
    rig.Write("/dev/tpm0", "");
    CHECK(Says(rig.Check("tpm.tcti"), Outcome::kFailure,
               "lacks its resource manager"));
  }
  SECTION("the resource manager is not used") {
    rig.Write("/dev/tpm0", "");
    rig.machine.config.tcti = "device:/dev/tpm0";
    CHECK(
        Says(rig.Check("tpm.tcti"), Outcome::kWarning, "no resource manager"));
  }
  SECTION("an emulator") {
    rig.machine.config.tcti = "swtpm:path=/run/tpm";
    CHECK(Says(rig.Check("tpm.tcti"), Outcome::kWarning, "emulator"));
  }
  SECTION("the resource manager of user space") {
    rig.machine.config.tcti = "tabrmd:bus_type=system";
    CHECK(Says(rig.Check("tpm.tcti"), Outcome::kOk, "abrmd"));
  }
}

TEST_CASE("the TPM answers, and is usable") {
  DoctorRig rig;
  CHECK(Says(rig.Check("tpm.state"), Outcome::kOk, "IFX"));
  SECTION("no answer") {
    rig.LoseTpm(absl::UnavailableError("tcti:IO failure"));
    CHECK(Says(rig.Check("tpm.state"), Outcome::kFailure, "IO failure"));
    // What needs the TPM is not called well.
    for (const char* const id :
         {"tpm.banks", "tpm.replay", "tpm.ek", "clock.tpm"}) {
      CHECK(Says(rig.Check(id), Outcome::kUndecided, "can't be reached"));
    }
    CHECK(Examine(rig.machine).ExitCode() == 1);
  }
  SECTION("no right to ask") {
    rig.LoseTpm(absl::PermissionDeniedError("permission denied"));
    CHECK(Says(rig.Check("tpm.state"), Outcome::kFailure, "denied"));
    rig.machine.user_id = 1000;
    CHECK(Says(rig.Check("tpm.state"), Outcome::kUndecided, "denied"));
  }
  SECTION("an answer that is an error") {
    rig.tpm().error = absl::InternalError("failure mode");
    CHECK(Says(rig.Check("tpm.state"), Outcome::kFailure, "failure mode"));
    for (const char* const id :
         {"tpm.banks", "tpm.replay", "tpm.ek", "clock.tpm"}) {
      CHECK(Says(rig.Check(id), Outcome::kUndecided, "failure mode"));
    }
  }
  SECTION("no endorsement hierarchy") {
    rig.tpm().state.has_endorsement = false;
    CHECK(Says(rig.Check("tpm.state"), Outcome::kFailure, "endorsement"));
  }
  SECTION("locked out") {
    rig.tpm().state.is_locked_out = true;
    CHECK(Says(rig.Check("tpm.state"), Outcome::kWarning, "locked out"));
  }
  SECTION("full of objects") {
    rig.tpm().state.free_object_count = 1;
    CHECK(Says(rig.Check("tpm.state"), Outcome::kFailure, "full"));
  }
  SECTION("full of sessions") {
    rig.tpm().state.free_session_count = 0;
    CHECK(Says(rig.Check("tpm.state"), Outcome::kFailure, "full"));
  }
}

TEST_CASE("a bank that is worth a quote has PCRs, and the firmware uses it") {
  DoctorRig rig;
  CHECK(Says(rig.Check("tpm.banks"), Outcome::kOk, "sha1, sha256"));
  const auto set = [&](std::vector<HashAlgorithm> banks) {
    rig.tpm().banks = std::move(banks);
    rig.SetList(rig.list);
  };
  SECTION("none") {
    set({});
    CHECK(Says(rig.Check("tpm.banks"), Outcome::kFailure, "no bank"));
    CHECK(rig.Check("tpm.replay").front().outcome == Outcome::kUndecided);
  }
  SECTION("SHA-1 alone") {
    set({HashAlgorithm::kSha1});
    CHECK(Says(rig.Check("tpm.banks"), Outcome::kFailure, "SHA-1 alone"));
  }
  SECTION("none that can be replayed") {
    set({HashAlgorithm::kSm3_256});
    CHECK(Says(rig.Check("tpm.banks"), Outcome::kFailure, "no bank"));
    CHECK(Says(rig.Check("tpm.replay"), Outcome::kUndecided, "sm3: could not"));
  }
  SECTION("a larger one that the firmware does not extend is not asked for") {
    tpm::PcrValues values = rig.tpm().values;
    for (uint32_t pcr = 0; pcr < 24; ++pcr) {
      REQUIRE(values.Set(pcr, crypto::Digest(HashAlgorithm::kSha384)).ok());
    }
    rig.tpm().values = values;
    rig.tpm().banks.push_back(HashAlgorithm::kSha384);
    CHECK(Says(rig.Check("tpm.banks"), Outcome::kOk, "quoted is sha256"));
  }
  SECTION("the firmware does not extend it") {
    tpm::PcrValues values;
    rig.tpm().values.ForEach([&](uint32_t pcr, const crypto::Digest& value) {
      const bool idle = pcr < 8 && value.algorithm() == HashAlgorithm::kSha256;
      REQUIRE(values.Set(pcr, idle ? crypto::Digest(value.algorithm()) : value)
                  .ok());
    });
    rig.tpm().values = values;
    CHECK(Says(rig.Check("tpm.banks"), Outcome::kFailure,
               "none of PCR 0 to 7 in sha256"));
  }
}

TEST_CASE("the list has to explain the PCRs, in every bank") {
  DoctorRig rig;
  const auto good = rig.Check("tpm.replay");
  CHECK(good.size() == 2);
  CHECK(Says(good, Outcome::kOk, "explained by the first 5 entries"));
  SECTION("another list") {
    testing::ListBuilder other;
    for (int i = 0; i < 5; ++i) other.AddFile("/x", testing::FileDigestOf("x"));
    rig.tpm().values = ValuesOf(other, rig.tpm().banks);
    for (const Observation& one : rig.Check("tpm.replay")) {
      CHECK(one.outcome == Outcome::kFailure);
    }
  }
  SECTION("a bank without a name") {
    rig.tpm().state.unnamed_banks = {0x99};
    CHECK(Says(rig.Check("tpm.replay"), Outcome::kUndecided, "0x0099"));
    CHECK(Examine(rig.machine).ExitCode() == 2);
  }
  SECTION("no list") {
    rig.Remove("/sys/kernel/security/ima/binary_runtime_measurements");
    CHECK(Says(rig.Check("tpm.replay"), Outcome::kUndecided, "No such file"));
  }
}

TEST_CASE("the EK's certificate is its own, and valid") {
  DoctorRig rig;
  CHECK(Says(rig.Check("tpm.ek"), Outcome::kOk, "L-2"));
  const auto give = [&](testing::CertificateSpec spec) {
    rig.tpm().certificates = {
        {tpm::EkTemplate::kL2,
         ToVector(MakeCertificate(spec).certificate.der())}};
  };
  testing::CertificateSpec spec = EkSpec(FakeKeyKind::kEcP256, 71);
  spec.not_after = TestTime() + absl::Hours(24 * 365);
  SECTION("none") {
    rig.tpm().certificates.clear();
    CHECK(Says(rig.Check("tpm.ek"), Outcome::kFailure, "no certificate"));
  }
  SECTION("none for the template that is asked for") {
    rig.machine.config.ek_template = "L-1";
    CHECK(Says(rig.Check("tpm.ek"), Outcome::kFailure, "template L-1"));
  }
  SECTION("of another key") {
    give(EkSpec(FakeKeyKind::kEcP256, 72));
    spec.key_index = 72;
    give(spec);
    CHECK(Says(rig.Check("tpm.ek"), Outcome::kFailure, "another key"));
  }
  SECTION("malformed") {
    rig.tpm().certificates = {
        {tpm::EkTemplate::kL2, std::vector<uint8_t>{1, 2, 3}}};
    CHECK(Says(rig.Check("tpm.ek"), Outcome::kFailure, "certificate"));
    rig.tpm().certificates = {
        {tpm::EkTemplate::kL2, absl::InvalidArgumentError("no DER")}};
    rig.machine.config.ek_template = "L-2";
    CHECK(Says(rig.Check("tpm.ek"), Outcome::kFailure, "no DER"));
  }
  SECTION("ended") {
    spec.not_after = TestTime() - absl::Hours(1);
    give(spec);
    CHECK(Says(rig.Check("tpm.ek"), Outcome::kFailure, "not valid after"));
  }
  SECTION("not begun") {
    spec.not_before = TestTime() + absl::Hours(1);
    give(spec);
    CHECK(Says(rig.Check("tpm.ek"), Outcome::kFailure, "not valid before"));
  }
  SECTION("about to end") {
    spec.not_after = TestTime() + absl::Hours(24);
    give(spec);
    CHECK(Says(rig.Check("tpm.ek"), Outcome::kWarning, "ends on"));
  }
  SECTION("from a file") {
    rig.tpm().certificates.clear();
    rig.machine.config.ek_certificate_file = "/etc/cupel/ek.pem";
    rig.machine.config.ek_template = "L-2";
    CHECK(Says(rig.Check("tpm.ek"), Outcome::kFailure, "ek.pem"));
    rig.Write("/etc/cupel/ek.pem",
              testing::ToPem(MakeCertificate(spec).certificate));
    CHECK(Says(rig.Check("tpm.ek"), Outcome::kOk, "L-2"));
  }
}

TEST_CASE("the TPM's clock keeps time") {
  DoctorRig rig;
  CHECK(Says(rig.Check("clock.tpm"), Outcome::kOk, "reset 3"));
  SECTION("it stands still") {
    rig.tpm_speed = 0;
    CHECK(Says(rig.Check("clock.tpm"), Outcome::kWarning, "went on by 0"));
  }
  SECTION("it is fast") {
    rig.tpm_speed = 1.5;
    CHECK(Says(rig.Check("clock.tpm"), Outcome::kWarning, "went on by"));
  }
  SECTION("within the tolerance") {
    rig.tpm_speed = 1.3;
    CHECK(Says(rig.Check("clock.tpm"), Outcome::kOk, "reset 3"));
    rig.tpm_speed = 0.7;
    CHECK(Says(rig.Check("clock.tpm"), Outcome::kOk, "reset 3"));
  }
  SECTION("after a power cut") {
    rig.tpm().state.clock.safe = false;
    CHECK(Says(rig.Check("clock.tpm"), Outcome::kOk, "power cut"));
  }
}

}  // namespace
}  // namespace cupel::agent
