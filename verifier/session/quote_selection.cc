#include "verifier/session/quote_selection.h"

#include <algorithm>
#include <string>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "common/crypto/pcr.h"

namespace cupel::verifier {
namespace {

using ::cupel::crypto::HashAlgorithm;

constexpr uint32_t kBootPcrs = 0x3ff;
constexpr uint32_t kListPcr = uint32_t{1} << ima::kImaPcr;

bool Contains(const std::vector<HashAlgorithm>& banks, HashAlgorithm bank) {
  return std::ranges::find(banks, bank) != banks.end();
}

bool IsWeak(HashAlgorithm bank, const appraisal::Reference& reference) {
  return bank == HashAlgorithm::kSha1 ||
         Contains(reference.padded_sha1_banks, bank);
}

// Those of the last quotes that passed.
std::vector<HashAlgorithm> ProvenBanks(const appraisal::Progress& progress) {
  std::vector<HashAlgorithm> banks = progress.boot_pcrs.banks();
  if (progress.replayer.has_value()) {
    for (const ima::Bank& bank : progress.replayer->banks()) {
      if (!Contains(banks, bank.algorithm)) banks.push_back(bank.algorithm);
    }
  }
  return banks;
}

// Of those of `banks` that are as weak as SHA-1, or of the others.
std::optional<HashAlgorithm> BestOf(const std::vector<HashAlgorithm>& banks,
                                    bool weak,
                                    const appraisal::Reference& reference) {
  return crypto::PreferredBank(banks, [&](HashAlgorithm bank) {
    return IsWeak(bank, reference) == weak;
  });
}

HashAlgorithm MainBank(const std::vector<HashAlgorithm>& proven,
                       const std::vector<HashAlgorithm>& shown,
                       const appraisal::Reference& reference) {
  std::optional<HashAlgorithm> bank = BestOf(proven, /*weak=*/false, reference);
  if (!bank.has_value()) bank = BestOf(shown, /*weak=*/false, reference);
  if (!bank.has_value() && reference.allow_sha1_bank) {
    bank = BestOf(shown, /*weak=*/true, reference);
  }
  return bank.value_or(HashAlgorithm::kSha256);
}

class Builder {
 public:
  void Add(HashAlgorithm bank, uint32_t mask) {
    const auto found =
        std::ranges::find(banks_, bank, &tpm::BankSelection::bank);
    if (found != banks_.end()) {
      found->mask |= mask;
    } else {
      banks_.push_back({bank, mask});
    }
  }
  tpm::PcrSelection Build() && {
    // Each bank is there once and is one of a TPM's: see their sources.
    return tpm::PcrSelection::Create(std::move(banks_)).value();
  }

