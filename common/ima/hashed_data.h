// What the kernel hashes of a record.
//
// Source: Linux security/integrity/ima/ima_crypto.c,
// ima_calc_field_array_hash_tfm().
#ifndef CUPEL_COMMON_IMA_HASHED_DATA_H_
#define CUPEL_COMMON_IMA_HASHED_DATA_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "common/crypto/digest.h"
#include "common/ima/entry.h"

namespace cupel::ima {

// Room for the template "ima": digest, and file name padded to
// IMA_EVENT_NAME_LEN_MAX + 1.
inline constexpr size_t kLegacyDigestSize = 20;
inline constexpr size_t kLegacyMaxFileNameSize = 255;
using LegacyTemplateBuffer =
    std::array<uint8_t, kLegacyDigestSize + kLegacyMaxFileNameSize + 1>;

// The bytes whose hash is the template digest: the template data as it is, or,
// for the template "ima", digest and file name without their sizes, the name
// zero-padded to 256 bytes. Needs no fields to fit: an entry of an unknown
// template, or with fields that make no sense, has its hash all the same.
//
// An "ima" entry whose template data is no `digest | u32 | name` with a name of
// at most 255 bytes can come from no list that ListParser has taken; it counts
// with its template data as it is.
//
// Aliases the entry's template data, or `buffer`.
std::span<const uint8_t> HashedTemplateData(const Entry& entry,
                                            LegacyTemplateBuffer& buffer);

// The hash of those bytes. `algorithm` must satisfy crypto::CanHash.
//
// For a violation this is not what the record shows nor what the PCR was
// extended with: see Entry::IsViolation.
crypto::Digest TemplateDigest(const Entry& entry,
                              crypto::HashAlgorithm algorithm);

// What the record's column with the template digest has to show: the digest of
// its data, by the hash whose size the column has. In the list of one of
// `padded_banks`, which the kernel fills with padded SHA-1 digests, that is the
// SHA-1 digest with zeros behind it. nullopt if the column has no hash's size.
//
// Not for violations, whose column is zeros.
std::optional<crypto::Digest> ExpectedTemplateDigest(
    const Entry& entry,
    std::span<const crypto::HashAlgorithm> padded_banks = {});

// True if the column shows that. No PCR covers it; a wrong one says that the
// record was touched after the kernel wrote it. False for violations.
bool HasOwnTemplateDigest(
    const Entry& entry,
    std::span<const crypto::HashAlgorithm> padded_banks = {});

}  // namespace cupel::ima

#endif  // CUPEL_COMMON_IMA_HASHED_DATA_H_
