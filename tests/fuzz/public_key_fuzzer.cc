// A key that is taken, from DER or from PEM, is one that may be used: of a
// known kind and size, written and read again as the same key, and the signer
// of nothing that it did not sign.
#include <cstdint>
#include <cstdlib>

#include "common/crypto/public_key.h"
#include "common/util/bytes.h"

namespace {

using cupel::crypto::HashAlgorithm;
using cupel::crypto::KeyType;
using cupel::crypto::PublicKey;
using cupel::crypto::SignatureScheme;

bool IsAllowed(const PublicKey& key) {
  switch (key.type()) {
    case KeyType::kRsa:
      return key.bits() >= 2048 && key.bits() <= 16384;
    case KeyType::kEcP256:
      return key.bits() == 256;
    case KeyType::kEcP384:
      return key.bits() == 384;
    case KeyType::kEcP521:
      return key.bits() == 521;
  }
  return false;
}

void CheckKey(const PublicKey& key, std::span<const uint8_t> input) {
  if (!IsAllowed(key) || key.Description().empty()) std::abort();
  const auto pem = key.ToPem();
  if (!pem.ok()) std::abort();
  const auto again = PublicKey::FromPem(*pem);
  if (!again.ok() || EVP_PKEY_eq(key.get(), again->get()) != 1) std::abort();

  const SignatureScheme scheme = key.type() == KeyType::kRsa
                                     ? SignatureScheme::kRsaPss
                                     : SignatureScheme::kEcdsa;
  if (key.VerifySignature(scheme, HashAlgorithm::kSha256, input, input).ok()) {
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const uint8_t> input(data, size);
  const auto from_der = PublicKey::FromDer(input);
  if (from_der.ok()) CheckKey(*from_der, input);
  const auto from_pem = PublicKey::FromPem(cupel::AsText(input));
  if (from_pem.ok()) CheckKey(*from_pem, input);
  return 0;
}
