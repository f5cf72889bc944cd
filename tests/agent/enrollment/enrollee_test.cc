#include "agent/enrollment/enrollee.h"

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "catch2/catch.hpp"
#include "common/crypto/digest.h"
#include "common/tpm/binding.h"
#include "common/util/bytes.h"
#include "tests/support/certificate_builder.h"
#include "tests/support/fake_ek.h"
#include "tests/support/fake_tpm.h"
#include "tests/support/status_matchers.h"

namespace cupel::agent {
namespace {

using ::cupel::testing::EkSpec;
using ::cupel::testing::FakeEk;
using ::cupel::testing::FakeKeyKind;
using ::cupel::testing::FakeTpm;
using ::cupel::testing::IsOk;
using ::cupel::testing::MakeCertificate;
using ::cupel::testing::StatusIs;
using ::cupel::testing::StatusOf;

using testing::kInvalid;
constexpr absl::StatusCode kPrecondition =
    absl::StatusCode::kFailedPrecondition;

const FakeEk& Ek() {
  static const FakeEk ek(tpm::EkTemplate::kL2, FakeKeyKind::kEcP256, 70);
  return ek;
}

EnrolleeOptions Options() {
  return {
      .agent_id = *AgentId::Parse("d432fbb3-d2f1-4a97-9ef7-75bd81c00000"),
      .ek_template = tpm::EkTemplate::kL2,
      .ek_certificates = {ToVector(
          MakeCertificate(EkSpec(FakeKeyKind::kEcP256, 70)).certificate.der())},
      .ek_public = Ek().area().Serialize(),
      .ak_public = FakeTpm().ak().Serialize(),
      .enrollment_token = "token",
      .agent_version = "1"};
}

TEST_CASE("The request holds what the agent was given") {
  const EnrolleeOptions options = Options();
  const auto enrollee = Enrollee::Create(options);
  REQUIRE_THAT(StatusOf(enrollee), IsOk());
  const tpm::BeginEnrollment& request = enrollee->request();
  CHECK(request.agent_id == ToVector(options.agent_id.bytes()));
  CHECK(request.ek_certificates == options.ek_certificates);
  CHECK(request.ek_template == "L-2");
  CHECK(request.ak_public == options.ak_public);
  CHECK(request.enrollment_token == "token");
  CHECK(request.agent_version == "1");
  CHECK(enrollee->ek_name() == Ek().area().Name());
  CHECK(enrollee->ak_name() == FakeTpm().ak().Name());
  CHECK(
      enrollee->ek_fingerprint() ==
      crypto::Hash(crypto::HashAlgorithm::kSha256, options.ek_certificates[0]));
}

TEST_CASE("An NV index's padding is left behind") {
  EnrolleeOptions options = Options();
  const std::vector<uint8_t> der = options.ek_certificates[0];
  options.ek_certificates[0].resize(der.size() + 300, 0xff);
  options.ek_certificates.push_back(options.ek_certificates[0]);
  const auto enrollee = Enrollee::Create(options);
  REQUIRE_THAT(StatusOf(enrollee), IsOk());
  CHECK(enrollee->request().ek_certificates == std::vector{der, der});
}

TEST_CASE("What the verifier could not take is not sent") {
  struct Case {
    const char* description;
    std::function<void(EnrolleeOptions&)> change;
    absl::StatusCode code;
    const char* message;
  };
  const std::vector<Case> cases = {
      {"no certificate", [](auto& o) { o.ek_certificates.clear(); }, kInvalid,
       "no EK certificate"},
      {"an empty index",
       [](auto& o) { o.ek_certificates[0].assign(100, 0xff); }, kInvalid,
       "EK certificate 1"},
      {"a broken issuer",
       [](auto& o) {
         o.ek_certificates.push_back({0x30, 0});
       },
       kInvalid, "EK certificate 2"},
      {"another TPM's certificate",
       [](auto& o) {
         o.ek_certificates[0] =
             ToVector(MakeCertificate(EkSpec(FakeKeyKind::kEcP256, 71))
                          .certificate.der());
       },
       kPrecondition, "another TPM"},
      {"another template",
       [](auto& o) { o.ek_template = tpm::EkTemplate::kH2; }, kPrecondition,
       "H-2"},
      {"an RSA template", [](auto& o) { o.ek_template = tpm::EkTemplate::kL1; },
       kInvalid, "L-1"},
      {"no EK", [](auto& o) { o.ek_public.clear(); }, kInvalid, ""},
      {"no AK", [](auto& o) { o.ak_public.clear(); }, kInvalid, ""},
  };
  for (const Case& c : cases) {
    CAPTURE(c.description);
    EnrolleeOptions options = Options();
    c.change(options);
    CHECK_THAT(StatusOf(Enrollee::Create(std::move(options))),
               StatusIs(c.code, c.message));
  }
}

TEST_CASE("The answer proves the secret that the TPM recovered") {
  const Enrollee enrollee = *Enrollee::Create(Options());
  const crypto::Digest verifier =
      crypto::Hash(crypto::HashAlgorithm::kSha256, AsBytes("verifier"));
  const tpm::EnrollmentChallenge challenge{
      .credential_blob = {1}, .encrypted_secret = {2}, .cookie = {3, 4}};
  const std::vector<uint8_t> secret(32, 7);
  const auto answer = enrollee.Answer(
      challenge, verifier,
      [&](std::span<const uint8_t> blob,
          std::span<const uint8_t> encrypted) -> absl::StatusOr<Secret> {
        CHECK(ToVector(blob) == challenge.credential_blob);
        CHECK(ToVector(encrypted) == challenge.encrypted_secret);
        return Secret(secret);
      });
  REQUIRE_THAT(StatusOf(answer), IsOk());
  CHECK(answer->cookie == challenge.cookie);
  const AgentId id = Options().agent_id;
  const auto expected =
      tpm::EnrollmentProof(Secret(secret), {.cookie = challenge.cookie,
                                            .agent_id = &id,
                                            .ek_name = enrollee.ek_name(),
                                            .ak_name = enrollee.ak_name(),
                                            .verifier_certificate = &verifier});
  CHECK(answer->proof == ToVector(expected->Reveal()));
}

TEST_CASE("No answer without the TPM's") {
  const Enrollee enrollee = *Enrollee::Create(Options());
  const crypto::Digest verifier;
  const tpm::EnrollmentChallenge challenge{
      .credential_blob = {1}, .encrypted_secret = {2}, .cookie = {3, 4}};
  CHECK_THAT(
      StatusOf(enrollee.Answer(challenge, verifier,
                               [](auto, auto) -> absl::StatusOr<Secret> {
                                 return absl::UnavailableError("TPM_RC_RETRY");
                               })),
      StatusIs(absl::StatusCode::kUnavailable, "TPM_RC_RETRY"));
  CHECK_THAT(
      StatusOf(enrollee.Answer(challenge, verifier,
                               [](auto, auto) -> absl::StatusOr<Secret> {
                                 return Secret(std::vector<uint8_t>(31, 1));
                               })),
      StatusIs(kInvalid, "31"));
}

}  // namespace
}  // namespace cupel::agent
