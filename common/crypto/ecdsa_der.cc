#include "common/crypto/ecdsa_der.h"

#include <openssl/bn.h>
#include <openssl/ecdsa.h>

#include <algorithm>
#include <cstddef>

#include "absl/status/status.h"
#include "common/crypto/openssl.h"
#include "common/crypto/public_key.h"

namespace cupel::crypto {

absl::StatusOr<EcdsaNumbers> EcdsaSignatureFromDer(
    std::span<const uint8_t> der) {
  const unsigned char* next = der.data();
  const Owned<ECDSA_SIG> pair(
      d2i_ECDSA_SIG(nullptr, &next, static_cast<long>(der.size())));
  if (!pair) {
    return absl::InvalidArgumentError(
        OpensslError("not an ECDSA signature").message());
  }
  const auto bytes = [](const BIGNUM* number) {
    std::vector<uint8_t> out(static_cast<size_t>(BN_num_bytes(number)));
    BN_bn2bin(number, out.data());
    return out;
  };
  EcdsaNumbers numbers{bytes(ECDSA_SIG_get0_r(pair.get())),
                       bytes(ECDSA_SIG_get0_s(pair.get()))};
  // One form for one signature: whatever else OpenSSL reads is not taken.
  const auto again = EcdsaSignatureToDer(numbers.r, numbers.s);
  if (numbers.r.empty() || numbers.s.empty() || !again.ok() ||
      !std::ranges::equal(*again, der)) {
    return absl::InvalidArgumentError("not an ECDSA signature in DER");
  }
  return numbers;
}

}  // namespace cupel::crypto
