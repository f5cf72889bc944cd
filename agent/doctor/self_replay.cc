#include "agent/doctor/self_replay.h"

#include <algorithm>
#include <optional>
#include <span>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent/doctor/list_scan.h"
#include "common/crypto/pcr.h"
#include "common/ima/replay.h"
#include "common/tpm/pcr_selection.h"
#include "common/util/status_macros.h"
#include "nlohmann/json.hpp"

namespace cupel::agent {
namespace {

constexpr int kTries = 5;
constexpr absl::Duration kPause = absl::Milliseconds(20);

// A bank's values on their way through the list.
class BankReplay {
 public:
  static absl::StatusOr<BankReplay> Create(crypto::HashAlgorithm bank,
                                           ima::BankFill fill,
                                           const ima::PcrSet& pcrs,
                                           const tpm::PcrValues& values) {
    std::vector<ima::ReplayTarget::Value> wanted;
    for (uint32_t pcr = 0; pcr < ima::kPcrCount; ++pcr) {
      if (!pcrs.test(pcr)) continue;
      const crypto::Digest* const value = values.Find(bank, pcr);
      if (value == nullptr) {
        return absl::InternalError(
            absl::StrCat("the TPM gave no value of PCR ", pcr));
      }
      wanted.push_back({bank, pcr, *value});
    }
    CUPEL_ASSIGN_OR_RETURN(ima::Replayer replayer,
                           ima::Replayer::Create({{bank, fill}}));
    return BankReplay(std::move(replayer),
                      ima::ReplayTarget::FromValues(std::move(wanted)));
  }

  void Feed(std::span<const ima::Entry> entries) {
    if (explained_.has_value()) return;
    if (const auto taken = replayer_.ExtendUntil(entries, target_)) {
      explained_ = entries.front().index + *taken;
    }
  }

  // How many entries explain the values; nullopt if no prefix does.
  std::optional<uint64_t> explained() const { return explained_; }

 private:
  BankReplay(ima::Replayer replayer, ima::ReplayTarget target)
      : replayer_(std::move(replayer)), target_(std::move(target)) {
    // Nothing was ever extended, whatever the list says.
    if (replayer_.Explains(target_)) explained_ = 0;
  }

