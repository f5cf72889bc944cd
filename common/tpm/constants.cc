#include "common/tpm/constants.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/crypto/pcr.h"

namespace cupel::tpm {
namespace {

using crypto::HashAlgorithm;

absl::string_view KnownAlgIdName(AlgId id) {
  switch (id) {
    case AlgId::kRsa:
      return "rsa";
    case AlgId::kSha1:
      return "sha1";
    case AlgId::kAes:
      return "aes";
    case AlgId::kKeyedHash:
      return "keyedhash";
    case AlgId::kSha256:
      return "sha256";
    case AlgId::kSha384:
      return "sha384";
    case AlgId::kSha512:
      return "sha512";
    case AlgId::kNull:
      return "null";
    case AlgId::kSm3_256:
      return "sm3_256";
    case AlgId::kSm4:
      return "sm4";
    case AlgId::kRsassa:
      return "rsassa";
    case AlgId::kRsaes:
      return "rsaes";
    case AlgId::kRsapss:
      return "rsapss";
    case AlgId::kOaep:
      return "oaep";
    case AlgId::kEcdsa:
      return "ecdsa";
    case AlgId::kEcdh:
      return "ecdh";
    case AlgId::kEcdaa:
      return "ecdaa";
    case AlgId::kSm2:
      return "sm2";
    case AlgId::kEcschnorr:
      return "ecschnorr";
    case AlgId::kEcmqv:
      return "ecmqv";
    case AlgId::kKdf1Sp800_56a:
      return "kdf1_sp800_56a";
    case AlgId::kKdf2:
      return "kdf2";
    case AlgId::kKdf1Sp800_108:
      return "kdf1_sp800_108";
    case AlgId::kEcc:
      return "ecc";
    case AlgId::kSymcipher:
      return "symcipher";
    case AlgId::kCamellia:
      return "camellia";
    case AlgId::kSha3_256:
      return "sha3_256";
    case AlgId::kSha3_384:
      return "sha3_384";
    case AlgId::kSha3_512:
      return "sha3_512";
    case AlgId::kCtr:
      return "ctr";
    case AlgId::kOfb:
      return "ofb";
    case AlgId::kCbc:
      return "cbc";
    case AlgId::kCfb:
      return "cfb";
    case AlgId::kEcb:
      return "ecb";
  }
  return "";
}

}  // namespace

std::string AlgIdName(AlgId id) {
  const absl::string_view name = KnownAlgIdName(id);
  if (!name.empty()) return std::string(name);
  return absl::StrCat("algorithm 0x",
                      absl::Hex(static_cast<uint16_t>(id), absl::kZeroPad4));
}

std::optional<HashAlgorithm> HashFromAlgId(AlgId id) {
  return crypto::BankFromTcgId(static_cast<uint16_t>(id));
}

std::optional<AlgId> AlgIdFromHash(HashAlgorithm algorithm) {
  const std::optional<uint16_t> id = crypto::BankTcgId(algorithm);
  if (!id.has_value()) return std::nullopt;
  return static_cast<AlgId>(*id);
}

std::string BankName(HashAlgorithm bank) {
  if (const std::optional<AlgId> id = AlgIdFromHash(bank)) {
    return AlgIdName(*id);
  }
  return std::string(crypto::HashAlgorithmName(bank));
}

std::optional<HashAlgorithm> BankFromName(absl::string_view name) {
  const std::string lower = absl::AsciiStrToLower(name);
  for (const HashAlgorithm bank : crypto::kPcrBanks) {
    if (lower == BankName(bank) || lower == crypto::HashAlgorithmName(bank)) {
      return bank;
    }
  }
  return std::nullopt;
}

bool IsStrongHash(HashAlgorithm algorithm) {
  return algorithm == HashAlgorithm::kSha256 ||
         algorithm == HashAlgorithm::kSha384 ||
         algorithm == HashAlgorithm::kSha512;
}

std::string StructureTagName(StructureTag tag) {
  switch (tag) {
    case StructureTag::kAttestNv:
      return "nv";
    case StructureTag::kAttestCommandAudit:
      return "command audit";
    case StructureTag::kAttestSessionAudit:
      return "session audit";
    case StructureTag::kAttestCertify:
      return "certify";
    case StructureTag::kAttestQuote:
      return "quote";
    case StructureTag::kAttestTime:
      return "time";
    case StructureTag::kAttestCreation:
      return "creation";
    case StructureTag::kAttestNvDigest:
      return "nv digest";
  }
  return absl::StrCat("0x",
                      absl::Hex(static_cast<uint16_t>(tag), absl::kZeroPad4));
}

}  // namespace cupel::tpm
