// Attacks on the enrolment with a running verifier, which pins a TPM vendor's
// root. Each begins with an agent that it trusts.
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/crypto/digest.h"
#include "common/util/bytes.h"
#include "tests/attacks/live_scene.h"
#include "tests/attacks/wrong_keys.h"
#include "tests/support/status_matchers.h"
#include "tests/support/tcp_relay.h"

namespace cupel::testing {
namespace {

using ::cupel::verifier::AgentState;

using testing::kDenied;
using testing::kInvalid;
constexpr absl::StatusCode kExists = absl::StatusCode::kAlreadyExists;
constexpr absl::StatusCode kPrecondition =
    absl::StatusCode::kFailedPrecondition;
constexpr absl::StatusCode kExhausted = absl::StatusCode::kResourceExhausted;

// Nothing is known of a machine.
void CheckUnknown(LiveScene& scene, const AgentId& id) {
  CHECK(absl::IsNotFound(scene.verifier.store().FindAgent(id).status()));
}

// The proof of somebody who knows the secret and chooses the names.
tpm::CompleteEnrollment Forge(const Secret& secret,
                              const BegunEnrollment& begun, const AgentId& id,
                              const std::vector<uint8_t>& ek_name,
                              const std::vector<uint8_t>& ak_name) {
  return ForgeProof(secret, begun.challenge, begun.certificate_sha256, id,
                    ek_name, ak_name);
}

TEST_CASE("A2: an AK with other attributes") {
  LiveScene scene;
  FakeTpmMachine machine(scene.deployment.vendor, 2);
  for (const auto& change : WrongAks()) {
    const auto enrolled = EnrollHeld(
        scene.verifier.Attest(), machine, {.begin = [&](auto& begin) {
          tpm::PublicArea ak = machine.machine.tpm.ak();
          change(ak);
          begin.ak_public = ak.Serialize();
        }});
    CHECK_THAT(StatusOf(enrolled), StatusIs(kDenied, "AK"));
  }
  CheckUnknown(scene, machine.id());
  // As it is, it enrols.
  CHECK_THAT(StatusOf(EnrollHeld(scene.verifier.Attest(), machine)), IsOk());
  scene.CheckUnchanged();
}

TEST_CASE("A2: an AK of software, for a TPM's EK") {
  LiveScene scene;
  FakeTpmMachine machine(scene.deployment.vendor, 2);
  const FakeTpm software({.key_index = 9});
  tpm::BeginEnrollment request = machine.enrollee().request();
  request.ak_public = software.ak().Serialize();
  const auto begun = BeginEnrollment(scene.verifier.Attest(), request);
  REQUIRE_THAT(StatusOf(begun), IsOk());
  // The TPM gives the secret to nobody but the AK that it has.
  CHECK_FALSE(AnswerEnrollment(machine, *begun).ok());
  const tpm::CompleteEnrollment guess =
      Forge(Secret(std::vector<uint8_t>(32, 1)), *begun, machine.id(),
            machine.machine.tpm.ek_name(), software.ak().Name());
  CHECK_THAT(StatusOf(CompleteEnrollment(scene.verifier.Attest(), guess)),
             StatusIs(kDenied, "proof"));
  CheckUnknown(scene, machine.id());
  scene.CheckUnchanged();
}

TEST_CASE("A3: the victim's id with another TPM") {
  LiveScene scene;
  // A machine with a TPM of its own, which takes the victim's id.
  FakeTpmMachine thief(scene.deployment.vendor, 2);
  tpm::BeginEnrollment request = thief.enrollee().request();
  request.agent_id = ToVector(scene.victim.id().bytes());
  const auto claim = [&] {
    const auto begun = BeginEnrollment(scene.verifier.Attest(), request);
    REQUIRE_THAT(StatusOf(begun), IsOk());
    const auto secret = thief.Activate(begun->challenge.credential_blob,
                                       begun->challenge.encrypted_secret);
    REQUIRE_THAT(StatusOf(secret), IsOk());
    return CompleteEnrollment(
        scene.verifier.Attest(),
        Forge(*secret, *begun, scene.victim.id(), thief.machine.tpm.ek_name(),
              thief.machine.tpm.ak().Name()));
  };
  CHECK_THAT(StatusOf(claim()), StatusIs(kExists));
  scene.CheckUnchanged();
  scene.CheckVictimLives();
  // Silent or failed, it is the victim's all the same.
  scene.HangUp();
  scene.deployment.Advance(absl::Hours(12));
  CHECK_THAT(StatusOf(claim()), StatusIs(kExists));
  // Until an operator deletes it.
  scene.Delete(scene.victim);
  CHECK_THAT(StatusOf(claim()), IsOk());
  CHECK(scene.State() == AgentState::kEnrolled);
}

// The request of `machine` with the certificate that `spec` describes, by the
// vendor or whoever else.
absl::Status BeginWith(LiveScene& scene, const FakeTpmMachine& machine,
                       const CertificateSpec& spec,
                       const TestCertificate* issuer) {
  tpm::BeginEnrollment request = machine.enrollee().request();
  request.ek_certificates[0] = ToVector(
      MakeCertificate(ValidAround(scene.deployment.vendor.time, spec), issuer)
          .certificate.der());
  return BeginEnrollment(scene.verifier.Attest(), request).status();
}

TEST_CASE("A4: certificates of an EK that lead nowhere") {
  LiveScene scene;
  const Vendor& vendor = scene.deployment.vendor;
  FakeTpmMachine machine(vendor, 2);
  const CertificateSpec spec = EkSpec(FakeKeyKind::kEcP256, 202);
  REQUIRE_THAT(BeginWith(scene, machine, spec, &vendor.intermediate), IsOk());
  // Signed by itself; by another EK; by a CA of the same name.
  CHECK_THAT(BeginWith(scene, machine, spec, nullptr), StatusIs(kDenied, "EK"));
  const TestCertificate other_ek = MakeCertificate(
      ValidAround(vendor.time, EkSpec(FakeKeyKind::kEcP256, 203)),
      &vendor.intermediate);
  CHECK_THAT(BeginWith(scene, machine, spec, &other_ek),
             StatusIs(kDenied, "EK"));
  Vendor impostor{.time = vendor.time};
  impostor.root = MakeCertificate(ValidAround(vendor.time, CaSpec("Root", 90)));
  impostor.intermediate = MakeCertificate(
      ValidAround(vendor.time, CaSpec("Intermediate", 91)), &impostor.root);
  CHECK_THAT(BeginWith(scene, machine, spec, &impostor.intermediate),
             StatusIs(kDenied, "EK"));
  FakeTpmMachine foreign(impostor, 4);
  CHECK_THAT(StatusOf(EnrollHeld(scene.verifier.Attest(), foreign)),
             StatusIs(kDenied, "EK"));
  // With the impostor's root beside it.
  CHECK_THAT(
      StatusOf(EnrollHeld(scene.verifier.Attest(), foreign,
                          {.begin =
                               [&](auto& begin) {
                                 begin.ek_certificates.push_back(
                                     ToVector(impostor.root.certificate.der()));
                               }})),
      StatusIs(kDenied, "EK"));
  CheckUnknown(scene, machine.id());
  CheckUnknown(scene, foreign.id());
  scene.CheckUnchanged();
}

TEST_CASE("A4: certificates of an EK that say something else") {
  LiveScene scene;
  const Vendor& vendor = scene.deployment.vendor;
  FakeTpmMachine machine(vendor, 2);
  for (const auto& change : WrongEkCertificates(vendor.time)) {
    CertificateSpec spec =
        ValidAround(vendor.time, EkSpec(FakeKeyKind::kEcP256, 202));
    change(spec);
    tpm::BeginEnrollment request = machine.enrollee().request();
    request.ek_certificates[0] =
        ToVector(MakeCertificate(spec, &vendor.intermediate).certificate.der());
    CHECK_THAT(StatusOf(BeginEnrollment(scene.verifier.Attest(), request)),
               StatusIs(kDenied, "EK"));
  }
  // The certificate of another machine's EK, which is no secret.
  const auto enrolled =
      EnrollHeld(scene.verifier.Attest(), machine, {.begin = [&](auto& begin) {
                   begin.ek_certificates =
                       scene.victim.enrollee().request().ek_certificates;
                 }});
  CHECK_FALSE(enrolled.ok());
  CheckUnknown(scene, machine.id());
  scene.CheckUnchanged();
}

TEST_CASE("A15: enrolments that are begun and not completed cost nothing") {
  LiveScene scene;
  FakeTpmMachine machine(scene.deployment.vendor, 2);
  const auto channel = scene.verifier.Attest();
  tpm::BeginEnrollment request = machine.enrollee().request();
  const auto before = scene.verifier.store().LastEventSequence();
  for (int i = 0; i < 300; ++i) {
    request.agent_id = ToVector(TestAgent(i % 200).bytes());
    REQUIRE_THAT(StatusOf(BeginEnrollment(channel, request)), IsOk());
  }
  CHECK(*scene.verifier.store().LastEventSequence() == *before);
  CHECK(scene.verifier.store().ListUnclaimed()->empty());
  scene.CheckUnchanged();
  scene.CheckVictimLives();
}

TEST_CASE("A15: enrolments that nobody claims are counted by address") {
  LiveScene scene({.configure = [](auto& config) {
    config.max_unclaimed_per_address = 2;
  }});
  const Vendor& vendor = scene.deployment.vendor;
  FakeTpmMachine a(vendor, 2);
  FakeTpmMachine b(vendor, 3);
  FakeTpmMachine c(vendor, 4);
  scene.Enroll(a);
  scene.Enroll(b);
  CHECK_THAT(StatusOf(EnrollHeld(scene.verifier.Attest(), c)),
             StatusIs(kExhausted));
  CheckUnknown(scene, c.id());
  // Those who are known enrol again, and other addresses enrol.
  CHECK_THAT(StatusOf(EnrollHeld(scene.verifier.Attest(), a)), IsOk());
  CHECK_THAT(StatusOf(EnrollHeld(scene.verifier.Attest(), scene.victim)),
             IsOk());
  const TcpRelay relay(scene.verifier.addresses().attest,
                       {.source = "127.0.0.2"});
  CHECK_THAT(
      StatusOf(EnrollHeld(scene.deployment.AttestChannel(relay.address()), c)),
      IsOk());
}

TEST_CASE("A15: an enrolment's fields are bounded") {
  LiveScene scene;
  FakeTpmMachine machine(scene.deployment.vendor, 2);
  const std::vector<
      std::pair<absl::StatusCode, std::function<void(tpm::BeginEnrollment&)>>>
      changes = {
          {kExhausted, [](auto& b) { b.ek_certificates[0].resize(8193); }},
          {kExhausted,
           [](auto& b) { b.ek_certificates.resize(50, b.ek_certificates[1]); }},
          {kExhausted, [](auto& b) { b.ek_template.resize(17, 'L'); }},
          {kExhausted, [](auto& b) { b.ak_public.resize(1025); }},
          {kExhausted, [](auto& b) { b.enrollment_token.resize(257, 'a'); }},
          {kExhausted, [](auto& b) { b.agent_version.resize(129, '1'); }},
          // More than a message may have.
          {kExhausted, [](auto& b) { b.agent_version.resize(2 << 20, '1'); }},
          {kInvalid, [](auto& b) { b.agent_id.pop_back(); }},
          {kInvalid, [](auto& b) { b.ek_certificates.clear(); }},
          {kInvalid, [](auto& b) { b.ak_public.push_back(0); }},
      };
  for (const auto& [code, change] : changes) {
    tpm::BeginEnrollment request = machine.enrollee().request();
    change(request);
    CHECK(BeginEnrollment(scene.verifier.Attest(), request).status().code() ==
          code);
  }
  for (const size_t size : {size_t{0}, size_t{1}, size_t{40}, size_t{30000}}) {
    CHECK_FALSE(CompleteEnrollment(scene.verifier.Attest(),
                                   {.cookie = std::vector<uint8_t>(size, 1),
                                    .proof = std::vector<uint8_t>(32)})
                    .ok());
  }
  CheckUnknown(scene, machine.id());
  scene.CheckUnchanged();
  scene.CheckVictimLives();
}

TEST_CASE("A21: an id is claimed before its owner comes") {
  LiveScene scene;
  FakeTpmMachine owner(scene.deployment.vendor, 2);
  FakeTpmMachine thief(scene.deployment.vendor, 3);
  scene.Add(owner);  // pins its EK
  tpm::BeginEnrollment request = thief.enrollee().request();
  request.agent_id = ToVector(owner.id().bytes());
  const auto begun = BeginEnrollment(scene.verifier.Attest(), request);
  REQUIRE_THAT(StatusOf(begun), IsOk());
  const Secret secret = *thief.Activate(begun->challenge.credential_blob,
                                        begun->challenge.encrypted_secret);
  CHECK_THAT(StatusOf(CompleteEnrollment(
                 scene.verifier.Attest(),
                 Forge(secret, *begun, owner.id(), thief.machine.tpm.ek_name(),
                       thief.machine.tpm.ak().Name()))),
             StatusIs(kExists));
  v1::Agent agent;
  REQUIRE(scene.verifier.As().GetAgent(owner.id(), agent).ok());
  CHECK(agent.state() == v1::STATE_EXPECTED);
  CHECK(agent.ek_sha256() == owner.enrollee().ek_fingerprint().Hex());
  // The owner has it, and is judged at once.
  scene.Enroll(owner);
  HostileStream stream(scene.verifier.Attest(), owner);
  CHECK(stream.Attest() == "TRUSTED");
  scene.CheckUnchanged();
}

TEST_CASE("A21: an id is claimed by an enrolment, and pinned otherwise") {
  LiveScene scene;
  FakeTpmMachine thief(scene.deployment.vendor, 2);
  FakeTpmMachine meant(scene.deployment.vendor, 3);
  scene.Enroll(thief);
  // A fingerprint that is cut, or none without a word, is not taken.
  v1::AddAgentRequest request;
  request.set_agent_id(thief.id().ToString());
  for (const std::string& ek :
       {std::string(), thief.enrollee().ek_fingerprint().Hex().substr(0, 62)}) {
    request.set_ek_sha256(ek);
    CHECK(scene.verifier.As()
              .Call(&v1::Fleet::Stub::AddAgent, request)
              .error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  }
  CHECK(scene.verifier.Record(thief.id()).state == AgentState::kEnrolled);
  // What nobody has added is not challenged.
  CHECK_THAT(HostileStream(scene.verifier.Attest(), thief).Attest(),
             StartsWith("refused: "));
  // The operator means another machine: the claim is worth nothing.
  request.set_ek_sha256(meant.enrollee().ek_fingerprint().Hex());
  v1::AddAgentReply added;
  REQUIRE(scene.verifier.As()
              .Call(&v1::Fleet::Stub::AddAgent, request, &added)
              .ok());
  CHECK(added.agent().state() == v1::STATE_EXPECTED);
  CHECK_THAT(HostileStream(scene.verifier.Attest(), thief).Attest(),
             StartsWith("refused: "));
  CHECK_THAT(StatusOf(EnrollHeld(scene.verifier.Attest(), thief)),
             StatusIs(kExists));
  CheckUnknown(scene, thief.id());
}

TEST_CASE("A21: one EK under two ids, or in two tenants") {
  LiveScene scene;
  // The victim's TPM, under another id.
  tpm::BeginEnrollment request = scene.victim.enrollee().request();
  request.agent_id = ToVector(TestAgent(40).bytes());
  const auto begun = BeginEnrollment(scene.verifier.Attest(), request);
  REQUIRE_THAT(StatusOf(begun), IsOk());
  const Secret secret = *scene.victim.Activate(
      begun->challenge.credential_blob, begun->challenge.encrypted_secret);
  const tpm::CompleteEnrollment proof =
      Forge(secret, *begun, TestAgent(40), scene.victim.machine.tpm.ek_name(),
            scene.victim.machine.tpm.ak().Name());
  CHECK_THAT(StatusOf(CompleteEnrollment(scene.verifier.Attest(), proof)),
             StatusIs(kExists));
  CheckUnknown(scene, TestAgent(40));
  // Also where another tenant waits for it.
  v1::AddAgentRequest add;
  add.set_agent_id(TestAgent(40).ToString());
  add.set_ek_sha256(scene.victim.enrollee().ek_fingerprint().Hex());
  REQUIRE(scene.verifier.As("pki/other")
              .Call(&v1::Fleet::Stub::AddAgent, add)
              .ok());
  const auto again = BeginEnrollment(scene.verifier.Attest(), request);
  CHECK_FALSE(
      CompleteEnrollment(
          scene.verifier.Attest(),
          Forge(*scene.victim.Activate(again->challenge.credential_blob,
                                       again->challenge.encrypted_secret),
                *again, TestAgent(40), scene.victim.machine.tpm.ek_name(),
                scene.victim.machine.tpm.ak().Name()))
          .ok());
  scene.CheckUnchanged();
  scene.CheckVictimLives();
}

TEST_CASE("A21: an enrolment token that was used, or is nobody's") {
  LiveScene scene;
  v1::CreateTokenReply token;
  REQUIRE(
      scene.verifier.As("pki/other")
          .Call(&v1::Fleet::Stub::CreateToken, v1::CreateTokenRequest(), &token)
          .ok());
  const auto with_token = [&](FakeTpmMachine& machine, std::string text) {
    return EnrollHeld(scene.verifier.Attest(), machine,
                      {.begin = [&](auto& b) { b.enrollment_token = text; }})
        .status();
  };
  FakeTpmMachine first(scene.deployment.vendor, 2);
  FakeTpmMachine second(scene.deployment.vendor, 3);
  CHECK_THAT(with_token(second, "made up"), StatusIs(kDenied));
  CHECK_THAT(with_token(first, token.token()), IsOk());
  CHECK(scene.verifier.Record(first.id()).tenant == "other");
  CHECK_THAT(with_token(second, token.token()), StatusIs(kDenied));
  CheckUnknown(scene, second.id());
  // The first tenant can't have what the token has given to the other.
  v1::AddAgentRequest add;
  add.set_agent_id(first.id().ToString());
  add.set_trust_on_first_use(true);
  CHECK(
      scene.verifier.As().Call(&v1::Fleet::Stub::AddAgent, add).error_code() ==
      grpc::StatusCode::ALREADY_EXISTS);
  // And one that a trusted agent shows moves it nowhere.
  CHECK_THAT(with_token(scene.victim, "made up"), IsOk());
  CHECK(scene.Record().tenant == "default");
}

TEST_CASE("A22: a cookie and its proof a second time") {
  LiveScene scene;
  const auto begun = BeginEnrollment(scene.verifier.Attest(),
                                     scene.victim.enrollee().request());
  REQUIRE_THAT(StatusOf(begun), IsOk());
  const auto answer = AnswerEnrollment(scene.victim, *begun);
  REQUIRE_THAT(StatusOf(answer), IsOk());
  REQUIRE_THAT(StatusOf(CompleteEnrollment(scene.verifier.Attest(), *answer)),
               IsOk());
  scene.Remember();
  CHECK_THAT(StatusOf(CompleteEnrollment(scene.verifier.Attest(), *answer)),
             StatusIs(kExists));
  scene.CheckUnchanged();
  // Nor after a delete, which would make the id somebody's again.
  scene.Delete(scene.victim);
  CHECK_FALSE(CompleteEnrollment(scene.verifier.Attest(), *answer).ok());
  CheckUnknown(scene, scene.victim.id());
}

TEST_CASE("A22: a cookie from before a delete, or too old") {
  LiveScene scene;
  const auto begun = BeginEnrollment(scene.verifier.Attest(),
                                     scene.victim.enrollee().request());
  REQUIRE_THAT(StatusOf(begun), IsOk());
  const auto answer = AnswerEnrollment(scene.victim, *begun);
  REQUIRE_THAT(StatusOf(answer), IsOk());
  SECTION("before a delete") {
    scene.Delete(scene.victim);
    CHECK_THAT(StatusOf(CompleteEnrollment(scene.verifier.Attest(), *answer)),
               StatusIs(kPrecondition));
    CheckUnknown(scene, scene.victim.id());
  }
  SECTION("a minute and a second old") {
    scene.deployment.Advance(absl::Seconds(61));
    CHECK_THAT(StatusOf(CompleteEnrollment(scene.verifier.Attest(), *answer)),
               StatusIs(kPrecondition, "expired"));
    scene.CheckUnchanged();
  }
  SECTION("from the future") {
    scene.deployment.Advance(-absl::Seconds(10));
    CHECK_FALSE(CompleteEnrollment(scene.verifier.Attest(), *answer).ok());
    scene.CheckUnchanged();
  }
}

TEST_CASE("A22: a cookie at another verifier") {
  LiveScene scene;
  LiveVerifier second(scene.deployment);
  FakeTpmMachine machine(scene.deployment.vendor, 2);
  const auto begun =
      BeginEnrollment(scene.verifier.Attest(), machine.enrollee().request());
  REQUIRE_THAT(StatusOf(begun), IsOk());
  const auto answer = AnswerEnrollment(machine, *begun);
  REQUIRE_THAT(StatusOf(answer), IsOk());
  CHECK_THAT(StatusOf(CompleteEnrollment(second.Attest(), *answer)),
             StatusIs(kDenied, "cookie"));
  CheckUnknown(scene, machine.id());
  // One byte of it changed, at the right one.
  for (const size_t place : {size_t{0}, size_t{5}, size_t{20}, size_t{100},
                             answer->cookie.size() - 1}) {
    tpm::CompleteEnrollment changed = *answer;
    changed.cookie[place] ^= 1;
    CHECK_THAT(StatusOf(CompleteEnrollment(scene.verifier.Attest(), changed)),
               StatusIs(kDenied));
  }
  CheckUnknown(scene, machine.id());
  CHECK_THAT(StatusOf(CompleteEnrollment(scene.verifier.Attest(), *answer)),
             IsOk());
  scene.CheckUnchanged();
}

TEST_CASE("A22: a proof for another AK, EK, id, cookie or verifier") {
  LiveScene scene;
  FakeTpmMachine machine(scene.deployment.vendor, 2);
  const auto channel = scene.verifier.Attest();
  const auto begun = BeginEnrollment(channel, machine.enrollee().request());
  const auto other = BeginEnrollment(channel, machine.enrollee().request());
  REQUIRE_THAT(StatusOf(begun), IsOk());
  REQUIRE_THAT(StatusOf(other), IsOk());
  const Secret secret = *machine.Activate(begun->challenge.credential_blob,
                                          begun->challenge.encrypted_secret);
  const std::vector<uint8_t> ek = machine.machine.tpm.ek_name();
  const std::vector<uint8_t> ak = machine.machine.tpm.ak().Name();
  const std::vector<uint8_t> victims = scene.victim.machine.tpm.ak().Name();
  BegunEnrollment relayed = *begun;
  relayed.certificate_sha256 = VerifierHash("another");
  for (const tpm::CompleteEnrollment& forged :
       {Forge(secret, *begun, scene.victim.id(), ek, ak),
        Forge(secret, *begun, machine.id(), scene.victim.machine.tpm.ek_name(),
              ak),
        Forge(secret, *begun, machine.id(), ek, victims),
        Forge(secret, *other, machine.id(), ek, ak),
        Forge(secret, relayed, machine.id(), ek, ak)}) {
    CHECK_THAT(StatusOf(CompleteEnrollment(channel, forged)),
               StatusIs(kDenied, "proof"));
  }
  CheckUnknown(scene, machine.id());
  CHECK_THAT(StatusOf(CompleteEnrollment(
                 channel, Forge(secret, *begun, machine.id(), ek, ak))),
             IsOk());
  scene.CheckUnchanged();
}

TEST_CASE("A23: a template of one's own, and a platform's certificate") {
  LiveScene scene;
  const Vendor& vendor = scene.deployment.vendor;
  FakeTpmMachine machine(vendor, 2);
  for (const char* const name : {"", "l-2", "L-3", "SHA1", "L-1", "H-3"}) {
    CHECK_THAT(StatusOf(EnrollHeld(
                   scene.verifier.Attest(), machine,
                   {.begin = [&](auto& begin) { begin.ek_template = name; }})),
               StatusIs(kInvalid, "EK"));
  }
  // Another template of the same kind of key: the EK has another Name then.
  CHECK_FALSE(
      EnrollHeld(scene.verifier.Attest(), machine,
                 {.begin = [](auto& begin) { begin.ek_template = "H-2"; }})
          .ok());
  CertificateSpec platform = EkSpec(FakeKeyKind::kEcP256, 202);
  platform.ekus = {"2.23.133.8.2"};
  CHECK_THAT(BeginWith(scene, machine, platform, &vendor.intermediate),
             StatusIs(kDenied, "platform"));
  CheckUnknown(scene, machine.id());
  scene.CheckUnchanged();
}

}  // namespace
}  // namespace cupel::testing