  ima::Replayer replayer_;
  ima::ReplayTarget target_;
  std::optional<uint64_t> explained_;
};

struct ReadBank {
  crypto::HashAlgorithm bank = crypto::HashAlgorithm::kSha256;
  tpm::PcrValues values;
};

absl::StatusOr<std::vector<ReadBank>> ReadBanks(Tpm& tpm) {
  CUPEL_ASSIGN_OR_RETURN(const auto banks, tpm.AllocatedBanks());
  std::vector<ReadBank> read;
  for (const crypto::HashAlgorithm bank : banks) {
    if (!crypto::IsReplayBank(bank)) continue;
    CUPEL_ASSIGN_OR_RETURN(
        const tpm::PcrSelection selection,
        tpm::PcrSelection::Create({{bank, (1u << ima::kPcrCount) - 1}}));
    CUPEL_ASSIGN_OR_RETURN(tpm::PcrValues values, tpm.ReadPcrs(selection));
    read.push_back({bank, std::move(values)});
  }
  return read;
}

// The banks that no replay computes.
absl::StatusOr<std::vector<BankReport>> UndecidedBanks(Tpm& tpm) {
  std::vector<BankReport> reports;
  CUPEL_ASSIGN_OR_RETURN(const auto banks, tpm.AllocatedBanks());
  for (const crypto::HashAlgorithm bank : banks) {
    if (crypto::IsReplayBank(bank)) continue;
    reports.push_back({.bank = std::string(crypto::HashAlgorithmName(bank))});
  }
  CUPEL_ASSIGN_OR_RETURN(const TpmState state, tpm.ReadState());
  for (const uint16_t id : state.unnamed_banks) {
    reports.push_back(
        {.bank = absl::StrCat("0x", absl::Hex(id, absl::kZeroPad4))});
  }
  return reports;
}

BankReport Judge(crypto::HashAlgorithm bank, const BankReplay& own_hash,
                 const BankReplay& padded, uint64_t entry_count) {
  BankReport report{.bank = std::string(crypto::HashAlgorithmName(bank)),
                    .result = BankResult::kUnexplained};
  const bool is_padded = !own_hash.explained().has_value();
  const auto explained = is_padded ? padded.explained() : own_hash.explained();
  if (!explained.has_value()) return report;
  report.explained_count = *explained;
  if (*explained < entry_count) {
    report.result = BankResult::kIncomplete;
  } else {
    report.result = is_padded ? BankResult::kPadded : BankResult::kExplained;
  }
  return report;
}

absl::StatusOr<SelfTestReport> CompareOnce(Tpm& tpm, ImaListSource& source) {
  SelfTestReport report;
  // Counted first and read last: the PCRs cover the count, and the list covers
  // the PCRs.
  CUPEL_ASSIGN_OR_RETURN(report.entry_count, source.EntryCount());
  CUPEL_ASSIGN_OR_RETURN(const std::vector<ReadBank> banks, ReadBanks(tpm));
  ima::PcrSet pcrs;
  CUPEL_ASSIGN_OR_RETURN(
      const uint64_t end,
      ReadEntries(source, UINT64_MAX, [&](std::span<const ima::Entry> entries) {
        for (const ima::Entry& entry : entries) pcrs.set(entry.pcr);
        return absl::OkStatus();
      }));
  if (pcrs.none()) {
    return absl::FailedPreconditionError(
        "the list is empty: boot with an IMA policy, such as ima_policy=tcb");
  }
  std::vector<BankReplay> replays;  // two a bank
  for (const ReadBank& bank : banks) {
    for (const ima::BankFill fill :
         {ima::BankFill::kOwnHash, ima::BankFill::kPaddedSha1}) {
      CUPEL_ASSIGN_OR_RETURN(
          BankReplay replay,
          BankReplay::Create(bank.bank, fill, pcrs, bank.values));
      replays.push_back(std::move(replay));
    }
  }
  CUPEL_RETURN_IF_ERROR(
      ReadEntries(source, end, [&](std::span<const ima::Entry> entries) {
        for (BankReplay& replay : replays) replay.Feed(entries);
        return absl::OkStatus();
      }).status());
  for (size_t i = 0; i < banks.size(); ++i) {
    report.banks.push_back(Judge(banks[i].bank, replays[2 * i],
                                 replays[2 * i + 1], report.entry_count));
  }
  return report;
}

}  // namespace

absl::string_view BankResultName(BankResult result) {
  switch (result) {
    case BankResult::kExplained:
      return "explained";
    case BankResult::kPadded:
      return "padded";
    case BankResult::kIncomplete:
      return "incomplete";
    case BankResult::kUnexplained:
      return "unexplained";
    case BankResult::kUndecided:
      break;
  }
  return "undecided";
}

std::string BankText(const BankReport& bank, uint64_t entry_count) {
  switch (bank.result) {
    case BankResult::kExplained:
      return absl::StrCat("explained by the first ", bank.explained_count,
                          " entries");
    case BankResult::kPadded:
      return absl::StrCat("explained by the first ", bank.explained_count,
                          " entries as zero-padded SHA-1 digests alone: the "
                          "kernel lacks the bank's hash when IMA starts");
    case BankResult::kIncomplete:
      return absl::StrCat(
          "NOT explained: it has the first ", bank.explained_count, " of ",
          entry_count,
          " entries alone. The kernel found no TPM when IMA started, or the "
          "TPM was reset since");
    case BankResult::kUnexplained:
      return "NOT explained by the list: history was lost (kexec, "
             "hibernation), or somebody extended the PCR by hand";
    case BankResult::kUndecided:
      break;
  }
  return "could not be compared: no replay computes this bank";
}

std::string BankCure(BankResult result) {
  switch (result) {
    case BankResult::kExplained:
      return "";
    case BankResult::kPadded:
      return "take the bank's PCRs away (tpm2_pcrallocate) and reboot, so that "
             "another is quoted, or boot a kernel with the hash built in";
    case BankResult::kIncomplete:
      return "boot a kernel with the TPM's driver built in";
    case BankResult::kUnexplained:
      return "reboot";
    case BankResult::kUndecided:
      break;
  }
  return "take the bank's PCRs away (tpm2_pcrallocate) unless something needs "
         "them";
}

int SelfTestReport::ExitCode() const {
  const auto any = [&](auto... results) {
    return std::ranges::any_of(banks, [&](const BankReport& bank) {
      return ((bank.result == results) || ...);
    });
  };
  if (any(BankResult::kPadded, BankResult::kIncomplete,
          BankResult::kUnexplained)) {
    return 1;
  }
  return any(BankResult::kUndecided) || banks.empty() ? 2 : 0;
}

std::string SelfTestReport::Text() const {
  std::string text;
  for (const BankReport& bank : banks) {
    absl::StrAppend(&text, bank.bank, ": ", BankText(bank, entry_count));
    const std::string cure = BankCure(bank.result);
    absl::StrAppend(&text, cure.empty() ? "" : "; cure: ", cure, "\n");
  }
  return text;
}

std::string SelfTestReport::Json() const {
  nlohmann::ordered_json json;
  json["entries"] = entry_count;
  json["banks"] = nlohmann::ordered_json::array();
  for (const BankReport& bank : banks) {
    nlohmann::ordered_json one;
    one["bank"] = bank.bank;
    one["result"] = std::string(BankResultName(bank.result));
    one["explained"] = bank.explained_count;
    one["text"] = BankText(bank, entry_count);
    one["cure"] = BankCure(bank.result);
    json["banks"].push_back(std::move(one));
  }
  return json.dump(2) + "\n";
}

absl::StatusOr<SelfTestReport> CompareListWithPcrs(Tpm& tpm,
                                                   ImaListSource& source) {
  CUPEL_ASSIGN_OR_RETURN(std::vector<BankReport> undecided,
                         UndecidedBanks(tpm));
  SelfTestReport report;
  for (int i = 0; i < kTries; ++i) {
    if (i > 0) absl::SleepFor(kPause);
    CUPEL_ASSIGN_OR_RETURN(report, CompareOnce(tpm, source));
    if (std::ranges::none_of(report.banks, [](const BankReport& bank) {
          return bank.result == BankResult::kIncomplete;
        })) {
      break;
    }
  }
  std::ranges::move(undecided, std::back_inserter(report.banks));
  if (report.banks.empty()) {
    return absl::FailedPreconditionError(
        "the TPM has no bank with PCRs: allocate one with tpm2_pcrallocate "
        "and reboot");
  }
  return report;
}

}  // namespace cupel::agent
