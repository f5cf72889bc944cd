#include "common/ima/template.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "absl/base/optimization.h"
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "common/ima/hashed_data.h"
#include "common/ima/load_u32.h"
#include "common/ima/template_format.h"
#include "common/util/bytes.h"

namespace cupel::ima {
namespace {

using ::cupel::crypto::HashAlgorithm;

// Member by member: a whole FileDigest on its way into the optional costs more
// than all the rest of a d-ng field.
void SetDigest(DigestType type, absl::string_view algorithm_name,
               std::optional<HashAlgorithm> algorithm,
               std::span<const uint8_t> bytes,
               std::optional<FileDigest>& digest) {
  FileDigest& out = digest.emplace();
  out.type = type;
  out.algorithm_name = algorithm_name;
  out.algorithm = algorithm;
  out.bytes = bytes;
}

// Every decoder returns what is wrong, or nullptr: it runs once an entry and
// field, where an absl::Status a field would be felt.
using Problem = const char*;

constexpr size_t kMd5Size = 16;

bool HasNul(absl::string_view text) {
  return !text.empty() && std::memchr(text.data(), 0, text.size()) != nullptr;
}

// `d`: the digest alone. Its algorithm can only be SHA-1 or MD5
// (ima_template_hash_algo_allowed).
Problem DecodeBareDigest(std::span<const uint8_t> bytes,
                         std::optional<FileDigest>& digest) {
  if (bytes.size() != kLegacyDigestSize && bytes.size() != kMd5Size) {
    return "neither 16 nor 20 bytes";
  }
  const HashAlgorithm algorithm =
      bytes.size() == kMd5Size ? HashAlgorithm::kMd5 : HashAlgorithm::kSha1;
  SetDigest(DigestType::kFile, crypto::HashAlgorithmName(algorithm), algorithm,
            bytes, digest);
  return nullptr;
}

// `d-ng`, `d-modsig`, and `d-ngv2` after its prefix:
// algorithm name | ':' | NUL | digest.
Problem DecodeNamedDigest(std::span<const uint8_t> bytes, DigestType type,
                          std::optional<FileDigest>& digest) {
  constexpr char kSha256[] = "sha256:";  // with its NUL
  constexpr size_t kSha256Size = 32;
  if (ABSL_PREDICT_TRUE(bytes.size() == sizeof(kSha256) + kSha256Size &&
                        std::memcmp(bytes.data(), kSha256, sizeof(kSha256)) ==
                            0)) {
    SetDigest(type, AsText(bytes.first(6)), HashAlgorithm::kSha256,
              bytes.last(kSha256Size), digest);
    return nullptr;
  }

  const absl::string_view text = AsText(bytes);
  const size_t colon = text.find(':');
  if (colon == absl::string_view::npos || colon == 0) {
    return "no algorithm name before a colon";
  }
  const absl::string_view name = text.substr(0, colon);
  if (!std::ranges::all_of(name, [](char c) { return c > ' ' && c <= '~'; })) {
    return "algorithm name is not printable ASCII";
  }
  if (colon + 1 == text.size() || text[colon + 1] != '\0') {
    return "no NUL after the algorithm's colon";
  }
  const std::optional<HashAlgorithm> algorithm =
      crypto::HashAlgorithmFromName(name);
  const std::span<const uint8_t> value = bytes.subspan(colon + 2);
  if (algorithm && value.size() != crypto::DigestSize(*algorithm)) {
    return "digest is not of its algorithm's size";
  }
  SetDigest(type, name, algorithm, value, digest);
  return nullptr;
}

Problem DecodeTypedDigest(std::span<const uint8_t> bytes,
                          std::optional<FileDigest>& digest) {
  constexpr absl::string_view kFilePrefix = "ima:";
  constexpr absl::string_view kVerityPrefix = "verity:";
  const absl::string_view text = AsText(bytes);
  if (absl::StartsWith(text, kFilePrefix)) {
    return DecodeNamedDigest(bytes.subspan(kFilePrefix.size()),
                             DigestType::kFile, digest);
  }
  if (absl::StartsWith(text, kVerityPrefix)) {
    return DecodeNamedDigest(bytes.subspan(kVerityPrefix.size()),
                             DigestType::kVerity, digest);
  }
  return "neither \"ima:\" nor \"verity:\" before the digest";
}

// Text with exactly one NUL, its last byte.
Problem DecodeString(std::span<const uint8_t> bytes, absl::string_view& text) {
  if (bytes.empty() || bytes.back() != 0) return "does not end in NUL";
  const absl::string_view value = AsText(bytes.first(bytes.size() - 1));
  if (HasNul(value)) return "has a NUL inside";
  text = value;
  return nullptr;
}

Problem DecodeXattrNames(std::span<const uint8_t> bytes,
                         absl::string_view& names) {
  if (bytes.empty()) return nullptr;  // a file without any
  if (Problem problem = DecodeString(bytes, names)) return problem;
  if (names.empty() || names.front() == '|' || names.back() == '|' ||
      absl::StrContains(names, "||")) {
    return "has an empty name";
  }
  return nullptr;
}

template <typename T>
Problem DecodeInteger(std::span<const uint8_t> bytes, ByteOrder order,
                      std::optional<T>& value) {
  if (bytes.empty()) return nullptr;  // an entry about no file
  absl::StatusOr<T> read = absl::InternalError("");
  ByteReader reader(bytes, order);
  if constexpr (sizeof(T) == sizeof(uint16_t)) {
    read = reader.ReadU16("");
  } else {
    read = reader.ReadU32("");
  }
  if (!read.ok() || !reader.empty()) return "is not of its size";
  value = *read;
  return nullptr;
}

Problem DecodeField(FieldId field, std::span<const uint8_t> bytes,
                    ByteOrder order, EntryFields& out) {
  switch (field) {
    case FieldId::kDigestNg:
      return DecodeNamedDigest(bytes, DigestType::kFile, out.digest);
    case FieldId::kNameNg:
      if (bytes.size() > kMaxNameSize + 1) return "longer than 8192 bytes";
      return DecodeString(bytes, out.path);
    case FieldId::kSignature:
      out.signature = bytes;
      return nullptr;
    case FieldId::kDigest:
      return DecodeBareDigest(bytes, out.digest);
    case FieldId::kName:
      if (bytes.size() > kLegacyMaxFileNameSize + 1) {
        return "longer than 255 bytes";
      }
      return DecodeString(bytes, out.path);
    case FieldId::kDigestNgV2:
      return DecodeTypedDigest(bytes, out.digest);
    case FieldId::kBuffer:
      out.buffer = bytes;
      return nullptr;
    case FieldId::kModsigDigest:
      if (bytes.empty()) return nullptr;  // a file without modsig
      return DecodeNamedDigest(bytes, DigestType::kFile, out.modsig_digest);
    case FieldId::kModsig:
      out.modsig = bytes;
      return nullptr;
    case FieldId::kEvmSignature:
      out.evm_signature = bytes;
      return nullptr;
    case FieldId::kInodeUid:
      return DecodeInteger(bytes, order, out.inode_uid);
    case FieldId::kInodeGid:
      return DecodeInteger(bytes, order, out.inode_gid);
    case FieldId::kInodeMode:
      return DecodeInteger(bytes, order, out.inode_mode);
    case FieldId::kXattrNames:
      return DecodeXattrNames(bytes, out.xattr_names);
    case FieldId::kXattrLengths:
      if (bytes.size() % kU32Size != 0) return "is no array of u32";
      out.xattr_lengths = bytes;
      return nullptr;
    case FieldId::kXattrValues:
      out.xattr_values = bytes;
      return nullptr;
  }
  return "is unknown";
}

// Names, lengths and values come from three walks over the same attributes.
Problem CheckXattrs(const TemplateFormat& format, ByteOrder order,
                    const EntryFields& fields) {
  bool has_names = false;
  bool has_lengths = false;
  bool has_values = false;
  for (const FieldId field : format.fields()) {
    has_names |= field == FieldId::kXattrNames;
    has_lengths |= field == FieldId::kXattrLengths;
    has_values |= field == FieldId::kXattrValues;
  }
  if (!has_lengths) return nullptr;
  const std::span<const uint8_t> lengths = fields.xattr_lengths;
  if (has_names) {
    const absl::string_view names = fields.xattr_names;
    const auto bars = static_cast<size_t>(std::ranges::count(names, '|'));
    if (lengths.size() / kU32Size != (names.empty() ? 0 : bars + 1)) {
      return "has another number of lengths than there are names";
    }
  }
  if (has_values) {
    uint64_t sum = 0;
    for (size_t at = 0; at < lengths.size(); at += kU32Size) {
      sum += LoadU32(lengths.data() + at, order);
    }
    if (sum != fields.xattr_values.size()) {
      return "does not add up to the values' size";
    }
  }
  return nullptr;
}

absl::Status FieldError(FieldId field, Problem problem) {
  return absl::InvalidArgumentError(
      absl::StrCat("field ", FieldName(field), " ", problem));
}

absl::Status ParseLegacy(std::span<const uint8_t> data, ByteOrder order,
                         EntryFields& out) {
  ByteReader reader(data, order);
  CUPEL_ASSIGN_OR_RETURN(const auto digest,
                         reader.ReadBytes(kLegacyDigestSize, "field d"));
  if (Problem problem = DecodeBareDigest(digest, out.digest)) {
    return FieldError(FieldId::kDigest, problem);
  }
  CUPEL_ASSIGN_OR_RETURN(const uint32_t size, reader.ReadU32("field n"));
  if (size > kLegacyMaxFileNameSize) {
    return FieldError(FieldId::kName, "longer than 255 bytes");
  }
  CUPEL_ASSIGN_OR_RETURN(const auto name, reader.ReadBytes(size, "field n"));
  if (HasNul(AsText(name))) return FieldError(FieldId::kName, "has a NUL");
  out.path = AsText(name);
  return reader.ExpectEnd("template data");
}

}  // namespace

absl::StatusOr<EntryFields> ParseFields(const Entry& entry, ByteOrder order) {
  // Built in place: EntryFields is large.
  absl::StatusOr<EntryFields> result(absl::in_place);
  const absl::Status status = ParseFields(entry, order, *result);
  if (!status.ok()) result = status;
  return result;
}

absl::Status ParseFields(const Entry& entry, ByteOrder order,
                         EntryFields& fields) {
  fields = EntryFields();
  if (ABSL_PREDICT_FALSE(entry.IsLegacy())) {
    return ParseLegacy(entry.template_data, order, fields);
  }
  const TemplateFormat* format = FindBuiltinFormat(entry.template_name);
  std::optional<TemplateFormat> custom;
  if (ABSL_PREDICT_FALSE(format == nullptr)) {
    custom = FindTemplateFormat(entry.template_name);
    if (!custom) {
      return absl::UnimplementedError(
          absl::StrCat("unknown template \"", entry.template_name, "\""));
    }
    format = &*custom;
  }

  std::span<const uint8_t> rest = entry.template_data;
  bool has_xattrs = false;
  for (const FieldId field : format->fields()) {
    Problem problem = nullptr;
    if (rest.size() < kU32Size) {
      problem = "is cut off";
    } else {
      const uint32_t size = LoadU32(rest.data(), order);
      rest = rest.subspan(kU32Size);
      if (size > rest.size()) {
        problem = "is cut off";
      } else {
        problem = DecodeField(field, rest.first(size), order, fields);
        rest = rest.subspan(size);
      }
    }
    if (ABSL_PREDICT_FALSE(problem != nullptr)) {
      return FieldError(field, problem);
    }
    has_xattrs |= field == FieldId::kXattrLengths;
  }
  if (ABSL_PREDICT_FALSE(!rest.empty())) {
    return absl::InvalidArgumentError(absl::StrCat(
        "template data: ", rest.size(), " bytes left over after the fields of ",
        entry.template_name));
  }
  if (ABSL_PREDICT_FALSE(has_xattrs)) {
    if (Problem problem = CheckXattrs(*format, order, fields)) {
      return FieldError(FieldId::kXattrLengths, problem);
    }
  }
  return absl::OkStatus();
}

}  // namespace cupel::ima
