#include "common/tpm/attestation_key.h"

#include <openssl/rsa.h>

#include <utility>

#include "absl/strings/match.h"
#include "common/crypto/digest.h"
#include "common/tpm/constants.h"
#include "common/util/bytes.h"
#include "common/util/status_macros.h"

namespace cupel::tpm {
namespace {

// nullptr where the scheme is none that signs quotes, or OpenSSL fails: then
// each check finds out for itself.
std::shared_ptr<const EVP_MD_CTX> Prepare(const crypto::PublicKey& key,
                                          const KeyScheme& scheme) {
  if (!scheme.hash.has_value() || !IsStrongHash(*scheme.hash) ||
      !SchemeFitsKey(scheme.scheme, key)) {
    return nullptr;
  }
  std::shared_ptr<EVP_MD_CTX> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  EVP_PKEY_CTX* key_context = nullptr;  // owned by `context`
  if (!context || EVP_DigestVerifyInit(context.get(), &key_context,
                                       crypto::FetchedDigest(*scheme.hash),
                                       nullptr, key.get()) != 1) {
    static_cast<void>(crypto::OpensslError("preparing a key"));
    return nullptr;
  }
  // The salt's length is read from the signature, as PublicKey does it.
  if (scheme.scheme == AlgId::kRsapss &&
      (EVP_PKEY_CTX_set_rsa_padding(key_context, RSA_PKCS1_PSS_PADDING) != 1 ||
       EVP_PKEY_CTX_set_rsa_pss_saltlen(key_context, RSA_PSS_SALTLEN_AUTO) !=
           1)) {
    static_cast<void>(crypto::OpensslError("preparing a key"));
    return nullptr;
  }
  return context;
}

}  // namespace

absl::StatusOr<AttestationKey> AttestationKey::FromPublicArea(
    const PublicArea& area) {
  CUPEL_ASSIGN_OR_RETURN(crypto::PublicKey public_key, area.ToPublicKey());
  AttestationKey key(std::move(public_key));
  key.name_ = area.Name();
  key.scheme_ = area.scheme;
  key.violations_ = ValidateAkAttributes(area);
  key.prepared_ = Prepare(key.key_, key.scheme_);
  return key;
}

AttestationKey AttestationKey::FromPublicKey(crypto::PublicKey key) {
  return AttestationKey(std::move(key));
}

absl::StatusOr<AttestationKey> AttestationKey::FromFile(
    std::span<const uint8_t> content) {
  // A TPM structure starts with a size or an algorithm and holds zero bytes.
  if (absl::StrContains(AsText(content), "-----BEGIN ")) {
    CUPEL_ASSIGN_OR_RETURN(crypto::PublicKey key,
                           crypto::PublicKey::FromPem(AsText(content)));
    return FromPublicKey(std::move(key));
  }
  CUPEL_ASSIGN_OR_RETURN(const PublicArea area, ParsePublicFile(content));
  return FromPublicArea(area);
}

absl::Status AttestationKey::CheckSignature(
    const Signature& signature, std::span<const uint8_t> message) const {
  if (prepared_ == nullptr || signature.scheme != scheme_.scheme ||
      signature.hash != *scheme_.hash) {
    return tpm::CheckSignature(signature, key_, message);
  }
  std::vector<uint8_t> der;
  std::span<const uint8_t> raw = signature.rsa;
  if (signature.scheme == AlgId::kEcdsa) {
    CUPEL_ASSIGN_OR_RETURN(
        der, crypto::EcdsaSignatureToDer(signature.r, signature.s));
    raw = der;
  }
  const crypto::Owned<EVP_MD_CTX> context(EVP_MD_CTX_new());
  if (!context || EVP_MD_CTX_copy_ex(context.get(), prepared_.get()) != 1) {
    return crypto::OpensslError("EVP_MD_CTX_copy_ex");
  }
  if (EVP_DigestVerify(context.get(), raw.data(), raw.size(), message.data(),
                       message.size()) != 1) {
    // 0 and negative values alike: malformed is as invalid as forged.
    static_cast<void>(crypto::OpensslError("verify"));
    return absl::PermissionDeniedError("the signature is not valid");
  }
  return absl::OkStatus();
}

}  // namespace cupel::tpm
