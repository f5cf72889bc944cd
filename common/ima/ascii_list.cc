#include "common/ima/ascii_list.h"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/ima/hashed_data.h"
#include "common/ima/template.h"
#include "common/ima/template_format.h"
#include "common/util/bytes.h"
#include "common/util/hex.h"
#include "common/util/status_context.h"
#include "common/util/status_macros.h"

namespace cupel::ima {
namespace {

// Writes integers in the list's byte order at the end of the binary form.
class Writer {
 public:
  Writer(std::vector<uint8_t>& out, ByteOrder order)
      : out_(out), order_(order) {}

  template <typename T>
  void Integer(T value) {
    for (size_t i = 0; i < sizeof(T); ++i) {
      const size_t at = order_ == ByteOrder::kBig ? sizeof(T) - 1 - i : i;
      out_.push_back(static_cast<uint8_t>(value >> 8 * at));
    }
  }
  // A line is far shorter than 4 GiB: Parse sees to that.
  void Size(size_t size) { Integer(static_cast<uint32_t>(size)); }
  void Bytes(std::span<const uint8_t> bytes) { Append(out_, bytes); }
  void Text(absl::string_view text) { Bytes(AsBytes(text)); }
  void Nul() { out_.push_back(0); }

  absl::Status Hex(absl::string_view hex) {
    const size_t at = out_.size();
    if (hex.size() % 2 != 0) {
      return absl::InvalidArgumentError("odd number of hex digits");
    }
    out_.resize(at + hex.size() / 2);
    if (!HexDecodeTo(hex, std::span(out_).subspan(at))) {
      return absl::InvalidArgumentError("not hex");
    }
    return absl::OkStatus();
  }

  // Reserves a size field, which FillSize sets to what was written since.
  size_t BeginSized() {
    Size(0);
    return out_.size();
  }
  void FillSize(size_t begin) {
    const size_t end = out_.size();
    Size(end - begin);
    std::copy_n(out_.begin() + static_cast<std::ptrdiff_t>(end), 4,
                out_.begin() + static_cast<std::ptrdiff_t>(begin) - 4);
    out_.resize(end);
  }

