// Attacks on enrolment: keys, certificates, ids, cookies.
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "catch2/catch.hpp"
#include "common/tpm/constants.h"
#include "common/tpm/ek_template.h"
#include "common/tpm/public_area.h"
#include "common/util/bytes.h"
#include "tests/attacks/wrong_keys.h"
#include "tests/support/enrollment_bench.h"
#include "tests/support/status_matchers.h"

namespace cupel {
namespace {

using ::cupel::testing::CertificateSpec;
using ::cupel::testing::EkSpec;
using ::cupel::testing::EnrollmentBench;
using ::cupel::testing::FakeKeyKind;
using ::cupel::testing::IsOk;
using ::cupel::testing::kAddress;
using ::cupel::testing::Machine;
using ::cupel::testing::MachineOptions;
using ::cupel::testing::MakeCertificate;
using ::cupel::testing::StatusIs;
using ::cupel::testing::StatusOf;
using ::cupel::testing::TestAgent;
using ::cupel::testing::TestTime;
using ::cupel::testing::Vendor;
using ::cupel::testing::VerifierHash;

using testing::kDenied;
using testing::kInvalid;
constexpr absl::StatusCode kExists = absl::StatusCode::kAlreadyExists;
constexpr absl::StatusCode kPrecondition =
    absl::StatusCode::kFailedPrecondition;

// The request of `machine` with the certificate that `spec` describes, signed
// by the vendor.
tpm::BeginEnrollment RequestWith(const EnrollmentBench& bench,
                                 const Machine& machine,
                                 const CertificateSpec& spec) {
  tpm::BeginEnrollment request = machine.request();
  request.ek_certificates[0] = ToVector(
      MakeCertificate(spec, &bench.vendor.intermediate).certificate.der());
  return request;
}

// A proof by somebody who knows the secret and chooses the names.
tpm::CompleteEnrollment Forge(const Secret& secret,
                              const tpm::EnrollmentChallenge& challenge,
                              const AgentId& id,
                              const std::vector<uint8_t>& ek_name,
                              const std::vector<uint8_t>& ak_name) {
  return testing::ForgeProof(secret, challenge, VerifierHash(), id, ek_name,
                             ak_name);
}

TEST_CASE("A2: an AK with other attributes does not enrol") {
  const EnrollmentBench bench;
  const Machine machine(bench.vendor);
  REQUIRE_THAT(StatusOf(bench.Begin(machine.request())), IsOk());
  for (const auto& change : testing::WrongAks()) {
    tpm::PublicArea ak = machine.tpm().ak();
    change(ak);
    tpm::BeginEnrollment request = machine.request();
    request.ak_public = ak.Serialize();
    CHECK_THAT(StatusOf(bench.Begin(request)), StatusIs(kDenied, "AK"));
  }
}

TEST_CASE("A2: an AK that is not in the EK's TPM") {
  EnrollmentBench bench;
  const Machine machine(bench.vendor);
  // A software key with the attributes that the attacker likes.
  tpm::BeginEnrollment request = machine.request();
  request.ak_public = testing::FakeTpm({.key_index = 9}).ak().Serialize();
  const auto challenge = bench.Begin(request);
  REQUIRE_THAT(StatusOf(challenge), IsOk());
  CHECK_THAT(StatusOf(machine.Activate(*challenge)),
             StatusIs(kDenied, "TPM_RC_INTEGRITY"));
  // Guessing is all that is left.
  const Secret guess(std::vector<uint8_t>(32, 1));
  CHECK_THAT(StatusOf(bench.Complete(Forge(
                 guess, *challenge, TestAgent(), machine.ek().area().Name(),
                 testing::FakeTpm({.key_index = 9}).ak().Name()))),
             StatusIs(kDenied, "proof"));
  CHECK(bench.store.write_count() == 0);
}

TEST_CASE("A3: an enrolled id with another TPM") {
  EnrollmentBench bench;
  const Machine first(bench.vendor);
  const Machine second(bench.vendor, {.key_index = 71, .ak = {.key_index = 1}});
  REQUIRE_THAT(StatusOf(bench.Enroll(first)), IsOk());
  CHECK_THAT(StatusOf(bench.Enroll(second)), StatusIs(kExists));
  const auto agent = bench.store.FindAgent(TestAgent());
  REQUIRE_THAT(StatusOf(agent), IsOk());
  CHECK(agent->enrollment->ek_name == first.ek().area().Name());
  CHECK(agent->enrollment->ak_name == first.tpm().ak().Name());
  // After a delete the id is free.
  REQUIRE_THAT(bench.store.AddAndDelete(TestAgent()), IsOk());
  bench.store.Advance(absl::Seconds(1));
  CHECK_THAT(StatusOf(bench.Enroll(second)), IsOk());
}

TEST_CASE("A4: a certificate by anybody else") {
  const EnrollmentBench bench;
  const Machine machine(bench.vendor);
  // The same names, other keys.
  Vendor impostor;
  impostor.root = MakeCertificate(testing::CaSpec("Root", 90));
  impostor.intermediate =
      MakeCertificate(testing::CaSpec("Intermediate", 91), &impostor.root);
  const Machine other(impostor);
  tpm::BeginEnrollment request = other.request();
  CHECK_THAT(StatusOf(bench.Begin(request)), StatusIs(kDenied, "EK"));
  // With all of its chain, and with the vendor's mixed in.
  request.ek_certificates.push_back(ToVector(impostor.root.certificate.der()));
  CHECK_THAT(StatusOf(bench.Begin(request)), StatusIs(kDenied, "EK"));
  request.ek_certificates[1] =
      ToVector(bench.vendor.intermediate.certificate.der());
  CHECK_THAT(StatusOf(bench.Begin(request)), StatusIs(kDenied, "EK"));
  // Signed by itself, and by another EK of the same vendor.
  request = machine.request();
  CertificateSpec spec = EkSpec(FakeKeyKind::kEcP256, 70);
  request.ek_certificates[0] =
      ToVector(MakeCertificate(spec).certificate.der());
  CHECK_THAT(StatusOf(bench.Begin(request)), StatusIs(kDenied, "EK"));
  const auto issuer = MakeCertificate(EkSpec(FakeKeyKind::kEcP256, 72),
                                      &bench.vendor.intermediate);
  request.ek_certificates[0] =
      ToVector(MakeCertificate(spec, &issuer).certificate.der());
  request.ek_certificates.push_back(ToVector(issuer.certificate.der()));
  CHECK_THAT(StatusOf(bench.Begin(request)), StatusIs(kDenied, "EK"));
}

TEST_CASE("A4: a certificate that says something else") {
  const EnrollmentBench bench;
  const Machine machine(bench.vendor);
  const CertificateSpec valid = EkSpec(FakeKeyKind::kEcP256, 70);
  REQUIRE_THAT(StatusOf(bench.Begin(RequestWith(bench, machine, valid))),
               IsOk());
  for (const auto& change : testing::WrongEkCertificates(TestTime())) {
    CertificateSpec spec = valid;
    change(spec);
    CHECK_THAT(StatusOf(bench.Begin(RequestWith(bench, machine, spec))),
               StatusIs(kDenied, "EK"));
  }
}

TEST_CASE("A4: another EK than the certificate's") {
  EnrollmentBench bench;
  const Machine attacker(bench.vendor);
  const Machine victim(bench.vendor, {.key_index = 71});
  // The victim's certificate, which is no secret, for the attacker's AK.
  tpm::BeginEnrollment request = attacker.request();
  request.ek_certificates = victim.request().ek_certificates;
  const auto challenge = bench.Begin(request);
  REQUIRE_THAT(StatusOf(challenge), IsOk());
  CHECK_FALSE(attacker.Activate(*challenge).ok());
  CHECK(bench.store.write_count() == 0);
}

TEST_CASE("A21: an id is claimed before its owner comes") {
  EnrollmentBench bench;
  const Machine owner(bench.vendor);
  const Machine thief(bench.vendor, {.key_index = 71, .ak = {.key_index = 1}});
  REQUIRE_THAT(StatusOf(bench.store.AddAgent(
                   "T", TestAgent(), {},
                   owner.enrollee().ek_fingerprint().Hex(), "operator")),
               IsOk());
  CHECK_THAT(StatusOf(bench.Enroll(thief)), StatusIs(kExists));
  const auto agent = bench.Enroll(owner);
  REQUIRE_THAT(StatusOf(agent), IsOk());
  CHECK(agent->state == verifier::AgentState::kPending);
}

TEST_CASE("A21: one EK under two ids") {
  EnrollmentBench bench;
  const Machine machine(bench.vendor);
  REQUIRE_THAT(StatusOf(bench.Enroll(machine)), IsOk());
  tpm::BeginEnrollment request = machine.request();
  request.agent_id = ToVector(TestAgent(1).bytes());
  const auto challenge = bench.Begin(request);
  REQUIRE_THAT(StatusOf(challenge), IsOk());
  const auto secret = machine.Activate(*challenge);
  REQUIRE_THAT(StatusOf(secret), IsOk());
  CHECK_THAT(StatusOf(bench.Complete(Forge(*secret, *challenge, TestAgent(1),
                                           machine.ek().area().Name(),
                                           machine.tpm().ak().Name()))),
             StatusIs(kExists));
  CHECK(bench.store.agent_count() == 1);
  // Nor with another certificate for the same EK.
  const Machine again(bench.vendor, {.agent_id = TestAgent(1)});
  REQUIRE_FALSE(again.certificate() == machine.certificate());
  CHECK_THAT(StatusOf(bench.Enroll(again)), StatusIs(kExists));
}

TEST_CASE("A22: cookie and proof a second time") {
  EnrollmentBench bench;
  const Machine machine(bench.vendor);
  const auto answer = machine.Answer(*bench.Begin(machine.request()));
  REQUIRE_THAT(StatusOf(answer), IsOk());
  REQUIRE_THAT(StatusOf(bench.Complete(*answer)), IsOk());
  CHECK_THAT(StatusOf(bench.Complete(*answer)), StatusIs(kExists));
  // After a delete the nonce is still consumed.
  REQUIRE_THAT(bench.store.AddAndDelete(TestAgent()), IsOk());
  CHECK_FALSE(bench.Complete(*answer).ok());
  CHECK(bench.store.agent_count() == 0);
}

TEST_CASE("A22: a cookie issued before the last delete") {
  EnrollmentBench bench;
  const Machine machine(bench.vendor);
  REQUIRE_THAT(StatusOf(bench.Enroll(machine)), IsOk());
  const auto answer = machine.Answer(*bench.Begin(machine.request()));
  REQUIRE_THAT(StatusOf(answer), IsOk());
  bench.store.Advance(absl::Seconds(1));
  REQUIRE_THAT(bench.store.AddAndDelete(TestAgent()), IsOk());
  bench.store.Advance(absl::Seconds(1));
  CHECK_THAT(StatusOf(bench.Complete(*answer)), StatusIs(kPrecondition));
  CHECK_THAT(StatusOf(bench.Enroll(machine)), IsOk());
}

TEST_CASE("A22: a cookie that is too old, or from the future") {
  EnrollmentBench bench;
  const Machine machine(bench.vendor);
  const auto answer = machine.Answer(*bench.Begin(machine.request()));
  REQUIRE_THAT(StatusOf(answer), IsOk());
  bench.store.Advance(verifier::kCookieLifetime + absl::Microseconds(1));
  CHECK_THAT(StatusOf(bench.Complete(*answer)),
             StatusIs(kPrecondition, "expired"));
  bench.store.SetNow(TestTime() - absl::Microseconds(1));
  CHECK_THAT(StatusOf(bench.Complete(*answer)), StatusIs(kPrecondition));
  CHECK(bench.store.write_count() == 0);
  bench.store.SetNow(TestTime() + verifier::kCookieLifetime);
  CHECK_THAT(StatusOf(bench.Complete(*answer)), IsOk());
}

TEST_CASE("A22: a cookie at another node, or of another cluster") {
  EnrollmentBench bench;
  const Machine machine(bench.vendor);
  const auto challenge = bench.Begin(machine.request());
  REQUIRE_THAT(StatusOf(challenge), IsOk());
  // A node with another certificate, whichever the proof is made for.
  for (const char* const name : {"verifier", "another"}) {
    const auto answer = machine.Answer(*challenge, VerifierHash(name));
    REQUIRE_THAT(StatusOf(answer), IsOk());
    CHECK_THAT(StatusOf(bench.enroller->Complete(
                   *answer, kAddress, std::vector{VerifierHash("another")})),
               StatusIs(kDenied, "certificate"));
  }
  // The right node, and a proof for another one: a relay.
  const auto relayed = machine.Answer(*challenge, VerifierHash("another"));
  CHECK_THAT(StatusOf(bench.Complete(*relayed)), StatusIs(kDenied, "proof"));
  EnrollmentBench cluster;
  CHECK_THAT(StatusOf(cluster.Complete(*machine.Answer(*challenge))),
             StatusIs(kDenied, "cookie"));
}

TEST_CASE("A22: a proof for another AK, EK, id or cookie") {
  EnrollmentBench bench;
  const Machine machine(bench.vendor);
  const auto challenge = bench.Begin(machine.request());
  const auto other = bench.Begin(machine.request());
  REQUIRE_THAT(StatusOf(challenge), IsOk());
  REQUIRE_THAT(StatusOf(other), IsOk());
  const Secret secret = *machine.Activate(*challenge);
  const std::vector<uint8_t> ek = machine.ek().area().Name();
  const std::vector<uint8_t> ak = machine.tpm().ak().Name();
  const std::vector<uint8_t> another =
      testing::FakeTpm({.key_index = 9}).ak().Name();
  for (const tpm::CompleteEnrollment& forged :
       {Forge(secret, *challenge, TestAgent(1), ek, ak),
        Forge(secret, *challenge, TestAgent(), another, ak),
        Forge(secret, *challenge, TestAgent(), ek, another),
        Forge(secret, *other, TestAgent(), ek, ak)}) {
    CHECK_THAT(StatusOf(bench.Complete(forged)), StatusIs(kDenied, "proof"));
  }
  CHECK(bench.store.write_count() == 0);
  CHECK_THAT(
      StatusOf(bench.Complete(Forge(secret, *challenge, TestAgent(), ek, ak))),
      IsOk());
}

TEST_CASE("A23: a template of one's own, or a weak one") {
  const EnrollmentBench bench;
  const Machine machine(bench.vendor);
  for (const char* const name :
       {"", "l-2", "L-2 ", "L-3", "SHA1", "custom", "L-1", "H-3"}) {
    tpm::BeginEnrollment request = machine.request();
    request.ek_template = name;
    CHECK_THAT(StatusOf(bench.Begin(request)), StatusIs(kInvalid, "EK"));
  }
}

TEST_CASE("A23: another template of the same kind of key") {
  EnrollmentBench bench;
  const Machine machine(bench.vendor);
  // H-2 is for P-256 as L-2 is: the EK's Name is another, and so is the proof.
  tpm::BeginEnrollment request = machine.request();
  request.ek_template = "H-2";
  const auto challenge = bench.Begin(request);
  REQUIRE_THAT(StatusOf(challenge), IsOk());
  const auto answer = machine.Answer(*challenge);
  REQUIRE_THAT(StatusOf(answer), IsOk());
  CHECK_THAT(StatusOf(bench.Complete(*answer)), StatusIs(kDenied, "proof"));
}

TEST_CASE("A23: a platform certificate for an EK's") {
  const EnrollmentBench bench;
  const Machine machine(bench.vendor);
  CertificateSpec spec = EkSpec(FakeKeyKind::kEcP256, 70);
  for (const std::vector<std::string>& usages :
       {std::vector<std::string>{"2.23.133.8.2"},
        std::vector<std::string>{"2.23.133.8.1", "2.23.133.8.2"}}) {
    spec.ekus = usages;
    CHECK_THAT(StatusOf(bench.Begin(RequestWith(bench, machine, spec))),
               StatusIs(kDenied, "platform"));
  }
}

TEST_CASE("A23: a certified key that no template makes") {
  const EnrollmentBench bench;
  const Machine machine(bench.vendor);
  CHECK_THAT(StatusOf(bench.Begin(RequestWith(
                 bench, machine, EkSpec(FakeKeyKind::kEcP384, 73)))),
             StatusIs(kInvalid, "L-2"));
}

}  // namespace
}  // namespace cupel
