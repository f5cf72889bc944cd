#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "CLI/App.hpp"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/ima/hashed_data.h"
#include "common/ima/list_parser.h"
#include "common/ima/replay.h"
#include "common/tpm/constants.h"
#include "common/util/status_macros.h"
#include "nlohmann/json.hpp"
#include "tenant/commands/commands.h"
#include "tenant/console.h"
#include "tenant/help_formatter.h"
#include "tenant/inputs.h"

namespace cupel::tenant {
namespace {

using ::cupel::crypto::Digest;
using ::cupel::crypto::HashAlgorithm;
using Json = nlohmann::ordered_json;

struct ReplayFlags {
  std::string file;
  ListFlags list;
  std::string pcrs;
  std::vector<std::string> padded_banks;
  bool json = false;
};

constexpr HashAlgorithm kBanks[] = {
    HashAlgorithm::kSha1, HashAlgorithm::kSha256, HashAlgorithm::kSha384,
    HashAlgorithm::kSha512};

// One bank's replay, and what it had to give.
struct BankReplay {
  ima::Bank bank;
  ima::Replayer replayer;
  // nullopt: there is nothing to compare with.
  std::optional<ima::ReplayTarget> target = std::nullopt;
  // The PCRs of the target.
  ima::PcrSet compared = {};
  // Entries that explain the target, at least and at most: those that follow
  // may be on other PCRs.
  std::optional<uint64_t> explained_by = std::nullopt;
  uint64_t explained_until = 0;
  bool still_explained = false;
};

// A list, what it is compared with, and what came of it.
struct Replay {
  std::vector<uint8_t> list;
  ima::ListOptions options;
  std::vector<HashAlgorithm> padded;
  uint64_t entry_count = 0;
  // Records whose column with the template digest is not that of their data,
  // and the first of them. No PCR covers it.
  uint64_t wrong_digest_count = 0;
  uint64_t first_wrong_digest = 0;
  // The PCRs that the list extends, and PCR 10.
  std::vector<uint32_t> listed;
  // The values to explain; empty if none were given.
  tpm::PcrValues pcrs;
  // Banks of `pcrs` that can't be replayed.
  std::vector<std::string> left_out;
  // Of `listed`, those without a value in any bank of `pcrs`.
  std::vector<uint32_t> uncovered;
  std::vector<BankReplay> banks;
};

std::string BankLabel(const ima::Bank& bank) {
  return absl::StrCat(
      tpm::BankName(bank.algorithm),
      bank.fill == ima::BankFill::kPaddedSha1 ? " (padded SHA-1)" : "");
}

absl::Status CountEntries(const std::string& path, Replay& replay) {
  ima::PcrSet listed;
  listed.set(ima::kImaPcr);
  ima::ListParser parser(replay.options);
  absl::Status status =
      parser.Feed(replay.list, [&](std::span<const ima::Entry> entries) {
        for (const ima::Entry& entry : entries) listed.set(entry.pcr);
        return absl::OkStatus();
      });
  if (status.ok()) status = parser.Finish();
  CUPEL_RETURN_IF_ERROR(InBinaryList(status, path, parser.entry_count()));
  replay.entry_count = parser.entry_count();
  for (uint32_t pcr = 0; pcr < ima::kPcrCount; ++pcr) {
    if (listed.test(pcr)) replay.listed.push_back(pcr);
  }
  return absl::OkStatus();
}

absl::Status MakeBanks(const ReplayFlags& flags, Replay& replay) {
  CUPEL_ASSIGN_OR_RETURN(replay.padded, PaddedBanks(flags.padded_banks));
  for (const HashAlgorithm algorithm : kBanks) {
    const bool pads =
        std::ranges::find(replay.padded, algorithm) != replay.padded.end();
    const ima::Bank bank{
        algorithm, pads ? ima::BankFill::kPaddedSha1 : ima::BankFill::kOwnHash};
    CUPEL_ASSIGN_OR_RETURN(ima::Replayer replayer,
                           ima::Replayer::Create({bank}));
    replay.banks.push_back({.bank = bank, .replayer = std::move(replayer)});
  }
  return absl::OkStatus();
}

// Says what the PCRs have to be in `bank`. False where the file says nothing.
bool SetTarget(const Replay& replay, BankReplay& bank) {
  std::vector<ima::ReplayTarget::Value> values;
  for (const uint32_t pcr : replay.listed) {
    const HashAlgorithm algorithm = bank.bank.algorithm;
    if (const Digest* value = replay.pcrs.Find(algorithm, pcr)) {
      values.push_back({algorithm, pcr, *value});
      bank.compared.set(pcr);
    }
  }
  if (values.empty()) return false;
  bank.target = ima::ReplayTarget::FromValues(std::move(values));
  return true;
}

// Loads the values to explain, and leaves the banks that have any.
absl::Status LoadTargets(const std::string& path, Replay& replay) {
  CUPEL_ASSIGN_OR_RETURN(tpm::PcrFile file, LoadPcrs(path, nullptr));
  replay.pcrs = std::move(file.values);
  for (const HashAlgorithm bank : replay.pcrs.banks()) {
    if (std::ranges::find(kBanks, bank) == std::ranges::end(kBanks)) {
      replay.left_out.push_back(tpm::BankName(bank));
    }
  }
  std::erase_if(replay.banks,
                [&](BankReplay& bank) { return !SetTarget(replay, bank); });
  if (replay.banks.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        InputName(path), ": no value of PCR ",
        absl::StrJoin(replay.listed, " or "),
        ", which the list extends, in bank sha1, sha256, sha384 or sha512"));
  }
  for (const uint32_t pcr : replay.listed) {
    if (std::ranges::none_of(replay.banks, [&](const BankReplay& bank) {
          return replay.pcrs.Find(bank.bank.algorithm, pcr) != nullptr;
        })) {
      replay.uncovered.push_back(pcr);
    }
  }
  return absl::OkStatus();
}

