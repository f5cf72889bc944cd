#include "common/tpm/pcr_file.h"

#include <algorithm>
#include <bit>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/crypto/digest.h"
#include "common/tpm/constants.h"
#include "common/util/byte_reader.h"
#include "common/util/bytes.h"
#include "common/util/escape.h"
#include "common/util/hex.h"
#include "common/util/status_macros.h"
#include "nlohmann/json.hpp"

namespace cupel::tpm {
namespace {

using crypto::Digest;
using crypto::HashAlgorithm;

std::string Shown(absl::string_view text) { return Quoted(text, 80); }

absl::Status Error(absl::string_view where, absl::string_view message) {
  return absl::InvalidArgumentError(absl::StrCat(where, ": ", message));
}

// Decimal digits, one or two of them.
std::optional<uint32_t> ParsePcrNumber(absl::string_view text) {
  uint32_t pcr = 0;
  if (text.empty() || text.size() > 2 ||
      !std::ranges::all_of(text, absl::ascii_isdigit) ||
      !absl::SimpleAtoi(text, &pcr)) {
    return std::nullopt;
  }
  return pcr;
}

absl::Status SetHex(PcrValues& values, HashAlgorithm bank, uint32_t pcr,
                    absl::string_view hex, absl::string_view where) {
  const absl::StatusOr<std::vector<uint8_t>> bytes = HexDecode(hex);
  if (!bytes.ok()) return Error(where, bytes.status().message());
  const absl::StatusOr<Digest> digest = Digest::Create(bank, *bytes);
  if (!digest.ok()) return Error(where, digest.status().message());
  const absl::Status set = values.Set(pcr, *digest);
  return set.ok() ? set : Error(where, set.message());
}

bool IsText(std::span<const uint8_t> bytes) {
  return std::ranges::all_of(bytes, [](uint8_t byte) {
    return (byte >= 0x20 && byte < 0x7f) || byte == '\n' || byte == '\r' ||
           byte == '\t';
  });
}

std::vector<absl::string_view> Lines(absl::string_view text) {
  std::vector<absl::string_view> lines = absl::StrSplit(text, '\n');
  for (absl::string_view& line : lines) absl::ConsumeSuffix(&line, "\r");
  return lines;
}

// What tpm2_quote and tpm2_checkquote print beside the PCRs, at any depth.
bool IsOtherOutput(absl::string_view key) {
  return key == "pcrs" || key == "quoted" || key == "signature" ||
         key == "alg" || key == "sig" || key == "calcDigest";
}

absl::StatusOr<PcrValues> ParseYaml(absl::string_view text) {
  PcrValues values;
  bool in_bank = false;
  HashAlgorithm bank = HashAlgorithm::kSha256;
  std::set<HashAlgorithm> seen;
  size_t number = 0;
  for (const absl::string_view line : Lines(text)) {
    ++number;
    const std::string where = absl::StrCat("line ", number);
    const absl::string_view trimmed = absl::StripAsciiWhitespace(line);
    if (trimmed.empty()) continue;
    const size_t colon = trimmed.find(':');
    if (colon == absl::string_view::npos) {
      return Error(where, absl::StrCat(Shown(trimmed),
                                       " is neither a bank (\"sha256:\") nor a "
                                       "PCR (\"10: 0xAB...\")"));
    }
    const absl::string_view key =
        absl::StripTrailingAsciiWhitespace(trimmed.substr(0, colon));
    const absl::string_view value =
        absl::StripLeadingAsciiWhitespace(trimmed.substr(colon + 1));
    if (const std::optional<uint32_t> pcr = ParsePcrNumber(key)) {
      if (!in_bank) {
        return Error(where,
                     "a PCR before any bank; a line such as \"sha256:\" "
                     "must come first");
      }
      if (!absl::StartsWithIgnoreCase(value, "0x")) {
        return Error(where, "expected 0x and the value in hex");
      }
      CUPEL_RETURN_IF_ERROR(SetHex(values, bank, *pcr, value.substr(2),
                                   absl::StrCat(where, ": PCR ", *pcr)));
      continue;
    }
    if (const std::optional<HashAlgorithm> named = BankFromName(key);
        named.has_value() && value.empty()) {
      if (!seen.insert(*named).second) {
        return Error(where, absl::StrCat("bank ", BankName(*named), " twice"));
      }
      bank = *named;
      in_bank = true;
      continue;
    }
    if (!IsOtherOutput(key)) {
      return Error(where, absl::StrCat(Shown(key),
                                       " is neither a PCR bank nor a PCR "
                                       "number"));
    }
    in_bank = false;
  }
  return values;
}

absl::StatusOr<PcrValues> ParseEvmctl(absl::string_view text) {
  PcrValues values;
  size_t number = 0;
  for (absl::string_view line : Lines(text)) {
    ++number;
    const std::string where = absl::StrCat("line ", number);
    line = absl::StripAsciiWhitespace(line);
    if (line.empty()) continue;
    const size_t colon = line.find(':');
    std::optional<uint32_t> pcr;
    if (absl::ConsumePrefix(&line, "PCR-") &&
        colon != absl::string_view::npos) {
      pcr = ParsePcrNumber(line.substr(0, colon - 4));
    }
    if (!pcr.has_value()) {
      return Error(where, "expected \"PCR-NN: AB CD ...\"");
    }
    std::string hex;
    for (const absl::string_view byte :
         absl::StrSplit(line.substr(colon - 4 + 1), ' ', absl::SkipEmpty())) {
      if (byte.size() != 2) {
        return Error(where, absl::StrCat(Shown(byte),
                                         " is no byte; expected two hex digits "
                                         "each, with spaces between"));
      }
      absl::StrAppend(&hex, byte);
    }
    const std::optional<HashAlgorithm> bank =
        crypto::ShaFromDigestSize(hex.size() / 2);
    // No TPM has a bank of SHA-224.
    if (!bank.has_value() || !AlgIdFromHash(*bank).has_value()) {
      return Error(where, absl::StrCat(hex.size() / 2,
                                       " bytes; a PCR has 20, 32, 48 or 64"));
    }
    CUPEL_RETURN_IF_ERROR(SetHex(values, *bank, *pcr, hex, where));
  }
  return values;
}

// nlohmann's DOM keeps the last of two equal members; a file that says two
// things about one PCR must not be read as saying one of them.
class PcrJsonHandler : public nlohmann::json_sax<nlohmann::json> {
 public:
  absl::Status status() const { return status_; }
  PcrValues TakeValues() { return std::move(values_); }

