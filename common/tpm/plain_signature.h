// Signatures as tpm2_quote writes them with `-f plain`.
#ifndef CUPEL_COMMON_TPM_PLAIN_SIGNATURE_H_
#define CUPEL_COMMON_TPM_PLAIN_SIGNATURE_H_

#include <cstdint>
#include <span>

#include "absl/status/statusor.h"
#include "common/tpm/attestation_key.h"
#include "common/tpm/signature.h"

namespace cupel::tpm {

// Reads RSA's bytes, as many as the modulus has, or ECDSA's r and s in DER.
// Such a file names no scheme; it is taken for one of `key`'s fixed scheme.
// Whether it is valid is for CheckSignature to say.
//
// kFailedPrecondition if the key has no fixed scheme that signs quotes;
// kInvalidArgument for anything else.
absl::StatusOr<Signature> ParsePlainSignature(std::span<const uint8_t> bytes,
                                              const AttestationKey& key);

}  // namespace cupel::tpm

#endif  // CUPEL_COMMON_TPM_PLAIN_SIGNATURE_H_
