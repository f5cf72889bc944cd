#ifndef CUPEL_COMMON_TPM_MAKE_CREDENTIAL_H_
#define CUPEL_COMMON_TPM_MAKE_CREDENTIAL_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "common/tpm/public_area.h"
#include "common/util/secret.h"

namespace cupel::tpm {

// What TPM2_ActivateCredential takes.
struct Credential {
  std::vector<uint8_t> id_object;         // TPM2B_ID_OBJECT, with its size
  std::vector<uint8_t> encrypted_secret;  // TPM2B_ENCRYPTED_SECRET, likewise
};

// Encrypts `secret` so that only the TPM that holds the EK can recover it, and
// only if it also holds the object named `name`: TPM2_MakeCredential without a
// TPM (TPM 2.0 Part 1, 24; annexes B.10.4 for RSA and C.6.4 for ECC).
//
// Errors: kInvalidArgument if `ek` is not a valid, restricted decryption key
// with AES-128 or AES-256 in CFB mode and SHA-256, SHA-384 or SHA-512 as its
// name algorithm, if `name` is no Name, or if `secret` is empty or longer than
// the name algorithm's digest (no TPM would return it); kInternal where OpenSSL
// fails.
absl::StatusOr<Credential> MakeCredential(const PublicArea& ek,
                                          std::span<const uint8_t> name,
                                          const Secret& secret);

// The file that tpm2_makecredential writes and tpm2_activatecredential reads:
// u32 0xbadcc0de, u32 version 1, and the two structures, all big-endian.
std::vector<uint8_t> SerializeCredentialFile(const Credential& credential);

}  // namespace cupel::tpm

#endif  // CUPEL_COMMON_TPM_MAKE_CREDENTIAL_H_
