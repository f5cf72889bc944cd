#include "common/tpm/pcr_selection.h"

#include <bit>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/tpm/constants.h"
#include "common/util/bytes.h"
#include "common/util/escape.h"
#include "common/util/status_macros.h"

namespace cupel::tpm {
namespace {

using crypto::HashAlgorithm;

constexpr size_t kMinSelectSize = 3;
constexpr size_t kMaxSelectSize = 4;

absl::StatusOr<BankSelection> ReadBank(ByteReader& reader) {
  CUPEL_ASSIGN_OR_RETURN(const uint16_t id,
                         reader.ReadU16("PCR selection: hash"));
  const std::optional<HashAlgorithm> bank = HashFromAlgId(AlgId{id});
  if (!bank.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "PCR selection: ", AlgIdName(AlgId{id}), " is no known PCR bank"));
  }
  CUPEL_ASSIGN_OR_RETURN(const uint8_t size,
                         reader.ReadU8("PCR selection: sizeofSelect"));
  if (size < kMinSelectSize || size > kMaxSelectSize) {
    return absl::InvalidArgumentError(absl::StrCat(
        "PCR selection: sizeofSelect ", size, ", expected 3 or 4"));
  }
  CUPEL_ASSIGN_OR_RETURN(const auto select,
                         reader.ReadBytes(size, "PCR selection: pcrSelect"));
  BankSelection result{*bank, 0};
  for (size_t i = 0; i < select.size(); ++i) {
    result.mask |= uint32_t{select[i]} << 8 * i;
  }
  return result;
}

absl::StatusOr<uint32_t> ParsePcrs(absl::string_view text) {
  if (text == "all") return kAllPcrs;
  if (text == "none") return 0;
  uint32_t mask = 0;
  for (const absl::string_view number : absl::StrSplit(text, ',')) {
    uint32_t pcr = 0;
    // SimpleAtoi takes signs and white space: one spelling is enough.
    if (number.empty() || number.size() > 2 ||
        number.find_first_not_of("0123456789") != absl::string_view::npos ||
        !absl::SimpleAtoi(number, &pcr) || pcr >= kPcrCount) {
      return absl::InvalidArgumentError(
          absl::StrCat("\"", EscapeForDisplay(number),
                       "\" is no PCR number from 0 to ", kPcrCount - 1));
    }
    if ((mask >> pcr & 1) != 0) {
      return absl::InvalidArgumentError(absl::StrCat("PCR ", pcr, " twice"));
    }
    mask |= uint32_t{1} << pcr;
  }
  return mask;
}

}  // namespace

absl::StatusOr<PcrSelection> PcrSelection::Create(
    std::vector<BankSelection> banks) {
  if (banks.size() > kMaxPcrBanks) {
    return absl::InvalidArgumentError(absl::StrCat(
        "PCR selection: ", banks.size(), " banks, at most ", kMaxPcrBanks));
  }
  for (size_t i = 0; i < banks.size(); ++i) {
    if (!AlgIdFromHash(banks[i].bank).has_value()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "PCR selection: a TPM has no bank ", BankName(banks[i].bank)));
    }
    if ((banks[i].mask & ~kAllPcrs) != 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("PCR selection: bank ", BankName(banks[i].bank),
                       ": a PCR above ", kPcrCount - 1));
    }
    for (size_t j = 0; j < i; ++j) {
      if (banks[j].bank == banks[i].bank) {
        return absl::InvalidArgumentError(absl::StrCat(
            "PCR selection: bank ", BankName(banks[i].bank), " twice"));
      }
    }
  }
  return PcrSelection(std::move(banks));
}

absl::StatusOr<PcrSelection> PcrSelection::Read(ByteReader& reader) {
  CUPEL_ASSIGN_OR_RETURN(const uint32_t count,
                         reader.ReadU32("PCR selection: count"));
  if (count > kMaxPcrBanks) {
    return absl::InvalidArgumentError(absl::StrCat(
        "PCR selection: ", count, " banks, at most ", kMaxPcrBanks));
  }
  std::vector<BankSelection> banks;
  banks.reserve(count);
  for (uint32_t i = 0; i < count; ++i) {
    CUPEL_ASSIGN_OR_RETURN(const BankSelection bank, ReadBank(reader));
    banks.push_back(bank);
  }
  return Create(std::move(banks));
}