void Extend(BankReplay& bank, std::span<const ima::Entry> entries,
            uint64_t first) {
  if (!bank.target.has_value()) {
    bank.replayer.Extend(entries);
    return;
  }
  if (!bank.explained_by.has_value()) {
    const auto taken = bank.replayer.ExtendUntil(entries, *bank.target);
    if (!taken.has_value()) return;
    bank.explained_by = first + *taken;
    bank.explained_until = *bank.explained_by;
    bank.still_explained = true;
    entries = entries.subspan(*taken);
  }
  for (const ima::Entry& entry : entries) {
    bank.still_explained &= !bank.compared.test(entry.pcr);
    bank.explained_until += bank.still_explained ? 1 : 0;
  }
}

// Says what a replay by PCRs can't see: a record that was touched where no PCR
// covers it, or, out of a text, a name that was taken apart.
void CheckDigests(std::span<const ima::Entry> entries,
                  std::span<const HashAlgorithm> padded, Replay& replay) {
  for (const ima::Entry& entry : entries) {
    if (entry.IsViolation() || ima::HasOwnTemplateDigest(entry, padded)) {
      continue;
    }
    if (replay.wrong_digest_count++ == 0) {
      replay.first_wrong_digest = entry.index;
    }
  }
}

absl::Status ReplayBanks(Replay& replay) {
  // A PCR of zeros explains an empty list, and no other: a kernel that wrote
  // entries extended it.
  for (BankReplay& bank : replay.banks) {
    if (replay.entry_count == 0 && bank.target.has_value() &&
        bank.replayer.Explains(*bank.target)) {
      bank.explained_by = 0;
    }
  }
  ProgressMeter meter("entries replayed");
  ima::ListParser parser(replay.options);
  uint64_t done = 0;
  return parser.Feed(replay.list, [&](std::span<const ima::Entry> entries) {
    CheckDigests(entries, replay.padded, replay);
    for (BankReplay& bank : replay.banks) Extend(bank, entries, done);
    done += entries.size();
    meter.Update(done);
    return absl::OkStatus();
  });
}

