// Which fields a template has, by its name.
//
// Source: Linux security/integrity/ima/ima_template.c, `builtin_templates`,
// `supported_fields` and template_desc_init_fields().
#ifndef CUPEL_COMMON_IMA_TEMPLATE_FORMAT_H_
#define CUPEL_COMMON_IMA_TEMPLATE_FORMAT_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "absl/strings/string_view.h"

namespace cupel::ima {

enum class FieldId : uint8_t {
  kDigest,        // d
  kName,          // n
  kDigestNg,      // d-ng
  kDigestNgV2,    // d-ngv2
  kNameNg,        // n-ng
  kSignature,     // sig
  kBuffer,        // buf
  kModsigDigest,  // d-modsig
  kModsig,        // modsig
  kEvmSignature,  // evmsig
  kInodeUid,      // iuid
  kInodeGid,      // igid
  kInodeMode,     // imode
  kXattrNames,    // xattrnames
  kXattrLengths,  // xattrlengths
  kXattrValues,   // xattrvalues
};

// The kernel's name of the field: "d-ng".
absl::string_view FieldName(FieldId field);

struct TemplateFormat {
  // Fields that do not exclude each other; the kernel's own bound is 15.
  static constexpr size_t kMaxFields = 13;

  std::array<FieldId, kMaxFields> ids{};
  uint8_t count = 0;

  std::span<const FieldId> fields() const {
    return std::span(ids).first(count);
  }
};

// The format of a built-in template; nullptr for any other name.
const TemplateFormat* FindBuiltinFormat(absl::string_view name);

// The format of a built-in template, or of the format string that a custom one
// has for its name; nullopt for any other name. A format that gives an entry
// two names (`n` and `n-ng`), two file digests (`d`, `d-ng`, `d-ngv2`) or any
// field twice is refused too: which of them counts would be a guess.
std::optional<TemplateFormat> FindTemplateFormat(absl::string_view name);

}  // namespace cupel::ima

#endif  // CUPEL_COMMON_IMA_TEMPLATE_FORMAT_H_
