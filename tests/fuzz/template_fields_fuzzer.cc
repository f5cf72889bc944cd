// Fields that parse must be all that there is: they encode to the same bytes.
// Input: flags, size of the template's name, name, template data.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <span>
#include <vector>

#include "absl/strings/string_view.h"
#include "common/ima/hashed_data.h"
#include "common/ima/template.h"
#include "common/ima/template_format.h"
#include "common/util/bytes.h"

namespace {

using ::cupel::Append;
using ::cupel::AsBytes;
using ::cupel::ByteOrder;
using ::cupel::ima::DigestType;
using ::cupel::ima::Entry;
using ::cupel::ima::EntryFields;
using ::cupel::ima::FieldId;
using ::cupel::ima::FileDigest;

void Require(bool condition) {
  if (!condition) std::abort();
}

template <typename T>
void AppendInteger(std::vector<uint8_t>& out, T value, ByteOrder order) {
  std::vector<uint8_t> bytes;
  cupel::AppendBe(bytes, value);
  if (order == ByteOrder::kLittle) std::ranges::reverse(bytes);
  Append(out, bytes);
}

std::vector<uint8_t> Named(const FileDigest& digest) {
  std::vector<uint8_t> out = cupel::ToVector(AsBytes(digest.algorithm_name));
  out.push_back(':');
  out.push_back(0);
  Append(out, digest.bytes);
  return out;
}

std::vector<uint8_t> Text(absl::string_view text) {
  std::vector<uint8_t> out = cupel::ToVector(AsBytes(text));
  out.push_back(0);
  return out;
}

template <typename T>
std::vector<uint8_t> Integer(const std::optional<T>& value, ByteOrder order) {
  std::vector<uint8_t> out;
  if (value) AppendInteger(out, *value, order);
  return out;
}

std::vector<uint8_t> Content(FieldId field, const EntryFields& fields,
                             ByteOrder order) {
  using cupel::ToVector;
  switch (field) {
    case FieldId::kDigest:
      return ToVector(fields.digest->bytes);
    case FieldId::kDigestNg:
      Require(fields.digest->type == DigestType::kFile);
      return Named(*fields.digest);
    case FieldId::kDigestNgV2: {
      std::vector<uint8_t> out = ToVector(AsBytes(
          fields.digest->type == DigestType::kVerity ? "verity:" : "ima:"));
      Append(out, Named(*fields.digest));
      return out;
    }
    case FieldId::kName:
    case FieldId::kNameNg:
      return Text(fields.path);
    case FieldId::kSignature:
      return ToVector(fields.signature);
    case FieldId::kBuffer:
      return ToVector(*fields.buffer);
    case FieldId::kModsigDigest:
      return fields.modsig_digest ? Named(*fields.modsig_digest)
                                  : std::vector<uint8_t>();
    case FieldId::kModsig:
      return ToVector(fields.modsig);
    case FieldId::kEvmSignature:
      return ToVector(fields.evm_signature);
    case FieldId::kXattrNames:
      return fields.xattr_names.empty() ? std::vector<uint8_t>()
                                        : Text(fields.xattr_names);
    case FieldId::kXattrLengths:
      return ToVector(fields.xattr_lengths);
    case FieldId::kXattrValues:
      return ToVector(fields.xattr_values);
    case FieldId::kInodeUid:
      return Integer(fields.inode_uid, order);
    case FieldId::kInodeGid:
      return Integer(fields.inode_gid, order);
    case FieldId::kInodeMode:
      return Integer(fields.inode_mode, order);
  }
  std::abort();
}

std::vector<uint8_t> Encode(const Entry& entry, const EntryFields& fields,
                            ByteOrder order) {
  std::vector<uint8_t> out;
  if (entry.IsLegacy()) {
    Append(out, fields.digest->bytes);
    AppendInteger(out, static_cast<uint32_t>(fields.path.size()), order);
    Append(out, AsBytes(fields.path));
    return out;
  }
  const auto format = cupel::ima::FindTemplateFormat(entry.template_name);
  for (const FieldId field : format->fields()) {
    const std::vector<uint8_t> content = Content(field, fields, order);
    AppendInteger(out, static_cast<uint32_t>(content.size()), order);
    Append(out, content);
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2 || data[1] > size - 2) return 0;
  const ByteOrder order =
      (data[0] & 1) != 0 ? ByteOrder::kBig : ByteOrder::kLittle;
  Entry entry;
  entry.template_name = cupel::AsText({data + 2, data[1]});
  entry.template_data = {data + 2 + data[1], size - 2 - data[1]};

  // Every entry has its hash, whatever its fields are.
  cupel::ima::LegacyTemplateBuffer buffer;
  static_cast<void>(cupel::ima::HashedTemplateData(entry, buffer));

  const auto fields = cupel::ima::ParseFields(entry, order);
  Require(
      (cupel::ima::FindTemplateFormat(entry.template_name) == std::nullopt) ==
      (fields.status().code() == absl::StatusCode::kUnimplemented));
  if (!fields.ok()) return 0;
  Require(
      std::ranges::equal(Encode(entry, *fields, order), entry.template_data));
  Require(fields->path.find('\0') == absl::string_view::npos);
  if (fields->digest && fields->digest->algorithm) {
    Require(fields->digest->bytes.size() ==
            cupel::crypto::DigestSize(*fields->digest->algorithm));
  }
  return 0;
}