absl::Status RunReplay(const ReplayFlags& flags, Replay& replay) {
  CUPEL_RETURN_IF_ERROR(CheckStandardInput({flags.file, flags.pcrs}));
  CUPEL_RETURN_IF_ERROR(MakeBanks(flags, replay));
  CUPEL_ASSIGN_OR_RETURN(replay.list, LoadList(flags.file, flags.list));
  replay.options = flags.list.ToOptions();
  CUPEL_RETURN_IF_ERROR(CountEntries(flags.file, replay));
  if (!flags.pcrs.empty()) {
    CUPEL_RETURN_IF_ERROR(LoadTargets(flags.pcrs, replay));
  }
  return ReplayBanks(replay);
}

// True if no one beginning of the list explains all the banks that are
// explained: their values are of different moments, as no machine's are.
bool BanksDisagree(const Replay& replay) {
  uint64_t from = 0;
  uint64_t until = replay.entry_count;
  for (const BankReplay& bank : replay.banks) {
    if (!bank.explained_by.has_value()) continue;
    from = std::max(from, *bank.explained_by);
    until = std::min(until, bank.explained_until);
  }
  return from > until;
}

bool IsUnexplained(const BankReplay& bank) {
  return bank.target.has_value() && !bank.explained_by.has_value();
}

void PrintValues(const BankReplay& bank, const Replay& replay) {
  for (const uint32_t pcr : replay.listed) {
    PrintLine(
        absl::StrCat(BankLabel(bank.bank), " PCR ", pcr, ": ",
                     bank.replayer.Value(bank.bank.algorithm, pcr).Hex()));
  }
}

void PrintComparison(const BankReplay& bank, const Replay& replay) {
  const std::string label = BankLabel(bank.bank);
  if (bank.explained_by.has_value()) {
    const bool all = *bank.explained_by == replay.entry_count;
    PrintLine(absl::StrCat(label, ": explained by ",
                           all ? absl::StrCat("all ", replay.entry_count)
                               : absl::StrCat("the first ", *bank.explained_by,
                                              " of ", replay.entry_count),
                           " entries"));
    return;
  }
  PrintLine(absl::StrCat(label, ": NOT explained by any beginning of the ",
                         replay.entry_count, " entries"));
  for (const uint32_t pcr : replay.listed) {
    const Digest* wanted = replay.pcrs.Find(bank.bank.algorithm, pcr);
    if (wanted == nullptr) continue;
    PrintLine(absl::StrCat("  PCR ", pcr, " is              ", wanted->Hex()));
    PrintLine(
        absl::StrCat("  the whole list gives ",
                     bank.replayer.Value(bank.bank.algorithm, pcr).Hex()));
  }
}

// What can be the matter where a bank is not explained.
void PrintCauses(const Replay& replay) {
  PrintLine(
      "The list was cut or changed, the kernel was entered by kexec or\n"
      "hibernation, or somebody extended the PCR by hand.");
  for (const BankReplay& bank : replay.banks) {
    if (!IsUnexplained(bank) || DigestSize(bank.bank.algorithm) <= 32 ||
        bank.bank.fill == ima::BankFill::kPaddedSha1) {
      continue;
    }
    const std::string name = tpm::BankName(bank.bank.algorithm);
    PrintLine(absl::StrCat("Or the kernel lacked ", name,
                           " when IMA started: then --pad-sha1 ", name,
                           " explains it."));
  }
}

