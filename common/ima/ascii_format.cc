#include "common/ima/ascii_format.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "common/ima/template.h"
#include "common/ima/template_format.h"
#include "common/util/bytes.h"
#include "common/util/hex.h"
#include "common/util/status_macros.h"

namespace cupel::ima {
namespace {

// The prefix of a digest field, up to its NUL.
absl::string_view DigestPrefix(std::span<const uint8_t> field,
                               const FileDigest& digest) {
  const absl::string_view text = AsText(field);
  return text.substr(0, text.size() - digest.bytes.size() - 1);
}

}  // namespace

absl::StatusOr<std::string> FormatAsciiEntry(const Entry& entry,
                                             ByteOrder order) {
  CUPEL_ASSIGN_OR_RETURN(const EntryFields fields, ParseFields(entry, order));
  std::string line =
      absl::StrFormat("%2d %s %s", entry.pcr, HexEncode(entry.template_digest),
                      std::string(entry.template_name));
  if (entry.IsLegacy()) {
    absl::StrAppend(&line, " ", HexEncode(fields.digest->bytes), " ",
                    fields.path);
    return line;
  }

  // ParseFields has seen these sizes already.
  ByteReader reader(entry.template_data, order);
  const std::optional<TemplateFormat> format =
      FindTemplateFormat(entry.template_name);
  for (const FieldId field : format->fields()) {
    CUPEL_ASSIGN_OR_RETURN(
        const auto bytes,
        reader.ReadSized32(entry.template_data.size(), FieldName(field)));
    absl::StrAppend(&line, " ");
    if (bytes.empty()) continue;
    switch (field) {
      case FieldId::kDigestNg:
      case FieldId::kDigestNgV2:
        absl::StrAppend(&line, DigestPrefix(bytes, *fields.digest),
                        HexEncode(fields.digest->bytes));
        break;
      case FieldId::kModsigDigest:
        absl::StrAppend(&line, DigestPrefix(bytes, *fields.modsig_digest),
                        HexEncode(fields.modsig_digest->bytes));
        break;
      case FieldId::kName:
      case FieldId::kNameNg:
        absl::StrAppend(&line, fields.path);
        break;
      case FieldId::kXattrNames:
        absl::StrAppend(&line, fields.xattr_names);
        break;
      case FieldId::kInodeUid:
        absl::StrAppend(&line, *fields.inode_uid);
        break;
      case FieldId::kInodeGid:
        absl::StrAppend(&line, *fields.inode_gid);
        break;
      case FieldId::kInodeMode:
        absl::StrAppend(&line, *fields.inode_mode);
        break;
      default:
        absl::StrAppend(&line, HexEncode(bytes));
        break;
    }
  }
  return line;
}

}  // namespace cupel::ima
