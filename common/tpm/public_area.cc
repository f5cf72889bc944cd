#include "common/tpm/public_area.h"

#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/tpm/marshal.h"
#include "common/util/byte_reader.h"
#include "common/util/bytes.h"
#include "common/util/status_macros.h"

namespace cupel::tpm {
namespace {

using crypto::HashAlgorithm;

constexpr int kMinRsaBits = 2048;
constexpr uint32_t kDefaultExponent = 65537;

void AppendAlg(std::vector<uint8_t>& out, AlgId id) {
  AppendBe(out, static_cast<uint16_t>(id));
}
void AppendHash(std::vector<uint8_t>& out, HashAlgorithm hash) {
  AppendAlg(out, AlgIdFromHash(hash).value_or(AlgId::kNull));
}
void AppendScheme(std::vector<uint8_t>& out, const KeyScheme& scheme) {
  AppendAlg(out, scheme.scheme);
  if (scheme.hash.has_value()) AppendHash(out, *scheme.hash);
}

absl::StatusOr<AlgId> ReadAlg(ByteReader& reader, absl::string_view field) {
  CUPEL_ASSIGN_OR_RETURN(const uint16_t id, reader.ReadU16(field));
  return AlgId{id};
}

absl::StatusOr<HashAlgorithm> ReadHash(ByteReader& reader,
                                       absl::string_view field) {
  CUPEL_ASSIGN_OR_RETURN(const AlgId id, ReadAlg(reader, field));
  const std::optional<HashAlgorithm> hash = HashFromAlgId(id);
  if (!hash.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat(field, ": ", AlgIdName(id), " is no known hash"));
  }
  return *hash;
}

absl::StatusOr<SymmetricDefinition> ReadSymmetric(ByteReader& reader) {
  SymmetricDefinition symmetric;
  CUPEL_ASSIGN_OR_RETURN(symmetric.algorithm,
                         ReadAlg(reader, "public area: symmetric"));
  switch (symmetric.algorithm) {
    case AlgId::kNull:
      return symmetric;
    case AlgId::kAes:
    case AlgId::kSm4:
    case AlgId::kCamellia:
      break;
    default:
      return absl::UnimplementedError(absl::StrCat(
          "public area: symmetric algorithm ", AlgIdName(symmetric.algorithm)));
  }
  CUPEL_ASSIGN_OR_RETURN(symmetric.key_bits,
                         reader.ReadU16("public area: symmetric keyBits"));
  CUPEL_ASSIGN_OR_RETURN(symmetric.mode,
                         ReadAlg(reader, "public area: symmetric mode"));
  return symmetric;
}

enum class SchemeKind { kRsa, kEcc, kKdf };

// TPMT_RSA_SCHEME, TPMT_ECC_SCHEME, TPMT_KDF_SCHEME: a selector, and a hash
// unless the selector's details are empty. ECDAA, which has a counter beside
// its hash, is not parsed.
bool SchemeHasHash(SchemeKind kind, AlgId scheme) {
  switch (kind) {
    case SchemeKind::kRsa:
      return scheme == AlgId::kRsassa || scheme == AlgId::kRsapss ||
             scheme == AlgId::kOaep;
    case SchemeKind::kEcc:
      return scheme == AlgId::kEcdsa || scheme == AlgId::kEcdh ||
             scheme == AlgId::kSm2 || scheme == AlgId::kEcschnorr ||
             scheme == AlgId::kEcmqv;
    case SchemeKind::kKdf:
      return scheme == AlgId::kKdf1Sp800_56a || scheme == AlgId::kKdf2 ||
             scheme == AlgId::kKdf1Sp800_108;
  }
  return false;
}

absl::StatusOr<KeyScheme> ReadScheme(ByteReader& reader, SchemeKind kind,
                                     absl::string_view field) {
  KeyScheme scheme;
  CUPEL_ASSIGN_OR_RETURN(scheme.scheme, ReadAlg(reader, field));
  if (scheme.scheme == AlgId::kNull ||
      (kind == SchemeKind::kRsa && scheme.scheme == AlgId::kRsaes)) {
    return scheme;
  }
  if (!SchemeHasHash(kind, scheme.scheme)) {
    return absl::UnimplementedError(
        absl::StrCat(field, ": ", AlgIdName(scheme.scheme)));
  }
  CUPEL_ASSIGN_OR_RETURN(scheme.hash, ReadHash(reader, field));
  return scheme;
}

absl::Status ReadRsa(ByteReader& reader, PublicArea& area) {
  CUPEL_ASSIGN_OR_RETURN(
      area.scheme, ReadScheme(reader, SchemeKind::kRsa, "public area: scheme"));
  CUPEL_ASSIGN_OR_RETURN(area.key_bits, reader.ReadU16("public area: keyBits"));
  CUPEL_ASSIGN_OR_RETURN(area.exponent,
                         reader.ReadU32("public area: exponent"));
  CUPEL_ASSIGN_OR_RETURN(
      const auto modulus,
      reader.ReadSized16(kMaxRsaBytes, "public area: unique"));
  if (modulus.empty() || modulus.size() * 8 != area.key_bits) {
    return absl::InvalidArgumentError(
        absl::StrCat("public area: modulus of ", modulus.size(),
                     " bytes in a key of ", area.key_bits, " bits"));
  }
  area.modulus = ToVector(modulus);
  return absl::OkStatus();
}

absl::Status ReadEcc(ByteReader& reader, PublicArea& area) {
  CUPEL_ASSIGN_OR_RETURN(
      area.scheme, ReadScheme(reader, SchemeKind::kEcc, "public area: scheme"));
  CUPEL_ASSIGN_OR_RETURN(const uint16_t curve,
                         reader.ReadU16("public area: curveID"));
  switch (curve) {
    case kCurveP256:
      area.curve = crypto::EcCurve::kP256;
      break;
    case kCurveP384:
      area.curve = crypto::EcCurve::kP384;
      break;
    default:
      return absl::UnimplementedError(
          absl::StrCat("public area: curve 0x", absl::Hex(curve),
                       "; P-256 and P-384 are accepted"));
  }
  CUPEL_ASSIGN_OR_RETURN(
      area.kdf, ReadScheme(reader, SchemeKind::kKdf, "public area: kdf"));
  const size_t field = EcFieldSize(area.curve);
  CUPEL_ASSIGN_OR_RETURN(const auto x,
                         reader.ReadSized16(field, "public area: x"));
  CUPEL_ASSIGN_OR_RETURN(const auto y,
                         reader.ReadSized16(field, "public area: y"));
  if (x.empty() || y.empty()) {
    return absl::InvalidArgumentError("public area: empty coordinate");
  }
  area.x = ToVector(x);
  area.y = ToVector(y);
  return absl::OkStatus();
}

// The algorithm at the front of a TPM2B_NAME's digest form.
absl::StatusOr<HashAlgorithm> NameAlgorithm(std::span<const uint8_t> name) {
  ByteReader reader(name, ByteOrder::kBig);
  CUPEL_ASSIGN_OR_RETURN(const HashAlgorithm algorithm,
                         ReadHash(reader, "name"));
  if (!crypto::CanHash(algorithm) ||
      reader.remaining() != crypto::DigestSize(algorithm)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "name: ", BankName(algorithm), " and ", reader.remaining(), " bytes"));
  }
  return algorithm;
}

