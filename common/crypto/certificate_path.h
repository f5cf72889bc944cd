// Paths from a certificate to pinned roots (RFC 5280, 6).
#ifndef CUPEL_COMMON_CRYPTO_CERTIFICATE_PATH_H_
#define CUPEL_COMMON_CRYPTO_CERTIFICATE_PATH_H_

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/crypto/certificate.h"
#include "common/crypto/openssl.h"

namespace cupel::crypto {

template <>
struct OwnedTraits<X509_STORE> {
  using Deleter = OpensslDeleter<X509_STORE_free>;
};
template <>
struct OwnedTraits<X509_STORE_CTX> {
  using Deleter = OpensslDeleter<X509_STORE_CTX_free>;
};

// The most certificates between a leaf and its root.
inline constexpr size_t kMaxIntermediateCount = 8;

// Roots that somebody pinned: never those of the operating system. Immutable,
// cheap to copy (shared), may be used by several threads.
class TrustAnchors {
 public:
  // A root may also be an intermediate CA: a path ends at the first pinned
  // certificate. kInvalidArgument without any, or with one that is no CA
  // (Certificate::IsCa), so that a leaf can't vouch for itself.
  static absl::StatusOr<TrustAnchors> Create(
      std::span<const Certificate> roots);

  X509_STORE* get() const { return store_.get(); }

 private:
  explicit TrustAnchors(std::shared_ptr<X509_STORE> store)
      : store_(std::move(store)) {}

  std::shared_ptr<X509_STORE> store_;
};

struct PathOptions {
  absl::Time time;  // at which every certificate must be valid
  // A dotted number that the leaf must name. An issuer below the root that has
  // extended key usages at all must name it too, or any (2.5.29.37.0). Empty:
  // not looked at.
  std::string required_eku;
};

// Checks that a path leads from `leaf` to one of `anchors`, with help of
// `intermediates` in any order, those that don't fit being passed over.
//
// Checked are: each signature, by keys and hashes of at least 112 bits of
// security (no SHA-1, no RSA under 2048 bits); each validity; that each issuer
// IsCa; path lengths and name constraints; that no critical extension is
// unknown; extended key usages. Nothing is fetched, and revocation isn't looked
// at. OpenSSL takes a critical subjectAltName for understood whatever is in it:
// the caller has to understand it.
//
// Errors: kPermissionDenied, with the certificate and the reason, where there
// is no such path; kResourceExhausted for more than kMaxIntermediateCount
// intermediates; kInvalidArgument for a time out of range; kInternal where
// OpenSSL fails.
absl::Status VerifyPath(const Certificate& leaf,
                        std::span<const Certificate> intermediates,
                        const TrustAnchors& anchors,
                        const PathOptions& options);

}  // namespace cupel::crypto

#endif  // CUPEL_COMMON_CRYPTO_CERTIFICATE_PATH_H_
