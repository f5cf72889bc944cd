#include "common/tpm/signature.h"

#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/tpm/marshal.h"
#include "common/util/byte_reader.h"
#include "common/util/bytes.h"
#include "common/util/status_macros.h"

namespace cupel::tpm {
namespace {

absl::StatusOr<std::vector<uint8_t>> ReadPart(ByteReader& reader,
                                              size_t max_size,
                                              absl::string_view field) {
  CUPEL_ASSIGN_OR_RETURN(const auto bytes, reader.ReadSized16(max_size, field));
  if (bytes.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(field, ": empty"));
  }
  return ToVector(bytes);
}

}  // namespace

absl::StatusOr<Signature> ParseSignature(std::span<const uint8_t> bytes) {
  ByteReader reader(bytes, ByteOrder::kBig);
  Signature signature;
  CUPEL_ASSIGN_OR_RETURN(const uint16_t scheme,
                         reader.ReadU16("signature: sigAlg"));
  signature.scheme = AlgId{scheme};
  const bool is_ecdsa = signature.scheme == AlgId::kEcdsa;
  if (!is_ecdsa && signature.scheme != AlgId::kRsassa &&
      signature.scheme != AlgId::kRsapss) {
    return absl::UnimplementedError(
        absl::StrCat("signature: scheme ", AlgIdName(signature.scheme),
                     "; rsassa, rsapss and ecdsa are accepted"));
  }
  CUPEL_ASSIGN_OR_RETURN(const uint16_t hash_id,
                         reader.ReadU16("signature: hash"));
  const std::optional<crypto::HashAlgorithm> hash =
      HashFromAlgId(AlgId{hash_id});
  if (!hash.has_value() || !IsStrongHash(*hash)) {
    return absl::UnimplementedError(
        absl::StrCat("signature: hash ", AlgIdName(AlgId{hash_id}),
                     "; sha256, sha384 and sha512 are accepted"));
  }
  signature.hash = *hash;
  if (is_ecdsa) {
    CUPEL_ASSIGN_OR_RETURN(signature.r,
                           ReadPart(reader, kMaxEccBytes, "signature: r"));
    CUPEL_ASSIGN_OR_RETURN(signature.s,
                           ReadPart(reader, kMaxEccBytes, "signature: s"));
  } else {
    CUPEL_ASSIGN_OR_RETURN(signature.rsa,
                           ReadPart(reader, kMaxRsaBytes, "signature: sig"));
  }
  CUPEL_RETURN_IF_ERROR(reader.ExpectEnd("signature"));
  return signature;
}

std::vector<uint8_t> SerializeSignature(const Signature& signature) {
  std::vector<uint8_t> out;
  AppendBe(out, static_cast<uint16_t>(signature.scheme));
  AppendBe(out, static_cast<uint16_t>(
                    AlgIdFromHash(signature.hash).value_or(AlgId::kNull)));
  if (signature.scheme == AlgId::kEcdsa) {
    AppendSized16(out, signature.r);
    AppendSized16(out, signature.s);
  } else {
    AppendSized16(out, signature.rsa);
  }
  return out;
}

std::string SignatureAlgorithmName(AlgId scheme, crypto::HashAlgorithm hash) {
  return absl::StrCat(AlgIdName(scheme), " with ", BankName(hash));
}

bool SchemeFitsKey(AlgId scheme, const crypto::PublicKey& key) {
  const bool is_rsa = key.type() == crypto::KeyType::kRsa;
  return is_rsa ? scheme == AlgId::kRsassa || scheme == AlgId::kRsapss
                : scheme == AlgId::kEcdsa;
}

crypto::SignatureScheme ToSignatureScheme(AlgId scheme) {
  switch (scheme) {
    case AlgId::kEcdsa:
      return crypto::SignatureScheme::kEcdsa;
    case AlgId::kRsapss:
      return crypto::SignatureScheme::kRsaPss;
    default:
      return crypto::SignatureScheme::kRsaPkcs1;
  }
}

absl::Status CheckSignature(const Signature& signature,
                            const crypto::SignatureVerifier& verifier,
                            std::span<const uint8_t> message) {
  if (signature.scheme != AlgId::kEcdsa) {
    return verifier.Verify(message, signature.rsa);
  }
  CUPEL_ASSIGN_OR_RETURN(const std::vector<uint8_t> der,
                         crypto::EcdsaSignatureToDer(signature.r, signature.s));
  return verifier.Verify(message, der);
}

absl::Status CheckSignature(const Signature& signature,
                            const crypto::PublicKey& key,
                            std::span<const uint8_t> message) {
  CUPEL_ASSIGN_OR_RETURN(
      const auto verifier,
      crypto::SignatureVerifier::Create(
          key, ToSignatureScheme(signature.scheme), signature.hash));
  return CheckSignature(signature, verifier, message);
}

}  // namespace cupel::tpm