  bool null() override { return Unexpected("null"); }
  bool boolean(bool) override { return Unexpected("a boolean"); }
  bool number_integer(number_integer_t) override {
    return Unexpected("a number");
  }
  bool number_unsigned(number_unsigned_t) override {
    return Unexpected("a number");
  }
  bool number_float(number_float_t, const string_t&) override {
    return Unexpected("a number");
  }
  bool binary(binary_t&) override { return Unexpected("binary"); }
  bool start_array(size_t) override { return Unexpected("an array"); }
  bool end_array() override { return Unexpected("an array"); }

  bool start_object(size_t) override {
    if (depth_ == 2) return Unexpected("an object");
    ++depth_;
    return true;
  }
  bool end_object() override {
    --depth_;
    return true;
  }

  bool key(string_t& name) override {
    if (depth_ == 1) {
      bank_name_ = name;
      if (!banks_.insert(name).second) return Fail(bank_name_, "given twice");
      bank_ = BankFromName(name);
      if (!bank_.has_value() && name != "*") {
        return Fail(bank_name_, "is no PCR bank; \"sha256\" is one");
      }
      return true;
    }
    pcr_name_ = name;
    pcr_ = ParsePcrNumber(name);
    if (!bank_.has_value()) return Fail(bank_name_, "must be empty");
    if (!pcr_.has_value()) {
      return Fail(Member(), "is no PCR number; \"10\" is one");
    }
    return true;
  }

  bool string(string_t& value) override {
    if (depth_ != 2) return Unexpected("a string");
    absl::string_view hex = value;
    absl::ConsumePrefix(&hex, "0x");
    status_ = SetHex(values_, *bank_, *pcr_, hex, Shown(Member()));
    return status_.ok();
  }

  bool parse_error(size_t position, const std::string&,
                   const nlohmann::detail::exception& error) override {
    status_ = absl::InvalidArgumentError(absl::StrCat(
        "JSON, byte ", position, ": ", EscapeForDisplay(error.what())));
    return false;
  }

 private:
  std::string Member() const {
    return absl::StrCat(bank_name_, ".", pcr_name_);
  }
  bool Fail(absl::string_view member, absl::string_view message) {
    status_ = Error(Shown(member), message);
    return false;
  }
  bool Unexpected(absl::string_view what) {
    if (depth_ == 0) return Fail("the file", "is not a JSON object");
    return Fail(depth_ == 1 ? bank_name_ : Member(),
                absl::StrCat("is ", what, "; expected ",
                             depth_ == 1 ? "an object of PCRs"
                                         : "the value as a string of hex"));
  }