void PrintReplay(const Replay& replay) {
  PrintLine(absl::StrCat(replay.entry_count, " entries"));
  for (const BankReplay& bank : replay.banks) {
    if (bank.target.has_value()) {
      PrintComparison(bank, replay);
    } else {
      PrintValues(bank, replay);
    }
  }
  if (std::ranges::any_of(replay.banks, IsUnexplained)) PrintCauses(replay);
  if (BanksDisagree(replay)) {
    PrintLine("The banks disagree: their values are of different moments.");
  }
  if (replay.wrong_digest_count != 0) {
    PrintLine(absl::StrCat(
        replay.wrong_digest_count,
        " entries show a template digest that is not their data's, the first "
        "is entry ",
        replay.first_wrong_digest, ": the list was changed"));
  }
  if (!replay.uncovered.empty()) {
    PrintLine(absl::StrCat("PCR ", absl::StrJoin(replay.uncovered, ", "),
                           ": extended by the list, and no value is given: "
                           "could not decide"));
  }
  for (const std::string& bank : replay.left_out) {
    PrintLine(absl::StrCat(bank, ": left out, can't be replayed"));
  }
}

Json ToJson(const BankReplay& bank, const Replay& replay) {
  Json json;
  json["bank"] = tpm::BankName(bank.bank.algorithm);
  json["padded_sha1"] = bank.bank.fill == ima::BankFill::kPaddedSha1;
  json["pcrs"] = Json::object();
  for (const uint32_t pcr : replay.listed) {
    json["pcrs"][absl::StrCat(pcr)] =
        bank.replayer.Value(bank.bank.algorithm, pcr).Hex();
  }
  if (!bank.target.has_value()) return json;
  json["expected"] = Json::object();
  for (const uint32_t pcr : replay.listed) {
    if (const Digest* wanted = replay.pcrs.Find(bank.bank.algorithm, pcr)) {
      json["expected"][absl::StrCat(pcr)] = wanted->Hex();
    }
  }
  json["explained"] = bank.explained_by.has_value();
  if (bank.explained_by.has_value()) {
    json["explained_by_entries"] = *bank.explained_by;
  }
  return json;
}

void PrintJsonReplay(const Replay& replay) {
  Json json;
  json["entries"] = replay.entry_count;
  json["banks"] = Json::array();
  for (const BankReplay& bank : replay.banks) {
    json["banks"].push_back(ToJson(bank, replay));
  }
  json["wrong_template_digests"] = replay.wrong_digest_count;
  json["uncovered_pcrs"] = replay.uncovered;
  json["left_out_banks"] = replay.left_out;
  PrintLine(DumpJson(json, 2));
}

ExitCode ExitCodeFor(const Replay& replay) {
  if (std::ranges::any_of(replay.banks, IsUnexplained) ||
      BanksDisagree(replay) || replay.wrong_digest_count != 0) {
    return ExitCode::kFindings;
  }
  return replay.uncovered.empty() ? ExitCode::kOk : ExitCode::kUndecided;
}

ExitCode Run(const ReplayFlags& flags) {
  Replay replay;
  if (const absl::Status status = RunReplay(flags, replay); !status.ok()) {
    return Fail(status);
  }
  if (flags.json) {
    PrintJsonReplay(replay);
  } else {
    PrintReplay(replay);
  }
  return ExitCodeFor(replay);
}

}  // namespace

void RegisterLogReplay(CLI::App& parent, ExitCode& exit_code) {
  const auto flags = std::make_shared<ReplayFlags>();
  CLI::App* command = parent.add_subcommand(
      "replay",
      "Compute the PCR values that a list gives, in every bank. With --pcrs, "
      "say how much of the list explains the values there; exit code 1 if it "
      "does not explain them.");
  command
      ->add_option("list", flags->file,
                   "The list, binary or ASCII; - for standard input")
      ->required()
      ->type_name("FILE");
  flags->list.Register(*command);
  command
      ->add_option("--pcrs", flags->pcrs,
                   "PCR values to explain: output of tpm2_pcrread, "
                   "tpm2_checkquote or tpm2_quote, evmctl's PCR-10: lines, or "
                   "JSON")
      ->type_name("FILE");
  RegisterPadSha1(*command, flags->padded_banks);
  command->add_flag("--json", flags->json, "Machine-readable output");
  AddExamples(*command, {"cupel-tenant log replay list --pcrs pcrs.txt"});
  command->callback([flags, &exit_code] { exit_code = Run(*flags); });
}

}  // namespace cupel::tenant
