// Small pieces that several of this module's files share; not for others.
#ifndef CUPEL_COMMON_TPM_MARSHAL_H_
#define CUPEL_COMMON_TPM_MARSHAL_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "common/crypto/openssl.h"
#include "common/crypto/public_key.h"
#include "common/util/bytes.h"
#include "common/util/status_macros.h"

namespace cupel::tpm {

// A TPM2B: u16 size and bytes, which must be under 64 KiB.
inline void AppendSized16(std::vector<uint8_t>& out,
                          std::span<const uint8_t> bytes) {
  AppendBe(out, static_cast<uint16_t>(bytes.size()));
  Append(out, bytes);
}

// The size of a coordinate, in bytes.
inline size_t EcFieldSize(crypto::EcCurve curve) {
  return curve == crypto::EcCurve::kP256 ? 32 : 48;
}

// The number that OpenSSL calls `parameter` (OSSL_PKEY_PARAM_...), big-endian
// with leading zeros to `size`.
inline absl::StatusOr<std::vector<uint8_t>> KeyNumber(const EVP_PKEY* key,
                                                      const char* parameter,
                                                      size_t size) {
  CUPEL_ASSIGN_OR_RETURN(const crypto::Owned<BIGNUM> number,
                         crypto::KeyNumber(key, parameter));
  std::vector<uint8_t> bytes(size);
  if (BN_bn2binpad(number.get(), bytes.data(), static_cast<int>(size)) < 0) {
    return crypto::OpensslError(parameter);
  }
  return bytes;
}

}  // namespace cupel::tpm

#endif  // CUPEL_COMMON_TPM_MARSHAL_H_
