// An endorsement key whose private half a test has, and what its TPM does with
// it.
#ifndef CUPEL_TESTS_SUPPORT_FAKE_EK_H_
#define CUPEL_TESTS_SUPPORT_FAKE_EK_H_

#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "common/crypto/openssl.h"
#include "common/tpm/ek_template.h"
#include "common/tpm/public_area.h"
#include "common/util/secret.h"
#include "tests/support/fake_tpm.h"

namespace cupel::testing {

class FakeEk {
 public:
  // Ends the process where OpenSSL fails, or if the template is not one for
  // keys of that kind.
  FakeEk(tpm::EkTemplate id, FakeKeyKind kind, int key_index);

  tpm::EkTemplate id() const { return id_; }
  const tpm::PublicArea& area() const { return area_; }

  // TPM2_ActivateCredential for the object called `name` (TPM 2.0 Part 1, 24).
  // kPermissionDenied where a TPM says TPM_RC_INTEGRITY or TPM_RC_VALUE.
  absl::StatusOr<Secret> Activate(std::span<const uint8_t> credential_blob,
                                  std::span<const uint8_t> encrypted_secret,
                                  std::span<const uint8_t> name) const;

 private:
  absl::StatusOr<Secret> RecoverSeed(
      std::span<const uint8_t> encrypted_secret) const;

  tpm::EkTemplate id_;
  std::shared_ptr<EVP_PKEY> key_;
  tpm::PublicArea area_;
};

}  // namespace cupel::testing

#endif  // CUPEL_TESTS_SUPPORT_FAKE_EK_H_