std::vector<uint8_t> NameOf(
    HashAlgorithm algorithm,
    std::initializer_list<std::span<const uint8_t>> hashed) {
  std::vector<uint8_t> name;
  name.reserve(2 + crypto::DigestSize(algorithm));
  AppendHash(name, algorithm);
  Append(name, crypto::Hash(algorithm, hashed).bytes());
  return name;
}

}  // namespace

std::vector<uint8_t> PublicArea::Serialize() const {
  std::vector<uint8_t> out;
  out.reserve(64 + auth_policy.size() + modulus.size() + x.size() + y.size());
  AppendAlg(out, type);
  AppendHash(out, name_algorithm);
  AppendBe(out, attributes);
  AppendSized16(out, auth_policy);
  AppendAlg(out, symmetric.algorithm);
  if (symmetric.algorithm != AlgId::kNull) {
    AppendBe(out, symmetric.key_bits);
    AppendAlg(out, symmetric.mode);
  }
  AppendScheme(out, scheme);
  if (type == AlgId::kRsa) {
    AppendBe(out, key_bits);
    AppendBe(out, exponent);
    AppendSized16(out, modulus);
  } else {
    AppendBe(out, curve == crypto::EcCurve::kP256 ? kCurveP256 : kCurveP384);
    AppendScheme(out, kdf);
    AppendSized16(out, x);
    AppendSized16(out, y);
  }
  return out;
}

