#include "common/crypto/certificate_path.h"

#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/util/status_macros.h"

namespace cupel::crypto {
namespace {

constexpr char kAnyExtendedKeyUsage[] = "2.5.29.37.0";
// OpenSSL's name for 112 bits.
constexpr int kAuthLevel = 2;

struct StackDeleter {
  void operator()(STACK_OF(X509) * stack) const { sk_X509_free(stack); }
};

absl::Status Denied(const Certificate& certificate, absl::string_view why) {
  return absl::PermissionDeniedError(
      absl::StrCat("certificate of \"", certificate.Subject(), "\" by \"",
                   certificate.Issuer(), "\": ", why));
}

absl::StatusOr<Certificate> FromX509(const X509* x509) {
  unsigned char* der = nullptr;
  const int size = i2d_X509(x509, &der);
  if (size <= 0) return OpensslError("i2d_X509");
  auto certificate = Certificate::FromDer({der, static_cast<size_t>(size)});
  OPENSSL_free(der);
  return certificate;
}

absl::Status CheckUsage(const Certificate& certificate, bool is_leaf,
                        const std::string& required) {
  CUPEL_ASSIGN_OR_RETURN(const std::vector<std::string> usages,
                         certificate.ExtendedKeyUsages());
  if (!is_leaf && usages.empty()) return absl::OkStatus();
  const auto names = [&usages](absl::string_view usage) {
    return std::ranges::find(usages, usage) != usages.end();
  };
  if (names(required)) return absl::OkStatus();
  if (!is_leaf && names(kAnyExtendedKeyUsage)) return absl::OkStatus();
  return Denied(certificate,
                absl::StrCat("lacks the extended key usage ", required));
}

// What OpenSSL does not check, or only in its strict mode, which refuses much
// that TPM vendors sign.
absl::Status CheckChain(const STACK_OF(X509) * chain,
                        const PathOptions& options) {
  const int count = sk_X509_num(chain);
  for (int i = 0; i < count; ++i) {
    CUPEL_ASSIGN_OR_RETURN(const Certificate certificate,
                           FromX509(sk_X509_value(chain, i)));
    if (i > 0 && !certificate.IsCa()) {
      return Denied(certificate, "it is no CA and issued another");
    }
    const bool is_root = i == count - 1;
    if (!options.required_eku.empty() && !is_root) {
      CUPEL_RETURN_IF_ERROR(
          CheckUsage(certificate, i == 0, options.required_eku));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TrustAnchors> TrustAnchors::Create(
    std::span<const Certificate> roots) {
  if (roots.empty()) {
    return absl::InvalidArgumentError("no root certificate is given");
  }
  std::shared_ptr<X509_STORE> store(X509_STORE_new(), X509_STORE_free);
  if (!store) return OpensslError("X509_STORE_new");
  for (const Certificate& root : roots) {
    if (!root.IsCa()) {
      return absl::InvalidArgumentError(
          absl::StrCat("root certificate of \"", root.Subject(),
                       "\" is no CA: its basicConstraints don't say so"));
    }
    if (X509_STORE_add_cert(store.get(), root.get()) != 1) {
      return OpensslError("X509_STORE_add_cert");
    }
  }
  return TrustAnchors(std::move(store));
}

absl::Status VerifyPath(const Certificate& leaf,
                        std::span<const Certificate> intermediates,
                        const TrustAnchors& anchors,
                        const PathOptions& options) {
  if (intermediates.size() > kMaxIntermediateCount) {
    return absl::ResourceExhaustedError(
        absl::StrCat(intermediates.size(), " intermediate certificates, limit ",
                     kMaxIntermediateCount));
  }
  if (options.time == absl::InfiniteFuture() ||
      options.time == absl::InfinitePast()) {
    return absl::InvalidArgumentError("no time to verify certificates at");
  }
  const std::unique_ptr<STACK_OF(X509), StackDeleter> untrusted(
      sk_X509_new_null());
  const Owned<X509_STORE_CTX> context(X509_STORE_CTX_new());
  if (!untrusted || !context) return OpensslError("X509_STORE_CTX_new");
  for (const Certificate& certificate : intermediates) {
    if (sk_X509_push(untrusted.get(), certificate.get()) <= 0) {
      return OpensslError("sk_X509_push");
    }
  }
  if (X509_STORE_CTX_init(context.get(), anchors.get(), leaf.get(),
                          untrusted.get()) != 1) {
    return OpensslError("X509_STORE_CTX_init");
  }
  X509_VERIFY_PARAM* const param = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_depth(param, static_cast<int>(kMaxIntermediateCount));
  X509_VERIFY_PARAM_set_auth_level(param, kAuthLevel);
  X509_VERIFY_PARAM_set_time(param, absl::ToTimeT(options.time));
  if (X509_VERIFY_PARAM_set_flags(
          param, X509_V_FLAG_TRUSTED_FIRST | X509_V_FLAG_PARTIAL_CHAIN) != 1) {
    return OpensslError("X509_VERIFY_PARAM_set_flags");
  }
  const int verified = X509_verify_cert(context.get());
  const int error = X509_STORE_CTX_get_error(context.get());
  ERR_clear_error();
  if (verified != 1 || error != X509_V_OK) {
    const X509* const at = X509_STORE_CTX_get_current_cert(context.get());
    const auto culprit = at != nullptr ? FromX509(at) : leaf;
    return Denied(culprit.ok() ? *culprit : leaf,
                  X509_verify_cert_error_string(error));
  }
  const STACK_OF(X509)* const chain = X509_STORE_CTX_get0_chain(context.get());
  if (chain == nullptr || sk_X509_num(chain) < 2) {
    return Denied(leaf, "a root is no leaf");
  }
  return CheckChain(chain, options);
}

}  // namespace cupel::crypto
