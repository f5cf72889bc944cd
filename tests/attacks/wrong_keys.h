// What may be wrong with the keys, certificates and proofs of an enrolment.
#ifndef CUPEL_TESTS_ATTACKS_WRONG_KEYS_H_
#define CUPEL_TESTS_ATTACKS_WRONG_KEYS_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/time/time.h"
#include "common/crypto/digest.h"
#include "common/tpm/binding.h"
#include "common/tpm/constants.h"
#include "common/tpm/enrollment_messages.h"
#include "common/tpm/public_area.h"
#include "common/util/agent_id.h"
#include "common/util/bytes.h"
#include "common/util/secret.h"
#include "tests/support/certificate_builder.h"

namespace cupel::testing {

// Each makes an AK one that may sign more than what its TPM made.
inline std::vector<std::function<void(tpm::PublicArea&)>> WrongAks() {
  return {
      [](auto& ak) { ak.attributes &= ~tpm::kAttrRestricted; },
      [](auto& ak) { ak.attributes &= ~tpm::kAttrSign; },
      [](auto& ak) { ak.attributes &= ~tpm::kAttrFixedTpm; },
      [](auto& ak) { ak.attributes &= ~tpm::kAttrFixedParent; },
      [](auto& ak) { ak.attributes &= ~tpm::kAttrSensitiveDataOrigin; },
      [](auto& ak) { ak.attributes |= tpm::kAttrDecrypt; },
      [](auto& ak) { ak.scheme = {}; },
      [](auto& ak) { ak.scheme.hash = crypto::HashAlgorithm::kSha1; },
      [](auto& ak) { ak.name_algorithm = crypto::HashAlgorithm::kSha1; },
  };
}

// Each makes an EK's certificate one that is none at `now`.
inline std::vector<std::function<void(CertificateSpec&)>> WrongEkCertificates(
    absl::Time now) {
  return {
      [now](auto& s) { s.not_after = now - absl::Seconds(1); },
      [now](auto& s) { s.not_before = now + absl::Hours(1); },
      [](auto& s) { s.ekus = {"2.23.133.8.3"}; },
      [](auto& s) { s.ekus.clear(); },
      [](auto& s) { s.is_ca = true; },
      [](auto& s) { s.san_directory.clear(); },
      [](auto& s) { s.is_san_critical = false; },
      [](auto& s) { s.has_unknown_critical = true; },
  };
}

// A proof by somebody who knows the secret and chooses the rest.
inline tpm::CompleteEnrollment ForgeProof(
    const Secret& secret, const tpm::EnrollmentChallenge& challenge,
    const crypto::Digest& verifier_certificate, const AgentId& id,
    const std::vector<uint8_t>& ek_name, const std::vector<uint8_t>& ak_name) {
  const tpm::EnrollmentBinding binding{
      .cookie = challenge.cookie,
      .agent_id = &id,
      .ek_name = ek_name,
      .ak_name = ak_name,
      .verifier_certificate = &verifier_certificate};
  return {.cookie = challenge.cookie,
          .proof =
              ToVector(tpm::EnrollmentProof(secret, binding).value().Reveal())};
}

}  // namespace cupel::testing

#endif  // CUPEL_TESTS_ATTACKS_WRONG_KEYS_H_
