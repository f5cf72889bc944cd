#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "common/crypto/ecdsa_der.h"
#include "common/crypto/public_key.h"
#include "common/tpm/signature.h"
#include "common/util/bytes.h"

// What parses serializes to the same bytes; what is taken for ECDSA's DER is
// written as the same.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const uint8_t> input(data, size);
  if (const auto numbers = cupel::crypto::EcdsaSignatureFromDer(input);
      numbers.ok()) {
    const auto der = cupel::crypto::EcdsaSignatureToDer(numbers->r, numbers->s);
    if (!der.ok() || cupel::AsText(*der) != cupel::AsText(input)) std::abort();
  }
  const auto signature = cupel::tpm::ParseSignature(input);
  if (!signature.ok()) return 0;
  const auto serialized = cupel::tpm::SerializeSignature(*signature);
  if (cupel::AsText(serialized) != cupel::AsText(input)) std::abort();
  return 0;
}
