// The constants of TPM 2.0 Part 2 that this module uses, and the mapping of
// hash algorithms.
#ifndef CUPEL_COMMON_TPM_CONSTANTS_H_
#define CUPEL_COMMON_TPM_CONSTANTS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "common/crypto/digest.h"

namespace cupel::tpm {

// TPM_GENERATED_VALUE: 0xff, "TCG". TPM 2.0 Part 2, 6.2.
inline constexpr uint32_t kGeneratedValue = 0xff544347;

// TPM_ALG_ID. TPM 2.0 Part 2, 6.3. A value outside of the enumerators is
// possible: it is what the peer sent.
enum class AlgId : uint16_t {
  kRsa = 0x0001,
  kSha1 = 0x0004,
  kAes = 0x0006,
  kKeyedHash = 0x0008,
  kSha256 = 0x000b,
  kSha384 = 0x000c,
  kSha512 = 0x000d,
  kNull = 0x0010,
  kSm3_256 = 0x0012,
  kSm4 = 0x0013,
  kRsassa = 0x0014,
  kRsaes = 0x0015,
  kRsapss = 0x0016,
  kOaep = 0x0017,
  kEcdsa = 0x0018,
  kEcdh = 0x0019,
  kEcdaa = 0x001a,
  kSm2 = 0x001b,
  kEcschnorr = 0x001c,
  kEcmqv = 0x001d,
  kKdf1Sp800_56a = 0x0020,
  kKdf2 = 0x0021,
  kKdf1Sp800_108 = 0x0022,
  kEcc = 0x0023,
  kSymcipher = 0x0025,
  kCamellia = 0x0026,
  kSha3_256 = 0x0027,
  kSha3_384 = 0x0028,
  kSha3_512 = 0x0029,
  kCtr = 0x0040,
  kOfb = 0x0041,
  kCbc = 0x0042,
  kCfb = 0x0043,
  kEcb = 0x0044,
};

// tpm2-tools' name ("rsassa", "sha3_256"), or "algorithm 0x1234".
std::string AlgIdName(AlgId id);

// The hash algorithm of an id; nullopt for an id of something else, or of a
// hash that Cupel does not know.
std::optional<crypto::HashAlgorithm> HashFromAlgId(AlgId id);
// The inverse; nullopt for an algorithm that has no TPM_ALG_ID (MD5, SHA-224).
std::optional<AlgId> AlgIdFromHash(crypto::HashAlgorithm algorithm);

// The names of banks as tpm2-tools writes them: "sha256", "sm3_256",
// "sha3_256". The inverse also takes the kernel's names and upper case, as in
// some tools' output; nullopt for anything else.
std::string BankName(crypto::HashAlgorithm bank);
std::optional<crypto::HashAlgorithm> BankFromName(absl::string_view name);

// True for SHA-256, SHA-384 and SHA-512: what may sign, name keys and make
// policies.
bool IsStrongHash(crypto::HashAlgorithm algorithm);

// TPM_ST. TPM 2.0 Part 2, 6.9.
enum class StructureTag : uint16_t {
  kAttestNv = 0x8014,
  kAttestCommandAudit = 0x8015,
  kAttestSessionAudit = 0x8016,
  kAttestCertify = 0x8017,
  kAttestQuote = 0x8018,
  kAttestTime = 0x8019,
  kAttestCreation = 0x801a,
  kAttestNvDigest = 0x801c,
};
// "quote", "certify", or "0x1234".
std::string StructureTagName(StructureTag tag);

// TPM_RH_ENDORSEMENT. TPM 2.0 Part 2, 7.4.
inline constexpr uint32_t kRhEndorsement = 0x4000000b;

// TPM_ECC_CURVE. TPM 2.0 Part 2, 6.4.
inline constexpr uint16_t kCurveP256 = 0x0003;
inline constexpr uint16_t kCurveP384 = 0x0004;

// TPMA_OBJECT. TPM 2.0 Part 2, 8.3.
inline constexpr uint32_t kAttrFixedTpm = 1u << 1;
inline constexpr uint32_t kAttrStClear = 1u << 2;
inline constexpr uint32_t kAttrFixedParent = 1u << 4;
inline constexpr uint32_t kAttrSensitiveDataOrigin = 1u << 5;
inline constexpr uint32_t kAttrUserWithAuth = 1u << 6;
inline constexpr uint32_t kAttrAdminWithPolicy = 1u << 7;
inline constexpr uint32_t kAttrFirmwareLimited = 1u << 8;
inline constexpr uint32_t kAttrSvnLimited = 1u << 9;
inline constexpr uint32_t kAttrNoDa = 1u << 10;
inline constexpr uint32_t kAttrEncryptedDuplication = 1u << 11;
inline constexpr uint32_t kAttrRestricted = 1u << 16;
inline constexpr uint32_t kAttrDecrypt = 1u << 17;
inline constexpr uint32_t kAttrSign = 1u << 18;
inline constexpr uint32_t kAttrX509Sign = 1u << 19;
inline constexpr uint32_t kAttrDefined =
    kAttrFixedTpm | kAttrStClear | kAttrFixedParent | kAttrSensitiveDataOrigin |
    kAttrUserWithAuth | kAttrAdminWithPolicy | kAttrFirmwareLimited |
    kAttrSvnLimited | kAttrNoDa | kAttrEncryptedDuplication | kAttrRestricted |
    kAttrDecrypt | kAttrSign | kAttrX509Sign;

// The largest digest of any algorithm, as TPM2B_DIGEST's buffer.
inline constexpr size_t kMaxDigestBuffer = 64;
// A TPM2B_NAME: an algorithm id and a digest. TPM 2.0 Part 2, 10.5.3.
inline constexpr size_t kMaxNameSize = 2 + kMaxDigestBuffer;
// TPM2B_DATA: a TPMT_HA. TPM 2.0 Part 2, 10.4.3.
inline constexpr size_t kMaxDataSize = 2 + kMaxDigestBuffer;
// RSA-4096 is the largest that a TPM has. Checking a signature takes time that
// grows with the square of its key's size, and keys come from strangers.
inline constexpr size_t kMaxRsaBytes = 512;
// A coordinate on P-521.
inline constexpr size_t kMaxEccBytes = 66;

}  // namespace cupel::tpm

#endif  // CUPEL_COMMON_TPM_CONSTANTS_H_
