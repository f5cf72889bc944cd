#include "common/tpm/plain_signature.h"

#include <cstddef>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/crypto/ecdsa_der.h"
#include "common/tpm/constants.h"
#include "common/util/bytes.h"
#include "common/util/status_macros.h"

namespace cupel::tpm {

absl::StatusOr<Signature> ParsePlainSignature(std::span<const uint8_t> bytes,
                                              const AttestationKey& key) {
  const KeyScheme& scheme = key.scheme();
  if (!scheme.hash.has_value() || !IsStrongHash(*scheme.hash) ||
      !SchemeFitsKey(scheme.scheme, key.key())) {
    return absl::FailedPreconditionError(
        "a plain signature, by a key without a fixed scheme for quotes");
  }
  Signature signature;
  signature.scheme = scheme.scheme;
  signature.hash = *scheme.hash;
  if (signature.scheme == AlgId::kEcdsa) {
    CUPEL_ASSIGN_OR_RETURN(crypto::EcdsaNumbers numbers,
                           crypto::EcdsaSignatureFromDer(bytes));
    signature.r = std::move(numbers.r);
    signature.s = std::move(numbers.s);
    return signature;
  }
  const size_t size = (static_cast<size_t>(key.key().bits()) + 7) / 8;
  if (bytes.size() != size) {
    return absl::InvalidArgumentError(
        absl::StrCat("a plain signature of ", bytes.size(),
                     " bytes; one by this key has ", size));
  }
  signature.rsa = ToVector(bytes);
  return signature;
}

}  // namespace cupel::tpm