absl::StatusOr<PcrSelection> PcrSelection::Parse(
    std::span<const uint8_t> bytes) {
  ByteReader reader(bytes, ByteOrder::kBig);
  CUPEL_ASSIGN_OR_RETURN(PcrSelection selection, Read(reader));
  CUPEL_RETURN_IF_ERROR(reader.ExpectEnd("PCR selection"));
  return selection;
}

absl::StatusOr<PcrSelection> PcrSelection::FromString(absl::string_view text) {
  std::vector<BankSelection> banks;
  for (const absl::string_view part : absl::StrSplit(text, '+')) {
    const size_t colon = part.find(':');
    if (colon == absl::string_view::npos) {
      return absl::InvalidArgumentError(
          absl::StrCat("PCR selection \"", EscapeForDisplay(text),
                       "\": expected BANK:PCR,PCR,...[+BANK:...]"));
    }
    const absl::string_view name = part.substr(0, colon);
    const std::optional<HashAlgorithm> bank = BankFromName(name);
    if (!bank.has_value()) {
      return absl::InvalidArgumentError(
          absl::StrCat("PCR selection: \"", EscapeForDisplay(name),
                       "\" is no PCR bank; sha256 is one"));
    }
    const absl::StatusOr<uint32_t> mask = ParsePcrs(part.substr(colon + 1));
    if (!mask.ok()) {
      return absl::InvalidArgumentError(absl::StrCat("PCR selection: bank ",
                                                     BankName(*bank), ": ",
                                                     mask.status().message()));
    }
    banks.push_back({*bank, *mask});
  }
  return Create(std::move(banks));
}

std::string PcrSelection::ToString() const {
  std::string text;
  for (const BankSelection& bank : banks_) {
    if (!text.empty()) text += '+';
    absl::StrAppend(&text, BankName(bank.bank), ":");
    if (bank.mask == 0) {
      text += "none";
      continue;
    }
    const char* separator = "";
    for (uint32_t pcr = 0; pcr < kPcrCount; ++pcr) {
      if (!bank.Has(pcr)) continue;
      absl::StrAppend(&text, separator, pcr);
      separator = ",";
    }
  }
  return text;
}

std::vector<uint8_t> PcrSelection::Serialize() const {
  std::vector<uint8_t> out;
  AppendBe(out, static_cast<uint32_t>(banks_.size()));
  for (const BankSelection& bank : banks_) {
    AppendBe(out, static_cast<uint16_t>(*AlgIdFromHash(bank.bank)));
    AppendBe(out, static_cast<uint8_t>(kMinSelectSize));
    for (size_t i = 0; i < kMinSelectSize; ++i) {
      AppendBe(out, static_cast<uint8_t>(bank.mask >> 8 * i));
    }
  }
  return out;
}

uint32_t PcrSelection::MaskOf(HashAlgorithm bank) const {
  for (const BankSelection& selected : banks_) {
    if (selected.bank == bank) return selected.mask;
  }
  return 0;
}

bool PcrSelection::Has(HashAlgorithm bank, uint32_t pcr) const {
  return pcr < kPcrCount && (MaskOf(bank) >> pcr & 1) != 0;
}

size_t PcrSelection::pcr_count() const {
  size_t count = 0;
  for (const BankSelection& bank : banks_) {
    count += static_cast<size_t>(std::popcount(bank.mask));
  }
  return count;
}

size_t PcrSelection::values_size() const {
  size_t size = 0;
  for (const BankSelection& bank : banks_) {
    size += static_cast<size_t>(std::popcount(bank.mask)) *
            crypto::DigestSize(bank.bank);
  }
  return size;
}

}  // namespace cupel::tpm