std::vector<uint8_t> PublicArea::Name() const {
  return NameOf(name_algorithm, {Serialize()});
}

absl::StatusOr<crypto::PublicKey> PublicArea::ToPublicKey() const {
  if (type == AlgId::kRsa) {
    return crypto::PublicKey::FromRsa(
        modulus, exponent == 0 ? kDefaultExponent : exponent);
  }
  return crypto::PublicKey::FromEcPoint(curve, x, y);
}

absl::StatusOr<PublicArea> ParsePublicArea(std::span<const uint8_t> bytes) {
  ByteReader reader(bytes, ByteOrder::kBig);
  PublicArea area;
  CUPEL_ASSIGN_OR_RETURN(area.type, ReadAlg(reader, "public area: type"));
  if (area.type != AlgId::kRsa && area.type != AlgId::kEcc) {
    return absl::UnimplementedError(absl::StrCat("public area: type ",
                                                 AlgIdName(area.type),
                                                 "; rsa and ecc are accepted"));
  }
  CUPEL_ASSIGN_OR_RETURN(area.name_algorithm,
                         ReadHash(reader, "public area: nameAlg"));
  if (!crypto::CanHash(area.name_algorithm)) {
    return absl::UnimplementedError(
        absl::StrCat("public area: nameAlg ", BankName(area.name_algorithm)));
  }
  CUPEL_ASSIGN_OR_RETURN(area.attributes,
                         reader.ReadU32("public area: objectAttributes"));
  if ((area.attributes & ~kAttrDefined) != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("public area: objectAttributes 0x",
                     absl::Hex(area.attributes), " has reserved bits set"));
  }
  CUPEL_ASSIGN_OR_RETURN(
      const auto policy,
      reader.ReadSized16(kMaxDigestBuffer, "public area: authPolicy"));
  if (!policy.empty() &&
      policy.size() != crypto::DigestSize(area.name_algorithm)) {
    return absl::InvalidArgumentError(
        absl::StrCat("public area: authPolicy of ", policy.size(),
                     " bytes with nameAlg ", BankName(area.name_algorithm)));
  }
  area.auth_policy = ToVector(policy);
  CUPEL_ASSIGN_OR_RETURN(area.symmetric, ReadSymmetric(reader));
  CUPEL_RETURN_IF_ERROR(area.type == AlgId::kRsa ? ReadRsa(reader, area)
                                                 : ReadEcc(reader, area));
  CUPEL_RETURN_IF_ERROR(reader.ExpectEnd("public area"));
  return area;
}

absl::StatusOr<PublicArea> ParseTpm2bPublic(std::span<const uint8_t> bytes) {
  ByteReader reader(bytes, ByteOrder::kBig);
  CUPEL_ASSIGN_OR_RETURN(const auto area,
                         reader.ReadSized16(0xffff, "TPM2B_PUBLIC"));
  CUPEL_RETURN_IF_ERROR(reader.ExpectEnd("TPM2B_PUBLIC"));
  return ParsePublicArea(area);
}

