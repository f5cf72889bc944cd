// Owners of OpenSSL's objects, and its error queue as text.
#ifndef CUPEL_COMMON_CRYPTO_OPENSSL_H_
#define CUPEL_COMMON_CRYPTO_OPENSSL_H_

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/param_build.h>
#include <openssl/x509.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace cupel::crypto {

template <auto kFree>
struct OpensslDeleter {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};

// Owned<EVP_PKEY> and so on: one owner type per OpenSSL type.
template <typename T>
struct OwnedTraits;
template <typename T>
using Owned = std::unique_ptr<T, typename OwnedTraits<T>::Deleter>;

template <>
struct OwnedTraits<EVP_PKEY> {
  using Deleter = OpensslDeleter<EVP_PKEY_free>;
};
template <>
struct OwnedTraits<EVP_PKEY_CTX> {
  using Deleter = OpensslDeleter<EVP_PKEY_CTX_free>;
};
template <>
struct OwnedTraits<EVP_MD> {
  using Deleter = OpensslDeleter<EVP_MD_free>;
};
template <>
struct OwnedTraits<EVP_MD_CTX> {
  using Deleter = OpensslDeleter<EVP_MD_CTX_free>;
};
template <>
struct OwnedTraits<EVP_CIPHER_CTX> {
  using Deleter = OpensslDeleter<EVP_CIPHER_CTX_free>;
};
template <>
struct OwnedTraits<EVP_KDF> {
  using Deleter = OpensslDeleter<EVP_KDF_free>;
};
template <>
struct OwnedTraits<EVP_KDF_CTX> {
  using Deleter = OpensslDeleter<EVP_KDF_CTX_free>;
};
template <>
struct OwnedTraits<BIGNUM> {
  using Deleter = OpensslDeleter<BN_free>;
};
template <>
struct OwnedTraits<BIO> {
  using Deleter = OpensslDeleter<BIO_free_all>;
};
template <>
struct OwnedTraits<X509> {
  using Deleter = OpensslDeleter<X509_free>;
};
template <>
struct OwnedTraits<ECDSA_SIG> {
  using Deleter = OpensslDeleter<ECDSA_SIG_free>;
};
template <>
struct OwnedTraits<OSSL_PARAM_BLD> {
  using Deleter = OpensslDeleter<OSSL_PARAM_BLD_free>;
};
template <>
struct OwnedTraits<OSSL_PARAM> {
  using Deleter = OpensslDeleter<OSSL_PARAM_free>;
};

// kInternal with "`what`: " and the newest message of OpenSSL's error queue,
// which it empties. Call it only after a function has reported failure: the
// queue itself proves nothing.
absl::Status OpensslError(absl::string_view what);

// The key's number that OpenSSL calls `parameter` (OSSL_PKEY_PARAM_...).
// kInternal where it has none.
absl::StatusOr<Owned<BIGNUM>> KeyNumber(const EVP_PKEY* key,
                                        const char* parameter);

}  // namespace cupel::crypto

#endif  // CUPEL_COMMON_CRYPTO_OPENSSL_H_
