// The whole enrolment with a software TPM and the certificates that its maker
// gives it.
#include <algorithm>
#include <string>
#include <vector>

#include "catch2/catch.hpp"
#include "common/crypto/certificate.h"
#include "common/tpm/ek_certificate.h"
#include "common/tpm/make_credential.h"
#include "common/tpm/public_area.h"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "tests/support/enrollment_bench.h"
#include "tests/support/status_matchers.h"
#include "tests/support/swtpm.h"
#include "tests/support/temporary_folder.h"

namespace cupel::verifier {
namespace {

using ::cupel::testing::EnrollmentStore;
using ::cupel::testing::IsOk;
using ::cupel::testing::kAddress;
using ::cupel::testing::StatusIs;
using ::cupel::testing::StatusOf;
using ::cupel::testing::SwTpm;
using ::cupel::testing::TemporaryFolder;
using ::cupel::testing::TestAgent;
using ::cupel::testing::VerifierHash;

// A maker's CA of this test's own, and a TPM with certificates by it.
struct CertifiedTpm {
  TemporaryFolder folder;
  std::unique_ptr<SwTpm> tpm;

  CertifiedTpm() {
    SwTpm::SkipUnlessAvailable();
    auto started =
        SwTpm::StartCertified(folder.path(), {"--create-platform-cert"});
    REQUIRE_THAT(StatusOf(started), IsOk());
    tpm = *std::move(started);
  }

  // What an NV index holds, to its end.
  std::vector<uint8_t> ReadNv(const std::string& index) const {
    REQUIRE_THAT(
        StatusOf(tpm->Run({"tpm2_nvread", "-C", "o", index, "-o", "nv.bin"})),
        IsOk());
    return *tpm->Read("nv.bin");
  }

  crypto::Certificate Issuer() const {
    const auto pem = ReadFile(folder / "issuer.pem", size_t{1} << 16);
    REQUIRE_THAT(StatusOf(pem), IsOk());
    const auto issuer = crypto::Certificate::FromPem(AsText(*pem));
    REQUIRE_THAT(StatusOf(issuer), IsOk());
    return *issuer;
  }

  std::vector<uint8_t> Public(const std::string& file) const {
    const auto area = tpm::ParsePublicFile(*tpm->Read(file));
    REQUIRE_THAT(StatusOf(area), IsOk());
    return area->Serialize();
  }

