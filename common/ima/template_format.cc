#include "common/ima/template_format.h"

#include <initializer_list>

namespace cupel::ima {
namespace {

struct FieldInfo {
  absl::string_view name;
  // Fields of the same slot exclude each other in a format, which also bounds
  // how many fields one can have.
  uint8_t slot;
};

// In the order of FieldId. There are kMaxFields slots.
constexpr std::array<FieldInfo, 16> kFields = {{
    {"d", 0},
    {"n", 1},
    {"d-ng", 0},
    {"d-ngv2", 0},
    {"n-ng", 1},
    {"sig", 2},
    {"buf", 3},
    {"d-modsig", 4},
    {"modsig", 5},
    {"evmsig", 6},
    {"iuid", 7},
    {"igid", 8},
    {"imode", 9},
    {"xattrnames", 10},
    {"xattrlengths", 11},
    {"xattrvalues", 12},
}};

constexpr TemplateFormat Format(std::initializer_list<FieldId> fields) {
  TemplateFormat format;
  for (const FieldId field : fields) format.ids[format.count++] = field;
  return format;
}

using enum FieldId;
constexpr TemplateFormat kIma = Format({kDigest, kName});
constexpr TemplateFormat kImaNg = Format({kDigestNg, kNameNg});
constexpr TemplateFormat kImaSig = Format({kDigestNg, kNameNg, kSignature});
constexpr TemplateFormat kImaNgV2 = Format({kDigestNgV2, kNameNg});
constexpr TemplateFormat kImaSigV2 = Format({kDigestNgV2, kNameNg, kSignature});
constexpr TemplateFormat kImaBuf = Format({kDigestNg, kNameNg, kBuffer});
constexpr TemplateFormat kImaModsig =
    Format({kDigestNg, kNameNg, kSignature, kModsigDigest, kModsig});
constexpr TemplateFormat kEvmSig =
    Format({kDigestNg, kNameNg, kEvmSignature, kXattrNames, kXattrLengths,
            kXattrValues, kInodeUid, kInodeGid, kInodeMode});

std::optional<FieldId> FindField(absl::string_view name) {
  for (size_t i = 0; i < kFields.size(); ++i) {
    if (kFields[i].name == name) return static_cast<FieldId>(i);
  }
  return std::nullopt;
}

std::optional<TemplateFormat> ParseFormatString(absl::string_view text) {
  TemplateFormat format;
  uint32_t slots = 0;
  while (true) {
    const size_t end = text.find('|');
    const std::optional<FieldId> field = FindField(text.substr(0, end));
    if (!field) return std::nullopt;
    const uint32_t slot = 1U << kFields[static_cast<size_t>(*field)].slot;
    if ((slots & slot) != 0) return std::nullopt;
    slots |= slot;
    format.ids[format.count++] = *field;
    if (end == absl::string_view::npos) return format;
    text.remove_prefix(end + 1);
  }
}

}  // namespace

absl::string_view FieldName(FieldId field) {
  return kFields[static_cast<size_t>(field)].name;
}

const TemplateFormat* FindBuiltinFormat(absl::string_view name) {
  // Once an entry: the common ones first, and nothing but comparisons.
  if (name == "ima-ng") return &kImaNg;
  if (name == "ima-sig") return &kImaSig;
  if (name == "ima-buf") return &kImaBuf;
  if (name == "ima-ngv2") return &kImaNgV2;
  if (name == "ima-sigv2") return &kImaSigV2;
  if (name == "ima-modsig") return &kImaModsig;
  if (name == "evm-sig") return &kEvmSig;
  if (name == "ima") return &kIma;
  return nullptr;
}

std::optional<TemplateFormat> FindTemplateFormat(absl::string_view name) {
  if (const TemplateFormat* format = FindBuiltinFormat(name)) return *format;
  return ParseFormatString(name);
}

}  // namespace cupel::ima