absl::StatusOr<PublicArea> ParsePublicFile(std::span<const uint8_t> bytes) {
  ByteReader reader(bytes, ByteOrder::kBig);
  CUPEL_RETURN_IF_ERROR(reader.ReadU16("public area: first field").status());
  CUPEL_ASSIGN_OR_RETURN(const AlgId second,
                         ReadAlg(reader, "public area: second field"));
  return HashFromAlgId(second).has_value() ? ParsePublicArea(bytes)
                                           : ParseTpm2bPublic(bytes);
}

absl::StatusOr<std::vector<uint8_t>> QualifiedName(
    std::span<const uint8_t> parent_qualified_name,
    std::span<const uint8_t> name) {
  CUPEL_ASSIGN_OR_RETURN(const HashAlgorithm algorithm, NameAlgorithm(name));
  return NameOf(algorithm, {parent_qualified_name, name});
}

absl::StatusOr<std::vector<uint8_t>> EkQualifiedName(
    std::span<const uint8_t> ek_name) {
  constexpr std::array<uint8_t, 4> kHandle = {
      kRhEndorsement >> 24, kRhEndorsement >> 16 & 0xff,
      kRhEndorsement >> 8 & 0xff, kRhEndorsement & 0xff};
  return QualifiedName(kHandle, ek_name);
}

std::vector<AkViolation> ValidateAkAttributes(const PublicArea& area) {
  std::vector<AkViolation> violations;
  struct Attribute {
    AkRequirement requirement;
    uint32_t bit;
    bool wanted;
    absl::string_view name;
  };
  constexpr std::array<Attribute, 6> kAttributes = {{
      {AkRequirement::kRestricted, kAttrRestricted, true, "restricted"},
      {AkRequirement::kSign, kAttrSign, true, "sign"},
      {AkRequirement::kNotDecrypt, kAttrDecrypt, false, "decrypt"},
      {AkRequirement::kFixedTpm, kAttrFixedTpm, true, "fixedTPM"},
      {AkRequirement::kFixedParent, kAttrFixedParent, true, "fixedParent"},
      {AkRequirement::kSensitiveDataOrigin, kAttrSensitiveDataOrigin, true,
       "sensitiveDataOrigin"},
  }};
  for (const Attribute& attribute : kAttributes) {
    const bool is_set = (area.attributes & attribute.bit) != 0;
    if (is_set == attribute.wanted) continue;
    violations.push_back({attribute.requirement,
                          absl::StrCat("attribute ", attribute.name,
                                       is_set ? " is set" : " is clear")});
  }
  const AlgId scheme = area.scheme.scheme;
  const bool is_rsa = area.type == AlgId::kRsa;
  if (is_rsa ? scheme != AlgId::kRsassa && scheme != AlgId::kRsapss
             : scheme != AlgId::kEcdsa) {
    violations.push_back(
        {AkRequirement::kScheme,
         absl::StrCat("scheme ", AlgIdName(scheme), ", expected ",
                      is_rsa ? "rsassa or rsapss" : "ecdsa")});
  } else if (!area.scheme.hash.has_value() ||
             !IsStrongHash(*area.scheme.hash)) {
    violations.push_back(
        {AkRequirement::kSchemeHash,
         absl::StrCat("scheme hash ",
                      area.scheme.hash.has_value() ? BankName(*area.scheme.hash)
                                                   : std::string("missing"),
                      ", expected sha256 or better")});
  }
  if (!IsStrongHash(area.name_algorithm)) {
    violations.push_back(
        {AkRequirement::kNameAlgorithm,
         absl::StrCat("name algorithm ", BankName(area.name_algorithm),
                      ", expected sha256 or better")});
  }
  if (is_rsa && area.key_bits < kMinRsaBits) {
    violations.push_back(
        {AkRequirement::kKeySize,
         absl::StrCat("RSA key of ", area.key_bits, " bits, expected ",
                      kMinRsaBits, " or more")});
  }
  return violations;
}

}  // namespace cupel::tpm
