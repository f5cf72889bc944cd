// The fields of a template, decoded from an entry's template data.
//
// Trust: as the list's. A template's name is covered by no PCR: what an entry
// is called may never earn it anything.
//
// Format: Linux security/integrity/ima/ima_template.c (`builtin_templates`,
// `supported_fields`) and ima_template_lib.c. Every field is u32 size | bytes;
// the template "ima" is u8[20] digest | u32 size | file name.
#ifndef CUPEL_COMMON_IMA_TEMPLATE_H_
#define CUPEL_COMMON_IMA_TEMPLATE_H_

#include <cstdint>
#include <optional>
#include <span>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/crypto/digest.h"
#include "common/ima/entry.h"
#include "common/util/byte_reader.h"

namespace cupel::ima {

// In bytes, of `n-ng`: twice PATH_MAX, more than the kernel ever writes
// (Linux security/integrity/ima/ima_api.c, ima_d_path).
inline constexpr size_t kMaxNameSize = 8192;

// What the digest field's prefix says the digest is of.
enum class DigestType : uint8_t { kFile, kVerity };

// A file's digest as the entry names it. `algorithm` is empty where the name is
// none that the kernel has: such a digest equals nothing.
struct FileDigest {
  DigestType type = DigestType::kFile;
  // For the field `d`, which has none, "sha1" or "md5" by its size.
  absl::string_view algorithm_name;
  std::optional<crypto::HashAlgorithm> algorithm;
  std::span<const uint8_t> bytes;
};

// An entry's fields; absent ones are empty. Everything aliases the list.
struct EntryFields {
  // Not defaulted: a defaulted one lets `EntryFields()` zero all of it before
  // the members are set, which is a third of ParseFields' time.
  EntryFields() {}

  std::optional<FileDigest> digest;    // d, d-ng, d-ngv2
  absl::string_view path;              // n, n-ng, without the trailing NUL
  std::span<const uint8_t> signature;  // sig: a value of security.ima
  std::optional<std::span<const uint8_t>> buffer;  // buf; may be empty
  // d-modsig; absent too where the file has no appended signature.
  std::optional<FileDigest> modsig_digest;
  std::span<const uint8_t> modsig;         // modsig: PKCS#7
  std::span<const uint8_t> evm_signature;  // evmsig
  absl::string_view xattr_names;           // joined by '|', no NUL
  std::span<const uint8_t> xattr_lengths;  // array of u32
  std::span<const uint8_t> xattr_values;   // one after another
  // iuid, igid, imode; absent too where the entry is about no file.
  std::optional<uint32_t> inode_uid;
  std::optional<uint32_t> inode_gid;
  std::optional<uint16_t> inode_mode;
};

// Decodes the fields of `entry`, which must fit its named template exactly:
// every field in its place, nothing left over; a path with exactly one NUL at
// its end and none inside, at most 255 bytes in `n` and kMaxNameSize in `n-ng`;
// a digest of its
// algorithm's size where the algorithm is known; `ima:` or `verity:` before it
// in `d-ngv2`; integers of their size; extended attributes whose names, lengths
// and values agree in number and size, where the template has them.
//
// Errors: kUnimplemented, an unknown template; kInvalidArgument, fields that do
// not fit, naming the field. Neither stops a replay: HashedTemplateData needs
// no fields.
absl::StatusOr<EntryFields> ParseFields(const Entry& entry,
                                        ByteOrder order = ByteOrder::kLittle);

// The same into `fields`, for callers that decode many entries: whatever it
// held is gone, and after an error what it holds means nothing.
absl::Status ParseFields(const Entry& entry, ByteOrder order,
                         EntryFields& fields);

}  // namespace cupel::ima

#endif  // CUPEL_COMMON_IMA_TEMPLATE_H_
