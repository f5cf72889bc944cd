#include "common/tpm/pcr_values.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/tpm/constants.h"
#include "common/util/bytes.h"

namespace cupel::tpm {

using crypto::Digest;
using crypto::HashAlgorithm;

absl::Status PcrValues::Set(uint32_t pcr, const Digest& value) {
  if (pcr >= kPcrCount) {
    return absl::InvalidArgumentError(
        absl::StrCat("PCR ", pcr, ": a TPM has PCR 0 to ", kPcrCount - 1));
  }
  auto bank = std::ranges::find(banks_, value.algorithm(), &Bank::algorithm);
  if (bank == banks_.end()) {
    bank = banks_.insert(banks_.end(), Bank{value.algorithm(), {}});
  }
  std::optional<Digest>& slot = bank->values[pcr];
  if (slot.has_value()) {
    return absl::AlreadyExistsError(
        absl::StrCat("bank ", BankName(value.algorithm()), ": PCR ", pcr,
                     " is given twice"));
  }
  slot = value;
  return absl::OkStatus();
}

const PcrValues::Bank* PcrValues::FindBank(HashAlgorithm algorithm) const {
  const auto bank = std::ranges::find(banks_, algorithm, &Bank::algorithm);
  return bank == banks_.end() ? nullptr : &*bank;
}

const Digest* PcrValues::Find(HashAlgorithm bank, uint32_t pcr) const {
  if (pcr >= kPcrCount) return nullptr;
  const Bank* const found = FindBank(bank);
  if (found == nullptr || !found->values[pcr].has_value()) return nullptr;
  return &*found->values[pcr];
}

void PcrValues::ForEach(
    absl::FunctionRef<void(uint32_t, const Digest&)> callback) const {
  for (const Bank& bank : banks_) {
    for (uint32_t pcr = 0; pcr < kPcrCount; ++pcr) {
      if (bank.values[pcr].has_value()) callback(pcr, *bank.values[pcr]);
    }
  }
}

std::vector<HashAlgorithm> PcrValues::banks() const {
  std::vector<HashAlgorithm> banks;
  banks.reserve(banks_.size());
  for (const Bank& bank : banks_) banks.push_back(bank.algorithm);
  return banks;
}

size_t PcrValues::size() const {
  size_t size = 0;
  ForEach([&size](uint32_t, const Digest&) { ++size; });
  return size;
}

PcrSelection PcrValues::Selection() const {
  std::vector<BankSelection> banks;
  for (const Bank& bank : banks_) {
    // A bank without a TPM_ALG_ID has no place in a selection.
    if (!AlgIdFromHash(bank.algorithm).has_value()) continue;
    BankSelection selection{bank.algorithm, 0};
    for (uint32_t pcr = 0; pcr < kPcrCount; ++pcr) {
      if (bank.values[pcr].has_value()) selection.mask |= uint32_t{1} << pcr;
    }
    banks.push_back(selection);
  }
  // Each bank is there once and has PCRs that Set let in.
  return PcrSelection::Create(std::move(banks)).value();
}

PcrValues PcrValues::Only(const PcrSelection& selection) const {
  PcrValues result;
  for (const BankSelection& selected : selection.banks()) {
    const Bank* const bank = FindBank(selected.bank);
    if (bank == nullptr || selected.mask == 0) continue;
    Bank copy{bank->algorithm, {}};
    bool any = false;
    for (uint32_t pcr = 0; pcr < kPcrCount; ++pcr) {
      if (!selected.Has(pcr) || !bank->values[pcr].has_value()) continue;
      copy.values[pcr] = bank->values[pcr];
      any = true;
    }
    if (any) result.banks_.push_back(copy);
  }
  return result;
}

bool operator==(const PcrValues& a, const PcrValues& b) {
  if (a.banks_.size() != b.banks_.size()) return false;
  return std::ranges::all_of(a.banks_, [&b](const PcrValues::Bank& bank) {
    const PcrValues::Bank* const other = b.FindBank(bank.algorithm);
    return other != nullptr && other->values == bank.values;
  });
}

absl::StatusOr<Digest> PcrComposite(HashAlgorithm algorithm,
                                    const PcrSelection& selection,
                                    const PcrValues& values) {
  if (!crypto::CanHash(algorithm)) {
    return absl::InvalidArgumentError(
        absl::StrCat("PCR digest with ", BankName(algorithm)));
  }
  std::vector<uint8_t> message;
  message.reserve(selection.values_size());
  for (const BankSelection& bank : selection.banks()) {
    for (uint32_t pcr = 0; pcr < kPcrCount; ++pcr) {
      if (!bank.Has(pcr)) continue;
      const Digest* const value = values.Find(bank.bank, pcr);
      if (value == nullptr) {
        return absl::NotFoundError(absl::StrCat(
            "no value for PCR ", pcr, " of bank ", BankName(bank.bank)));
      }
      Append(message, value->bytes());
    }
  }
  return crypto::Hash(algorithm, message);
}

}  // namespace cupel::tpm
