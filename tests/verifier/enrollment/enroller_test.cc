#include "verifier/enrollment/enroller.h"

#include <functional>
#include <utility>
#include <vector>

#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "tests/support/enrollment_bench.h"
#include "tests/support/status_matchers.h"

namespace cupel::verifier {
namespace {

using ::cupel::testing::EnrollmentBench;
using ::cupel::testing::FakeKeyKind;
using ::cupel::testing::IsOk;
using ::cupel::testing::kAddress;
using ::cupel::testing::Machine;
using ::cupel::testing::MachineOptions;
using ::cupel::testing::StatusIs;
using ::cupel::testing::StatusOf;
using ::cupel::testing::TestAgent;
using ::cupel::testing::VerifierHash;

using testing::kDenied;
using testing::kInvalid;
constexpr absl::StatusCode kExhausted = absl::StatusCode::kResourceExhausted;

TEST_CASE("A machine enrols, with each kind of EK") {
  const auto options = GENERATE(values<MachineOptions>(
      {{.ek_kind = FakeKeyKind::kRsa2048, .ek_template = tpm::EkTemplate::kL1},
       {.ek_kind = FakeKeyKind::kEcP256, .ek_template = tpm::EkTemplate::kL2},
       {.ek_kind = FakeKeyKind::kRsa2048, .ek_template = tpm::EkTemplate::kH1},
       {.ek_kind = FakeKeyKind::kEcP384,
        .ek_template = tpm::EkTemplate::kH3}}));
  EnrollmentBench bench;
  const Machine machine(bench.vendor, options);
  const auto challenge = bench.Begin(machine.request());
  REQUIRE_THAT(StatusOf(challenge), IsOk());
  CHECK(bench.store.write_count() == 0);
  const auto answer = machine.Answer(*challenge);
  REQUIRE_THAT(StatusOf(answer), IsOk());
  const auto agent = bench.Complete(*answer);
  REQUIRE_THAT(StatusOf(agent), IsOk());
  CHECK(bench.store.write_count() == 1);
  CHECK(agent->id == options.agent_id);
  CHECK(agent->state == AgentState::kEnrolled);
  REQUIRE(agent->enrollment.has_value());
  const Enrollment& enrollment = *agent->enrollment;
  CHECK(enrollment.ek_certificate == ToVector(machine.certificate().der()));
  CHECK(enrollment.ek_sha256 == machine.enrollee().ek_fingerprint().Hex());
  CHECK(enrollment.ek_name == machine.ek().area().Name());
  CHECK(enrollment.ak_public == machine.tpm().ak().Serialize());
  CHECK(enrollment.ak_name == machine.tpm().ak().Name());
  CHECK(enrollment.address == kAddress);
  CHECK(enrollment.time == bench.store.Now());
}

TEST_CASE("A verifier without roots does not start") {
  EnrollmentBench bench;
  CHECK_THAT(StatusOf(Enroller::Create(&bench.store, bench.keys.get(), {})),
             StatusIs(kInvalid, "no root"));
  CHECK_THAT(StatusOf(Enroller::Create(
                 &bench.store, bench.keys.get(),
                 {.ek_issuers = EkIssuers::kAcceptUnknownIssuer,
                  .ek_roots = *crypto::TrustAnchors::Create(
                      std::vector{bench.vendor.root.certificate})})),
             StatusIs(kInvalid, "drop one"));
  CHECK_THAT(StatusOf(Enroller::Create(nullptr, bench.keys.get(), {})),
             StatusIs(kInvalid));
}

TEST_CASE("A laboratory takes unknown issuers, and nothing else") {
  EnrollmentBench bench;
  bench.enroller =
      *Enroller::Create(&bench.store, bench.keys.get(),
                        {.ek_issuers = EkIssuers::kAcceptUnknownIssuer});
  const Machine machine(bench.vendor);
  tpm::BeginEnrollment request = machine.request();
  request.ek_certificates.resize(1);
  CHECK_THAT(StatusOf(bench.Begin(request)), IsOk());
  bench.store.Advance(absl::Hours(48));
  CHECK_THAT(StatusOf(bench.Begin(request)), StatusIs(kDenied, "valid"));
  bench.store.Advance(-absl::Hours(48));
  request.ek_certificates[0] = ToVector(bench.vendor.root.certificate.der());
  CHECK_THAT(StatusOf(bench.Begin(request)), StatusIs(kDenied));
  CHECK_THAT(StatusOf(bench.Enroll(machine)), IsOk());
}

TEST_CASE("A request that is wrong in one thing is refused") {
  struct Case {
    const char* description;
    std::function<void(tpm::BeginEnrollment&)> change;
    absl::StatusCode code;
    const char* message;
  };
  const std::vector<Case> cases = {
      {"short id", [](auto& r) { r.agent_id.pop_back(); }, kInvalid,
       "agent_id"},
      {"id of zeros", [](auto& r) { r.agent_id.assign(16, 0); }, kInvalid,
       "agent_id"},
      {"no certificate", [](auto& r) { r.ek_certificates.clear(); }, kInvalid,
       "EK"},
      {"certificate with a tail",
       [](auto& r) { r.ek_certificates[0].push_back(0); }, kInvalid, "EK"},
      {"certificate over the limit",
       [](auto& r) { r.ek_certificates[0].resize(kMaxEkCertificateSize + 1); },
       kExhausted, "ek_certificates"},
      {"issuer over the limit",
       [](auto& r) { r.ek_certificates[1].resize(kMaxEkCertificateSize + 1); },
       kExhausted, "ek_certificates"},
      {"an issuer that is none",
       [](auto& r) { r.ek_certificates[1].assign(10, 0x30); }, kInvalid,
       "issuer 1"},
      {"many issuers",
       [](auto& r) {
         r.ek_certificates.resize(kMaxEkCertificateCount + 1,
                                  r.ek_certificates[1]);
       },
       kExhausted, "ek_certificates"},
      {"no issuer", [](auto& r) { r.ek_certificates.resize(1); }, kDenied,
       "issuer"},
      {"no template", [](auto& r) { r.ek_template.clear(); }, kInvalid,
       "template"},
      {"unknown template", [](auto& r) { r.ek_template = "L-9"; }, kInvalid,
       "template"},
      {"template of another kind", [](auto& r) { r.ek_template = "L-1"; },
       kInvalid, "L-1"},
      {"long template", [](auto& r) { r.ek_template.assign(17, 'L'); },
       kExhausted, "ek_template"},
      {"no AK", [](auto& r) { r.ak_public.clear(); }, kInvalid, "AK"},
      {"AK with a tail", [](auto& r) { r.ak_public.push_back(0); }, kInvalid,
       "AK"},
      {"AK over the limit",
       [](auto& r) { r.ak_public.resize(kMaxAkPublicSize + 1); }, kExhausted,
       "ak_public"},
      {"long token",
       [](auto& r) {
         r.enrollment_token.assign(kMaxEnrollmentTokenSize + 1, 'x');
       },
       kExhausted, "enrollment_token"},
      {"long version",
       [](auto& r) { r.agent_version.assign(kMaxAgentVersionSize + 1, 'x'); },
       kExhausted, "agent_version"},
  };
  EnrollmentBench bench;
  const Machine machine(bench.vendor);
  REQUIRE_THAT(StatusOf(bench.Begin(machine.request())), IsOk());
  for (const Case& c : cases) {
    CAPTURE(c.description);
    tpm::BeginEnrollment request = machine.request();
    c.change(request);
    CHECK_THAT(StatusOf(bench.Begin(request)), StatusIs(c.code, c.message));
  }
  CHECK(bench.store.write_count() == 0);
}

// Looked at only then: a key can be chosen so that it takes long [A15].
TEST_CASE("An AK that is no key is refused once a TPM has shown to hold it") {
  EnrollmentBench bench;
  const Machine machine(bench.vendor);
  tpm::BeginEnrollment request = machine.request();
  request.ak_public.back() ^= 1;  // no point of the curve
  const auto challenge = bench.Begin(request);
  REQUIRE_THAT(StatusOf(challenge), IsOk());
  const auto ak = tpm::ParsePublicArea(request.ak_public);
  REQUIRE_THAT(StatusOf(ak), IsOk());
  const auto secret = machine.ek().Activate(
      challenge->credential_blob, challenge->encrypted_secret, ak->Name());
  REQUIRE_THAT(StatusOf(secret), IsOk());
  const crypto::Digest verifier = VerifierHash();
  const AgentId id = testing::TestAgent();
  const auto proof =
      tpm::EnrollmentProof(*secret, {.cookie = challenge->cookie,
                                     .agent_id = &id,
                                     .ek_name = machine.ek().area().Name(),
                                     .ak_name = ak->Name(),
                                     .verifier_certificate = &verifier});
  REQUIRE_THAT(StatusOf(proof), IsOk());
  CHECK_THAT(StatusOf(bench.Complete({.cookie = challenge->cookie,
                                      .proof = ToVector(proof->Reveal())})),
             StatusIs(kInvalid, "AK"));
  CHECK(bench.store.write_count() == 0);
}

TEST_CASE("An answer that is wrong in one thing is refused") {
  EnrollmentBench bench;
  const Machine machine(bench.vendor);
  const auto challenge = bench.Begin(machine.request());
  REQUIRE_THAT(StatusOf(challenge), IsOk());
  const auto answer = machine.Answer(*challenge);
  REQUIRE_THAT(StatusOf(answer), IsOk());
  tpm::CompleteEnrollment wrong = *answer;
  const std::vector verifiers = {VerifierHash()};

  wrong.proof[0] ^= 1;
  CHECK_THAT(StatusOf(bench.Complete(wrong)), StatusIs(kDenied, "proof"));
  wrong.proof = answer->proof;
  wrong.proof.pop_back();
  CHECK_THAT(StatusOf(bench.Complete(wrong)), StatusIs(kInvalid, "proof"));
  wrong.proof = answer->proof;
  wrong.cookie.back() ^= 1;
  CHECK_THAT(StatusOf(bench.Complete(wrong)), StatusIs(kDenied, "cookie"));
  wrong.cookie.resize(kMaxCookieSize + 1);
  CHECK_THAT(StatusOf(bench.Complete(wrong)), StatusIs(kExhausted, "cookie"));
  CHECK_THAT(StatusOf(bench.Complete(*answer, "")),
             StatusIs(kInvalid, "address"));
  CHECK_THAT(StatusOf(bench.Complete(*answer, std::string(129, 'x'))),
             StatusIs(kInvalid, "address"));
  CHECK_THAT(StatusOf(bench.enroller->Complete(*answer, kAddress, {})),
             StatusIs(kDenied, "certificate"));

  CHECK(bench.store.write_count() == 0);
  // Nothing of it has used the cookie up.
  CHECK_THAT(StatusOf(bench.Complete(*answer)), IsOk());
}

TEST_CASE("A verifier that renewed its certificate still takes the old one") {
  EnrollmentBench bench;
  const Machine machine(bench.vendor);
  const auto challenge = bench.Begin(machine.request());
  const auto answer = machine.Answer(*challenge);
  REQUIRE_THAT(StatusOf(answer), IsOk());
  CHECK_THAT(
      StatusOf(bench.enroller->Complete(
          *answer, kAddress, std::vector{VerifierHash("new"), VerifierHash()})),
      IsOk());
}

TEST_CASE("A proof binds a certificate that the connection may have shown") {
  EnrollmentBench bench;
  const Machine machine(bench.vendor);
  // Replaced between the connection and Begin: TLS showed the one before.
  const auto challenge =
      bench.enroller->Begin(machine.request(), VerifierHash("new"));
  REQUIRE_THAT(StatusOf(challenge), IsOk());
  const auto answer = machine.Answer(*challenge, VerifierHash("old"));
  REQUIRE_THAT(StatusOf(answer), IsOk());
  const auto complete = [&](std::vector<crypto::Digest> shown) {
    return StatusOf(bench.enroller->Complete(*answer, kAddress, shown));
  };
  // What this connection can't have shown is somebody else's [A1].
  CHECK_THAT(complete({VerifierHash("new")}), StatusIs(kDenied, "proof"));
  CHECK_THAT(complete({VerifierHash("new"), VerifierHash("older")}),
             StatusIs(kDenied, "proof"));
  CHECK_THAT(complete({VerifierHash("old")}), StatusIs(kDenied, "certificate"));
  CHECK_THAT(complete({VerifierHash("new"), VerifierHash("old")}), IsOk());
}

TEST_CASE("A cookie lives as long as it is told to") {
  EnrollmentBench bench;
  bench.enroller =
      Enroller::Create(
          &bench.store, bench.keys.get(),
          {.ek_roots = crypto::TrustAnchors::Create(
                           std::vector{bench.vendor.root.certificate})
                           .value(),
           .cookie_lifetime = absl::Seconds(5)})
          .value();
  const Machine machine(bench.vendor);
  const auto challenge = bench.Begin(machine.request());
  const auto answer = machine.Answer(*challenge);
  REQUIRE_THAT(StatusOf(answer), IsOk());
  bench.store.Advance(absl::Seconds(5) + absl::Microseconds(1));
  CHECK_THAT(
      StatusOf(bench.Complete(*answer)),
      StatusIs(absl::StatusCode::kFailedPrecondition, "expired after 5s"));
  bench.store.Advance(-absl::Microseconds(1));
  CHECK_THAT(StatusOf(bench.Complete(*answer)), IsOk());
}

TEST_CASE("A new AK under the same EK keeps the agent") {
  EnrollmentBench bench;
  const Machine machine(bench.vendor);
  REQUIRE_THAT(StatusOf(bench.Enroll(machine)), IsOk());
  const auto added = bench.store.AddAgent("T", TestAgent(), {}, "", "operator");
  REQUIRE_THAT(StatusOf(added), IsOk());
  const Machine renewed(bench.vendor, {.ak = {.key_index = 5}});
  // The vendor's certificate is another, since it has another serial number.
  tpm::BeginEnrollment request = renewed.request();
  request.ek_certificates = machine.request().ek_certificates;
  const auto challenge = bench.Begin(request);
  REQUIRE_THAT(StatusOf(challenge), IsOk());
  const auto agent = bench.Complete(*renewed.Answer(*challenge));
  REQUIRE_THAT(StatusOf(agent), IsOk());
  CHECK(agent->state == AgentState::kPending);
  CHECK(agent->tenant == "T");
  CHECK(agent->enrollment->ak_name == renewed.tpm().ak().Name());
}

TEST_CASE("An address may hold a limited number of unclaimed enrolments") {
  EnrollmentBench bench;
  bench.enroller =
      *Enroller::Create(&bench.store, bench.keys.get(),
                        {.ek_roots = *crypto::TrustAnchors::Create(
                             std::vector{bench.vendor.root.certificate}),
                         .max_unclaimed_per_address = 2});
  for (int i = 0; i < 3; ++i) {
    const Machine machine(bench.vendor,
                          {.agent_id = TestAgent(i), .key_index = 80 + i});
    const auto answer = machine.Answer(*bench.Begin(machine.request()));
    if (i < 2) {
      CHECK_THAT(StatusOf(bench.Complete(*answer)), IsOk());
    } else {
      CHECK_THAT(StatusOf(bench.Complete(*answer)), StatusIs(kExhausted));
      CHECK_THAT(StatusOf(bench.Complete(*answer, "192.0.2.2")), IsOk());
    }
  }
}

}  // namespace
}  // namespace cupel::verifier