 private:
  std::vector<uint8_t>& out_;
  ByteOrder order_;
};

// Splits off what comes before the first space; nullopt if there is none.
std::optional<absl::string_view> TakeWord(absl::string_view& rest) {
  const size_t end = rest.find(' ');
  if (end == absl::string_view::npos) return std::nullopt;
  const absl::string_view word = rest.substr(0, end);
  rest.remove_prefix(end + 1);
  return word;
}

// Digits as the kernel prints them, without sign or leading zeros.
template <typename T>
absl::StatusOr<T> ParseDecimal(absl::string_view text) {
  uint64_t value = 0;
  if (text.empty() || !std::ranges::all_of(text, absl::ascii_isdigit) ||
      (text.size() > 1 && text.front() == '0') ||
      !absl::SimpleAtoi(text, &value) ||
      value > std::numeric_limits<T>::max()) {
    return absl::InvalidArgumentError("not a decimal number of its size");
  }
  return static_cast<T>(value);
}

// "sha256:<hex>", and in d-ngv2 "ima:sha256:<hex>": all up to the last colon,
// a NUL, and the digest.
absl::Status WriteDigest(absl::string_view text, Writer& writer) {
  const size_t colon = text.rfind(':');
  if (colon == absl::string_view::npos) {
    return absl::InvalidArgumentError("no algorithm before the digest");
  }
  writer.Text(text.substr(0, colon + 1));
  writer.Nul();
  return writer.Hex(text.substr(colon + 1));
}

template <typename T>
absl::Status WriteInteger(absl::string_view text, Writer& writer) {
  CUPEL_ASSIGN_OR_RETURN(const T value, ParseDecimal<T>(text));
  writer.Integer(value);
  return absl::OkStatus();
}

// The field's bytes. Whether they make a valid field is ParseFields' to say.
absl::Status WriteField(FieldId field, absl::string_view text, Writer& writer) {
  if (field == FieldId::kName || field == FieldId::kNameNg) {
    writer.Text(text);
    writer.Nul();  // also where the name is empty
    return absl::OkStatus();
  }
  if (text.empty()) return absl::OkStatus();
  switch (field) {
    case FieldId::kDigestNg:
    case FieldId::kDigestNgV2:
    case FieldId::kModsigDigest:
      return WriteDigest(text, writer);
    case FieldId::kInodeUid:
    case FieldId::kInodeGid:
      return WriteInteger<uint32_t>(text, writer);
    case FieldId::kInodeMode:
      return WriteInteger<uint16_t>(text, writer);
    case FieldId::kXattrNames:
      writer.Text(text);
      writer.Nul();
      return absl::OkStatus();
    default:
      return writer.Hex(text);
  }
}

absl::Status WriteLegacyData(std::span<const absl::string_view> texts,
                             Writer& writer) {
  if (texts[0].size() != 2 * kLegacyDigestSize) {
    return absl::InvalidArgumentError(absl::StrCat("field d: ", texts[0].size(),
                                                   " characters, expected ",
                                                   2 * kLegacyDigestSize));
  }
  CUPEL_RETURN_IF_ERROR(WithContext(writer.Hex(texts[0]), "field d"));
  writer.Size(texts[1].size());
  writer.Text(texts[1]);
  return absl::OkStatus();
}

absl::Status WriteData(absl::string_view name, const TemplateFormat& format,
                       std::span<const absl::string_view> texts,
                       Writer& writer) {
  if (name == "ima") return WriteLegacyData(texts, writer);
  const size_t data = writer.BeginSized();
  for (size_t i = 0; i < texts.size(); ++i) {
    const FieldId field = format.fields()[i];
    const size_t begin = writer.BeginSized();
    CUPEL_RETURN_IF_ERROR(
        WithContext(WriteField(field, texts[i], writer),
                    absl::StrCat("field ", FieldName(field))));
    writer.FillSize(begin);
  }
  writer.FillSize(data);
  return absl::OkStatus();
}

// Appends the record of one line, in its binary form.
absl::Status WriteRecord(absl::string_view line, size_t digest_size,
                         Writer& writer) {
  if (absl::EndsWith(line, "\r")) {
    return absl::InvalidArgumentError(
        "ends in a carriage return: not as the kernel wrote it");
  }
  absl::string_view rest = line;
  if (absl::StartsWith(rest, " ")) rest.remove_prefix(1);  // PCR 0 to 9

  const std::optional<absl::string_view> pcr_text = TakeWord(rest);
  if (!pcr_text) return absl::InvalidArgumentError("pcr: no field after it");
  const absl::StatusOr<uint32_t> pcr = ParseDecimal<uint32_t>(*pcr_text);
  if (!pcr.ok()) return WithContext(pcr.status(), "pcr");
  writer.Integer(*pcr);

  const std::optional<absl::string_view> digest = TakeWord(rest);
  if (!digest || digest->size() != 2 * digest_size) {
    return absl::InvalidArgumentError(absl::StrCat(
        "template_digest: expected ", 2 * digest_size, " hex digits"));
  }
  CUPEL_RETURN_IF_ERROR(WithContext(writer.Hex(*digest), "template_digest"));

  const std::optional<absl::string_view> name = TakeWord(rest);
  if (!name) return absl::InvalidArgumentError("template_name: no field after");
  const std::optional<TemplateFormat> format = FindTemplateFormat(*name);
  if (!format) {
    return absl::UnimplementedError(absl::StrCat(
        "template_name: \"", *name,
        "\" is unknown, and its data cannot be had back from text"));
  }
  writer.Size(name->size());
  writer.Text(*name);

  std::array<absl::string_view, TemplateFormat::kMaxFields> texts;
  const size_t count = format->fields().size();
  for (size_t i = 0; i + 1 < count; ++i) {
    const std::optional<absl::string_view> text = TakeWord(rest);
    if (!text) {
      return absl::InvalidArgumentError(absl::StrCat(
          "field ", FieldName(format->fields()[i + 1]), ": missing"));
    }
    texts[i] = *text;
  }
  if (absl::StrContains(rest, ' ')) {
    return absl::InvalidArgumentError(
        absl::StrCat("more fields than ", *name,
                     " has, or a space in a name: cannot be told apart"));
  }
  texts[count - 1] = rest;
  return WriteData(*name, *format, std::span(texts).first(count), writer);
}

// A number, a space, a newline: what the text's first bytes may be.
bool IsTextStart(uint8_t byte) {
  return byte == ' ' || byte == '\n' || absl::ascii_isdigit(byte);
}

}  // namespace

absl::StatusOr<ListFormat> DetectListFormat(std::span<const uint8_t> list) {
  // A record's first four bytes are three NULs and a PCR, in either order. No
  // text has a NUL, so no file can be taken for both.
  const std::span<const uint8_t> start =
      list.first(std::min<size_t>(list.size(), sizeof(uint32_t)));
  const bool has_nul = std::ranges::find(start, 0) != start.end();
  if (start.empty() || has_nul) return ListFormat::kBinary;
  // An empty line first: what follows it decides.
  const auto byte =
      std::ranges::find_if(list, [](uint8_t b) { return b != '\n'; });
  if (byte == list.end() || IsTextStart(*byte)) return ListFormat::kAscii;
  return absl::InvalidArgumentError(
      "neither a binary nor an ASCII measurement list");
}

std::optional<size_t> AsciiTemplateDigestSize(absl::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of('\n'), text.size()));
  if (absl::StartsWith(text, " ")) text.remove_prefix(1);
  if (!TakeWord(text)) return std::nullopt;
  const std::optional<absl::string_view> digest = TakeWord(text);
  if (!digest) return std::nullopt;
  switch (digest->size()) {
    case 40:
    case 64:
    case 96:
    case 128:
      return digest->size() / 2;
    default:
      return std::nullopt;
  }
}