  absl::Status status_;
  PcrValues values_;
  int depth_ = 0;
  std::set<std::string> banks_;
  std::string bank_name_;
  std::string pcr_name_;
  std::optional<HashAlgorithm> bank_;
  std::optional<uint32_t> pcr_;
};

absl::StatusOr<PcrValues> ParseJson(absl::string_view text) {
  PcrJsonHandler handler;
  const bool complete =
      nlohmann::json::sax_parse(text.begin(), text.end(), &handler);
  if (!handler.status().ok()) return handler.status();
  if (!complete) return absl::InvalidArgumentError("not a JSON file");
  return handler.TakeValues();
}

// Layout of tpm2-tss's C structs where integers are little-endian.
constexpr size_t kSelectionStructSize = 4 + kMaxPcrBanks * 8;
constexpr size_t kDigestsPerStruct = 8;
constexpr size_t kDigestStructSize = 2 + kMaxDigestBuffer;
constexpr size_t kDigestListSize = 4 + kDigestsPerStruct * kDigestStructSize;

absl::StatusOr<PcrSelection> ReadSelectionStruct(ByteReader& reader) {
  CUPEL_ASSIGN_OR_RETURN(
      const auto bytes,
      reader.ReadBytes(kSelectionStructSize, "PCR selection"));
  ByteReader fields(bytes, ByteOrder::kLittle);
  CUPEL_ASSIGN_OR_RETURN(const uint32_t count,
                         fields.ReadU32("PCR selection: count"));
  if (count == 0 || count > kMaxPcrBanks) {
    return Error("PCR selection", absl::StrCat(count, " banks"));
  }
  std::vector<BankSelection> banks;
  for (uint32_t i = 0; i < count; ++i) {
    CUPEL_ASSIGN_OR_RETURN(const uint16_t id, fields.ReadU16("hash"));
    CUPEL_ASSIGN_OR_RETURN(const uint8_t size, fields.ReadU8("sizeofSelect"));
    CUPEL_ASSIGN_OR_RETURN(const auto select, fields.ReadBytes(4, "pcrSelect"));
    CUPEL_RETURN_IF_ERROR(fields.ReadU8("padding").status());
    const std::optional<HashAlgorithm> bank = HashFromAlgId(AlgId{id});
    if (!bank.has_value()) {
      return Error("PCR selection",
                   absl::StrCat(AlgIdName(AlgId{id}), " is no known PCR bank"));
    }
    if (size < 3 || size > 4) {
      return Error("PCR selection", absl::StrCat("sizeofSelect ", size));
    }
    BankSelection selected{*bank, 0};
    for (size_t j = 0; j < size; ++j) {
      selected.mask |= uint32_t{select[j]} << 8 * j;
    }
    banks.push_back(selected);
  }
  return PcrSelection::Create(std::move(banks));
}

// The digests of one TPML_DIGEST, appended to `digests`. A list that is not the
// file's last one must be full: TPM2_PCR_Read stops at 8.
absl::Status ReadDigestList(std::span<const uint8_t> bytes, size_t index,
                            bool is_last,
                            std::vector<std::span<const uint8_t>>& digests) {
  const std::string where = absl::StrCat("digest list ", index);
  ByteReader fields(bytes, ByteOrder::kLittle);
  CUPEL_ASSIGN_OR_RETURN(const uint32_t count, fields.ReadU32("count"));
  if (count > kDigestsPerStruct || (!is_last && count != kDigestsPerStruct)) {
    return Error(where, absl::StrCat(count, " digests"));
  }
  for (uint32_t i = 0; i < count; ++i) {
    CUPEL_ASSIGN_OR_RETURN(const uint16_t size, fields.ReadU16("digest size"));
    CUPEL_ASSIGN_OR_RETURN(const auto buffer,
                           fields.ReadBytes(kMaxDigestBuffer, "digest"));
    if (size > buffer.size()) {
      return Error(where, absl::StrCat("a digest of ", size, " bytes"));
    }
    digests.push_back(buffer.first(size));
  }
  return absl::OkStatus();
}

absl::StatusOr<PcrValues> ParseSerialized(std::span<const uint8_t> bytes) {
  ByteReader reader(bytes, ByteOrder::kLittle);
  CUPEL_ASSIGN_OR_RETURN(const PcrSelection selection,
                         ReadSelectionStruct(reader));
  CUPEL_ASSIGN_OR_RETURN(const uint32_t list_count,
                         reader.ReadU32("number of digest lists"));
  // Compared by division: a product of the file's number could wrap.
  if (reader.remaining() % kDigestListSize != 0 ||
      reader.remaining() / kDigestListSize != list_count) {
    return Error(
        "digest lists",
        absl::StrCat(list_count, " announced, but ", reader.remaining(),
                     " bytes follow and each has ", kDigestListSize));
  }
  std::vector<std::span<const uint8_t>> digests;
  for (uint32_t i = 0; i < list_count; ++i) {
    CUPEL_ASSIGN_OR_RETURN(const auto list,
                           reader.ReadBytes(kDigestListSize, "digest list"));
    CUPEL_RETURN_IF_ERROR(
        ReadDigestList(list, i, i + 1 == list_count, digests));
  }
  if (digests.size() != selection.pcr_count()) {
    return Error(
        "PCR values",
        absl::StrCat(digests.size(), " digests for ", selection.pcr_count(),
                     " selected PCRs (", selection.ToString(), ")"));
  }
  PcrValues values;
  size_t next = 0;
  for (const BankSelection& bank : selection.banks()) {
    for (uint32_t pcr = 0; pcr < kPcrCount; ++pcr) {
      if (!bank.Has(pcr)) continue;
      const absl::StatusOr<Digest> digest =
          Digest::Create(bank.bank, digests[next++]);
      if (!digest.ok()) {
        return Error(absl::StrCat("PCR ", pcr), digest.status().message());
      }
      CUPEL_RETURN_IF_ERROR(values.Set(pcr, *digest));
    }
  }
  return values;
}

absl::StatusOr<PcrValues> ParseRaw(std::span<const uint8_t> bytes,
                                   const PcrSelection& selection) {
  if (bytes.size() != selection.values_size()) {
    return Error("raw PCR values", absl::StrCat(bytes.size(), " bytes, but ",
                                                selection.ToString(), " has ",
                                                selection.values_size()));
  }
  PcrValues values;
  ByteReader reader(bytes);
  for (const BankSelection& bank : selection.banks()) {
    for (uint32_t pcr = 0; pcr < kPcrCount; ++pcr) {
      if (!bank.Has(pcr)) continue;
      CUPEL_ASSIGN_OR_RETURN(
          const auto value,
          reader.ReadBytes(crypto::DigestSize(bank.bank), "PCR value"));
      CUPEL_ASSIGN_OR_RETURN(const Digest digest,
                             Digest::Create(bank.bank, value));
      CUPEL_RETURN_IF_ERROR(values.Set(pcr, digest));
    }
  }
  return values;
}

absl::StatusOr<PcrFile> ParseText(absl::string_view text) {
  const absl::string_view content = absl::StripLeadingAsciiWhitespace(text);
  if (content.empty()) {
    return absl::InvalidArgumentError("no PCR values: the file is empty");
  }
  PcrFile file;
  if (absl::StartsWith(content, "{")) {
    file.format = PcrFileFormat::kJson;
    CUPEL_ASSIGN_OR_RETURN(file.values, ParseJson(text));
  } else if (absl::StartsWith(content, "PCR-")) {
    file.format = PcrFileFormat::kEvmctl;
    CUPEL_ASSIGN_OR_RETURN(file.values, ParseEvmctl(text));
  } else {
    file.format = PcrFileFormat::kYaml;
    CUPEL_ASSIGN_OR_RETURN(file.values, ParseYaml(text));
  }
  return file;
}

absl::StatusOr<PcrFile> ParseBinary(std::span<const uint8_t> bytes,
                                    const PcrSelection* selection) {
  const absl::StatusOr<PcrValues> serialized = ParseSerialized(bytes);
  if (selection != nullptr && bytes.size() == selection->values_size()) {
    if (serialized.ok()) {
      return absl::InvalidArgumentError(
          "the file could be tpm2-tools' serialized form or raw values; give "
          "tpm2_pcrread's text instead");
    }
    PcrFile file;
    file.format = PcrFileFormat::kRaw;
    CUPEL_ASSIGN_OR_RETURN(file.values, ParseRaw(bytes, *selection));
    return file;
  }
  if (serialized.ok()) {
    return PcrFile{PcrFileFormat::kSerialized, *serialized};
  }
  // Which of the two forms it was meant to be decides what to say.
  if (bytes.size() >= kSelectionStructSize + 4 &&
      (bytes.size() - kSelectionStructSize - 4) % kDigestListSize == 0) {
    return Error("serialized PCR values", serialized.status().message());
  }
  if (selection != nullptr) return ParseRaw(bytes, *selection).status();
  return absl::FailedPreconditionError(
      "raw PCR values do not say which PCRs they are; give the quote with "
      "them, "
      "or tpm2_pcrread's text");
}

}  // namespace

absl::StatusOr<PcrFile> ParsePcrFile(std::span<const uint8_t> bytes,
                                     const PcrSelection* selection) {
  if (bytes.size() > kMaxPcrFileSize) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "PCR values of ", bytes.size(), " bytes, at most ", kMaxPcrFileSize));
  }
  return IsText(bytes) ? ParseText(AsText(bytes))
                       : ParseBinary(bytes, selection);
}

}  // namespace cupel::tpm