 private:
  std::vector<tpm::BankSelection> banks_;
};

void AddRule(const policy::BootRule& rule, HashAlgorithm main_bank,
             bool allow_sha1, Builder& builder) {
  if (const auto* pinned = std::get_if<policy::PinnedBoot>(&rule)) {
    const HashAlgorithm bank = pinned->composite.algorithm();
    if (bank != HashAlgorithm::kSha1 || allow_sha1) {
      builder.Add(bank, kBootPcrs);
    }
    return;
  }
  const auto* pcrs = std::get_if<policy::StaticPcrs>(&rule);
  if (pcrs == nullptr) return;
  uint32_t with_values = 0;
  for (const auto& [pcr, values] : pcrs->values) {
    if (values.empty()) continue;
    // Where the main bank will do, no other one is needed.
    const bool in_main = std::ranges::any_of(values, [&](const auto& value) {
      return value.algorithm() == main_bank;
    });
    with_values |= uint32_t{1} << pcr;
    if (in_main) {
      builder.Add(main_bank, uint32_t{1} << pcr);
      continue;
    }
    for (const crypto::Digest& value : values) {
      if (value.algorithm() == HashAlgorithm::kSha1 && !allow_sha1) continue;
      builder.Add(value.algorithm(), uint32_t{1} << pcr);
    }
  }
  builder.Add(main_bank, pcrs->mask & ~with_values & tpm::kAllPcrs);
}

}  // namespace

bool SelectionNeeds::Learn(std::span<const appraisal::Finding> findings) {
  bool learned = false;
  for (const appraisal::Finding& finding : findings) {
    if (finding.id == "ima.pcr_not_quoted" && finding.pcr.has_value() &&
        *finding.pcr < tpm::kPcrCount && (pcrs >> *finding.pcr & 1) == 0) {
      pcrs |= uint32_t{1} << *finding.pcr;
      learned = true;
    }
    if (finding.id == "ima.boot_aggregate_unproven") {
      // "sha1:" and the digest.
      const absl::string_view found = finding.found;
      const auto bank =
          crypto::HashAlgorithmFromName(found.substr(0, found.find(':')));
      if (bank.has_value() && crypto::IsReplayBank(*bank) &&
          !Contains(boot_banks, *bank)) {
        boot_banks.push_back(*bank);
        learned = true;
      }
    }
  }
  return learned;
}

tpm::PcrSelection SelectPcrs(const appraisal::Reference& reference,
                             const appraisal::Progress& progress,
                             const SelectionHints& hints,
                             const SelectionNeeds& needs,
                             std::optional<HashAlgorithm> wanted_bank) {
  const std::vector<HashAlgorithm> proven = ProvenBanks(progress);
  std::vector<HashAlgorithm> shown = proven;
  for (const HashAlgorithm bank : hints.banks) {
    if (!Contains(shown, bank)) shown.push_back(bank);
  }
  uint32_t list_pcrs = kListPcr | needs.pcrs;
  for (const uint32_t pcr : hints.list_pcrs) {
    if (pcr < tpm::kPcrCount) list_pcrs |= uint32_t{1} << pcr;
  }
  list_pcrs |= static_cast<uint32_t>(
      (reference.list_pcrs | progress.list_pcrs).to_ulong());
  Builder builder;
  const HashAlgorithm main_bank =
      wanted_bank.value_or(MainBank(proven, shown, reference));
  builder.Add(main_bank, kBootPcrs | list_pcrs);
  AddRule(reference.boot_rule, main_bank, reference.allow_sha1_bank, builder);
  for (const HashAlgorithm bank : needs.boot_banks) {
    if (Contains(shown, bank)) builder.Add(bank, kBootPcrs);
  }
  return std::move(builder).Build();
}

std::optional<HashAlgorithm> LackedBank(const tpm::PcrSelection& wanted,
                                        const appraisal::Progress& progress,
                                        bool of_this_boot,
                                        const SelectionHints& hints) {
  const HashAlgorithm bank = wanted.banks().front().bank;
  if (hints.banks.empty() || Contains(hints.banks, bank) ||
      (of_this_boot && Contains(ProvenBanks(progress), bank))) {
    return std::nullopt;
  }
  return bank;
}

std::string LackedBankReason(HashAlgorithm lacked, const SelectionHints& hints,
                             bool is_wanted_by_operator) {
  std::vector<absl::string_view> names;
  for (const HashAlgorithm bank : hints.banks) {
    names.push_back(crypto::HashAlgorithmName(bank));
  }
  const absl::string_view wanted = crypto::HashAlgorithmName(lacked);
  std::string reason = absl::StrCat(
      "the TPM's ", wanted, " bank has to be quoted, and the agent says that ",
      "it is not allocated (", absl::StrJoin(names, ", "), " is; tpm2_getcap ",
      "pcrs shows it): allocate it in the firmware's settings, or with ",
      "tpm2_pcrallocate ", wanted, ":all, and reboot");
  if (is_wanted_by_operator) {
    absl::StrAppend(&reason, "; or have another one quoted: update --bank");
  } else if (Contains(hints.banks, HashAlgorithm::kSha1)) {
    absl::StrAppend(&reason, "; or accept SHA-1: update --allow-sha1-bank");
  }
  return reason;
}

std::vector<ima::Bank> ReplayBanks(const tpm::PcrSelection& selection,
                                   const appraisal::Reference& reference) {
  std::vector<ima::Bank> banks;
  for (const tpm::BankSelection& bank : selection.banks()) {
    if (!bank.Has(ima::kImaPcr) || !crypto::IsReplayBank(bank.bank)) continue;
    banks.push_back({bank.bank, Contains(reference.padded_sha1_banks, bank.bank)
                                    ? ima::BankFill::kPaddedSha1
                                    : ima::BankFill::kOwnHash});
  }
  return banks;
}

}  // namespace cupel::verifier