absl::StatusOr<AsciiList> AsciiList::Parse(absl::string_view text,
                                           const ListOptions& options) {
  constexpr size_t kMaxLineSize = size_t{1} << 30;
  std::vector<uint8_t> binary;
  std::vector<Entry> entries;
  Writer writer(binary, options.byte_order);
  std::vector<uint64_t> lines;
  uint64_t line_number = 0;
  while (!text.empty()) {
    ++line_number;
    const size_t end = std::min(text.find('\n'), text.size());
    const absl::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty()) continue;
    if (line.size() > kMaxLineSize) {
      return absl::ResourceExhaustedError(
          absl::StrCat("line ", line_number, ": ", line.size(),
                       " bytes, limit ", kMaxLineSize));
    }
    lines.push_back(line_number);
    CUPEL_RETURN_IF_ERROR(
        WithContext(WriteRecord(line, options.template_digest_size, writer),
                    absl::StrCat("line ", line_number)));
  }
  binary.shrink_to_fit();

  // From here on it is a list like any other: same limits, same checks.
  ListParser parser(options);
  absl::Status status =
      parser.Feed(binary, [&entries](std::span<const Entry> batch) {
        entries.insert(entries.end(), batch.begin(), batch.end());
        return absl::OkStatus();
      });
  if (status.ok()) status = parser.Finish();
  for (size_t i = 0; status.ok() && i < entries.size(); ++i) {
    status = ParseFields(entries[i], options.byte_order).status();
    if (!status.ok()) entries.resize(i);
  }
  if (!status.ok()) {
    return entries.size() < lines.size()
               ? WithContext(status,
                             absl::StrCat("line ", lines[entries.size()]))
               : status;
  }
  return AsciiList(std::move(binary), std::move(entries));
}

}  // namespace cupel::ima
