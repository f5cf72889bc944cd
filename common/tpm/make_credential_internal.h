// The deterministic parts of MakeCredential, for its implementation and for
// tests that have to fix what is random.
#ifndef CUPEL_COMMON_TPM_MAKE_CREDENTIAL_INTERNAL_H_
#define CUPEL_COMMON_TPM_MAKE_CREDENTIAL_INTERNAL_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/crypto/digest.h"
#include "common/crypto/openssl.h"
#include "common/crypto/public_key.h"
#include "common/tpm/make_credential.h"
#include "common/tpm/public_area.h"
#include "common/util/secret.h"

namespace cupel::tpm::internal {

// KDFa: SP 800-108 in counter mode with HMAC. TPM 2.0 Part 1, 11.4.10.2.
// `bits` must be a multiple of 8; `label` goes without its zero byte.
absl::StatusOr<Secret> KdfA(crypto::HashAlgorithm hash, const Secret& key,
                            absl::string_view label,
                            std::span<const uint8_t> context_u,
                            std::span<const uint8_t> context_v, uint32_t bits);

// KDFe: SP 800-56A's one-step KDF. TPM 2.0 Part 1, 11.4.10.3.
absl::StatusOr<Secret> KdfE(crypto::HashAlgorithm hash, const Secret& z,
                            absl::string_view label,
                            std::span<const uint8_t> party_u,
                            std::span<const uint8_t> party_v, uint32_t bits);

// The TPM2B_ID_OBJECT that protects `secret` under `seed` for the object called
// `name`. `ek` gives name algorithm and symmetric cipher.
absl::StatusOr<std::vector<uint8_t>> ProtectSecret(
    const PublicArea& ek, std::span<const uint8_t> name, const Secret& seed,
    const Secret& secret);

// The key pair with this private number, big-endian, on `curve`.
absl::StatusOr<crypto::Owned<EVP_PKEY>> EcKeyFromPrivate(
    crypto::EcCurve curve, std::span<const uint8_t> private_number);

// MakeCredential for an ECC EK with the ephemeral key given, which must be a
// key pair on the EK's curve.
absl::StatusOr<Credential> MakeCredentialWithEphemeral(
    const PublicArea& ek, std::span<const uint8_t> name, const Secret& secret,
    EVP_PKEY* ephemeral);

}  // namespace cupel::tpm::internal

#endif  // CUPEL_COMMON_TPM_MAKE_CREDENTIAL_INTERNAL_H_