  // With the EK at this handle; `has_policy_a` for the low range's.
  absl::StatusOr<Secret> Activate(const std::string& ek, bool has_policy_a,
                                  std::span<const uint8_t> blob,
                                  std::span<const uint8_t> encrypted) const {
    const tpm::Credential credential{.id_object = ToVector(blob),
                                     .encrypted_secret = ToVector(encrypted)};
    REQUIRE_THAT(tpm->Write("cred", tpm::SerializeCredentialFile(credential)),
                 IsOk());
    std::vector<std::string> command = {"tpm2_activatecredential",
                                        "-c",
                                        "ak.ctx",
                                        "-C",
                                        ek,
                                        "-i",
                                        "cred",
                                        "-o",
                                        "secret"};
    if (has_policy_a) {
      REQUIRE_THAT(
          StatusOf(tpm->RunWithoutFlush(
              {"tpm2_startauthsession", "--policy-session", "-S", "session"})),
          IsOk());
      REQUIRE_THAT(StatusOf(tpm->RunWithoutFlush(
                       {"tpm2_policysecret", "-S", "session", "-c", "e"})),
                   IsOk());
      command.insert(command.end(), {"-P", "session:session"});
    }
    const auto output = tpm->Run(command);
    if (!output.ok()) return output.status();
    return Secret(*tpm->Read("secret"));
  }
};

TEST_CASE("A software TPM enrols with its own certificates") {
  struct Case {
    const char* index;
    const char* handle;
    tpm::EkTemplate id;
    bool has_policy_a;
  };
  const CertifiedTpm machine;
  for (const Case& c :
       {Case{"0x1c00002", "0x81010001", tpm::EkTemplate::kL1, true},
        Case{"0x1c00016", "0x81010016", tpm::EkTemplate::kH3, false}}) {
    CAPTURE(c.index);
    // As on hardware, where an index is larger than its certificate.
    std::vector<uint8_t> nv = machine.ReadNv(c.index);
    const auto certificate = crypto::Certificate::FromDer(nv);
    REQUIRE_THAT(StatusOf(certificate), IsOk());
    const auto identity = tpm::ValidateEkCertificate(*certificate);
    REQUIRE_THAT(StatusOf(identity), IsOk());
    CHECK(identity->manufacturer == "id:00001014");
    CHECK(identity->model == "swtpm");
    nv.resize(nv.size() + 64, 0xff);

    SwTpm& tpm = *machine.tpm;
    REQUIRE_THAT(StatusOf(tpm.Run({"tpm2_readpublic", "-c", c.handle, "-f",
                                   "tss", "-o", "ek.pub"})),
                 IsOk());
    REQUIRE_THAT(StatusOf(tpm.Run({"tpm2_createek", "-c", "ek.ctx", "-G", "rsa",
                                   "-u", "unused.pub"})),
                 IsOk());
    REQUIRE_THAT(StatusOf(tpm.Run({"tpm2_createak", "-C", "ek.ctx", "-c",
                                   "ak.ctx", "-G", "ecc", "-g", "sha256", "-s",
                                   "ecdsa", "-u", "ak.pub", "-f", "tss"})),
                 IsOk());
    const auto enrollee =
        agent::Enrollee::Create({.agent_id = TestAgent(),
                                 .ek_template = c.id,
                                 .ek_certificates = {nv},
                                 .ek_public = machine.Public("ek.pub"),
                                 .ak_public = machine.Public("ak.pub"),
                                 .enrollment_token = "",
                                 .agent_version = "test"});
    REQUIRE_THAT(StatusOf(enrollee), IsOk());

    EnrollmentStore store;
    store.SetNow(certificate->not_before() + absl::Hours(1));
    const auto keys = *CookieKeys::Generate();
    const auto enroller = Enroller::Create(
        &store, keys.get(),
        {.ek_roots =
             *crypto::TrustAnchors::Create(std::vector{machine.Issuer()})});
    REQUIRE_THAT(StatusOf(enroller), IsOk());
    const auto challenge =
        (*enroller)->Begin(enrollee->request(), VerifierHash());
    REQUIRE_THAT(StatusOf(challenge), IsOk());
    const auto answer = enrollee->Answer(
        *challenge, VerifierHash(), [&](auto blob, auto encrypted) {
          return machine.Activate(c.handle, c.has_policy_a, blob, encrypted);
        });
    REQUIRE_THAT(StatusOf(answer), IsOk());
    CHECK_THAT(StatusOf((*enroller)->Complete(*answer, kAddress,
                                              std::vector{VerifierHash()})),
               IsOk());

    // For another AK than the one that it was made for, the TPM refuses.
    REQUIRE_THAT(StatusOf(tpm.Run({"tpm2_createak", "-C", "ek.ctx", "-c",
                                   "ak.ctx", "-G", "ecc", "-g", "sha256", "-s",
                                   "ecdsa", "-u", "ak.pub", "-f", "tss"})),
                 IsOk());
    const auto again = (*enroller)->Begin(enrollee->request(), VerifierHash());
    REQUIRE_THAT(StatusOf(again), IsOk());
    CHECK_FALSE(machine
                    .Activate(c.handle, c.has_policy_a, again->credential_blob,
                              again->encrypted_secret)
                    .ok());
  }
}

TEST_CASE("A software TPM's platform certificate is none of an EK") {
  const CertifiedTpm machine;
  const auto certificate =
      crypto::Certificate::FromDer(machine.ReadNv("0x1c08000"));
  REQUIRE_THAT(StatusOf(certificate), IsOk());
  CHECK_THAT(StatusOf(tpm::ValidateEkCertificate(*certificate)),
             StatusIs(absl::StatusCode::kPermissionDenied));
}

}  // namespace
}  // namespace cupel::verifier
