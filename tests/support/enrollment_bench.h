// A verifier and machines that enrol with it, all of them valid until a test
// changes one thing.
#ifndef CUPEL_TESTS_SUPPORT_ENROLLMENT_BENCH_H_
#define CUPEL_TESTS_SUPPORT_ENROLLMENT_BENCH_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "agent/enrollment/enrollee.h"
#include "common/crypto/certificate_path.h"
#include "common/crypto/digest.h"
#include "common/tpm/binding.h"
#include "common/tpm/enrollment_messages.h"
#include "common/util/agent_id.h"
#include "common/util/bytes.h"
#include "tests/support/certificate_builder.h"
#include "tests/support/enrollment_store.h"
#include "tests/support/fake_ek.h"
#include "tests/support/fake_tpm.h"
#include "verifier/enrollment/cookie.h"
#include "verifier/enrollment/enroller.h"

namespace cupel::testing {

inline constexpr char kAddress[] = "192.0.2.1";

inline AgentId TestAgent(int number = 0) {
  std::vector<uint8_t> bytes(16, 0x42);
  bytes[15] = static_cast<uint8_t>(number);
  return AgentId::FromBytes(bytes).value();
}

// The hash of a verifier's certificate.
inline crypto::Digest VerifierHash(absl::string_view name = "verifier") {
  return crypto::Hash(crypto::HashAlgorithm::kSha256, AsBytes(name));
}

// `spec`, valid for a day before `time` and a day after it.
inline CertificateSpec ValidAround(absl::Time time, CertificateSpec spec) {
  spec.not_before = time - absl::Hours(24);
  spec.not_after = time + absl::Hours(24);
  return spec;
}

// A TPM vendor: a root and an intermediate CA. What it certifies is valid
// around `time`.
struct Vendor {
  absl::Time time = TestTime();
  TestCertificate root = MakeCertificate(ValidAround(time, CaSpec("Root", 60)));
  TestCertificate intermediate =
      MakeCertificate(ValidAround(time, CaSpec("Intermediate", 61)), &root);
};

struct MachineOptions {
  AgentId agent_id = TestAgent();
  FakeKeyKind ek_kind = FakeKeyKind::kEcP256;
  tpm::EkTemplate ek_template = tpm::EkTemplate::kL2;
  int key_index = 70;
  FakeAkOptions ak = {};
};

// A machine whose TPM the vendor has certified.
class Machine {
 public:
  explicit Machine(const Vendor& vendor, const MachineOptions& options = {})
      : tpm_(options.ak),
        ek_(options.ek_template, options.ek_kind, options.key_index),
        certificate_(MakeCertificate(
            ValidAround(vendor.time,
                        EkSpec(options.ek_kind, options.key_index)),
            &vendor.intermediate)),
        enrollee_(agent::Enrollee::Create(
                      {.agent_id = options.agent_id,
                       .ek_template = options.ek_template,
                       .ek_certificates =
                           {ToVector(certificate_.certificate.der()),
                            ToVector(vendor.intermediate.certificate.der())},
                       .ek_public = ek_.area().Serialize(),
                       .ak_public = tpm_.ak().Serialize(),
                       .enrollment_token = "",
                       .agent_version = "test"})
                      .value()) {}

  const FakeTpm& tpm() const { return tpm_; }
  const FakeEk& ek() const { return ek_; }
  const crypto::Certificate& certificate() const {
    return certificate_.certificate;
  }
  const agent::Enrollee& enrollee() const { return enrollee_; }
  tpm::BeginEnrollment request() const { return enrollee_.request(); }

  absl::StatusOr<Secret> Activate(
      const tpm::EnrollmentChallenge& challenge) const {
    return ek_.Activate(challenge.credential_blob, challenge.encrypted_secret,
                        tpm_.ak().Name());
  }
  absl::StatusOr<tpm::CompleteEnrollment> Answer(
      const tpm::EnrollmentChallenge& challenge,
      const crypto::Digest& verifier = VerifierHash()) const {
    return enrollee_.Answer(
        challenge, verifier,
        [this](std::span<const uint8_t> blob, std::span<const uint8_t> secret) {
          return ek_.Activate(blob, secret, tpm_.ak().Name());
        });
  }

 private:
  FakeTpm tpm_;
  FakeEk ek_;
  TestCertificate certificate_;
  agent::Enrollee enrollee_;
};

// A verifier that pins the vendor's root.
struct EnrollmentBench {
  Vendor vendor;
  EnrollmentStore store;
  std::unique_ptr<verifier::CookieKeys> keys =
      verifier::CookieKeys::Generate().value();
  std::unique_ptr<verifier::Enroller> enroller =
      verifier::Enroller::Create(
          &store, keys.get(),
          {.ek_roots = crypto::TrustAnchors::Create(
                           std::vector{vendor.root.certificate})
                           .value()})
          .value();

  absl::StatusOr<tpm::EnrollmentChallenge> Begin(
      const tpm::BeginEnrollment& request) const {
    return enroller->Begin(request, VerifierHash());
  }
  absl::StatusOr<verifier::AgentRecord> Complete(
      const tpm::CompleteEnrollment& request,
      absl::string_view address = kAddress) const {
    return enroller->Complete(request, address, std::vector{VerifierHash()});
  }
  // The whole exchange.
  absl::StatusOr<verifier::AgentRecord> Enroll(const Machine& machine) const {
    const auto challenge = Begin(machine.request());
    if (!challenge.ok()) return challenge.status();
    const auto answer = machine.Answer(*challenge);
    if (!answer.ok()) return answer.status();
    return Complete(*answer);
  }
};

}  // namespace cupel::testing

#endif  // CUPEL_TESTS_SUPPORT_ENROLLMENT_BENCH_H_
