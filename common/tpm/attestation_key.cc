#include "common/tpm/attestation_key.h"

#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "common/crypto/digest.h"
#include "common/tpm/constants.h"
#include "common/util/bytes.h"
#include "common/util/status_macros.h"

namespace cupel::tpm {
namespace {

// nullopt where the scheme is none that signs quotes, or OpenSSL fails: then
// each check finds out for itself.
std::optional<crypto::SignatureVerifier> Prepare(const crypto::PublicKey& key,
                                                 const KeyScheme& scheme) {
  if (!scheme.hash.has_value() || !IsStrongHash(*scheme.hash) ||
      !SchemeFitsKey(scheme.scheme, key)) {
    return std::nullopt;
  }
  auto verifier = crypto::SignatureVerifier::Create(
      key, ToSignatureScheme(scheme.scheme), *scheme.hash);
  if (!verifier.ok()) return std::nullopt;
  return *std::move(verifier);
}

}  // namespace

absl::StatusOr<AttestationKey> AttestationKey::FromPublicArea(
    const PublicArea& area) {
  CUPEL_ASSIGN_OR_RETURN(crypto::PublicKey public_key, area.ToPublicKey());
  AttestationKey key(std::move(public_key));
  key.name_ = area.Name();
  key.scheme_ = area.scheme;
  key.violations_ = ValidateAkAttributes(area);
  key.verifier_ = Prepare(key.key_, key.scheme_);
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
  if (!verifier_.has_value() || signature.scheme != scheme_.scheme ||
      signature.hash != *scheme_.hash) {
    return tpm::CheckSignature(signature, key_, message);
  }
  return tpm::CheckSignature(signature, *verifier_, message);
}

}  // namespace cupel::tpm
