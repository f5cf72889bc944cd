#include "common/appraisal/list_checks.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/appraisal/entry_checks.h"
#include "common/ima/boot_aggregate.h"
#include "common/ima/list_parser.h"
#include "common/ima/template.h"

namespace cupel::appraisal {
namespace {

using ::cupel::crypto::Digest;
using ::cupel::crypto::HashAlgorithm;
using ::cupel::ima::Entry;
using ::cupel::ima::PcrSet;
using ::cupel::ima::Replayer;
using ::cupel::ima::ReplayTarget;

// Hands the list to `sink` in batches; the status is about the list's form.
absl::Status ForEachBatch(const ListEvidence& list, const Progress& start,
                          ima::ListParser::Sink sink) {
  ima::ListOptions options;
  options.byte_order = list.byte_order;
  options.template_digest_size = list.template_digest_size;
  options.first_index = start.entry_count;
  options.first_offset = start.byte_offset;
  ima::ListParser parser(options);
  if (absl::Status status = parser.Feed(list.bytes, sink); !status.ok()) {
    return status;
  }
  return parser.Finish();
}

std::string PcrNames(const PcrSet& pcrs) {
  std::vector<size_t> numbers;
  for (size_t pcr = 0; pcr < pcrs.size(); ++pcr) {
    if (pcrs.test(pcr)) numbers.push_back(pcr);
  }
  return absl::StrJoin(numbers, ", ");
}

// `pcrs` is not empty.
uint32_t FirstPcr(const PcrSet& pcrs) {
  uint32_t pcr = 0;
  while (!pcrs.test(pcr)) ++pcr;
  return pcr;
}

bool IsWeak(const ima::Bank& bank) {
  return bank.algorithm == HashAlgorithm::kSha1 ||
         bank.fill == ima::BankFill::kPaddedSha1;
}

bool HasBank(std::span<const ima::Bank> banks, HashAlgorithm algorithm) {
  return std::ranges::find(banks, algorithm, &ima::Bank::algorithm) !=
         banks.end();
}

// The PCRs whose entries this evidence's PCR values can vouch for; by banks
// that rest on SHA-1 only if `weak` is true.
PcrSet CoveredPcrs(const PcrEvidence& pcrs, const std::vector<ima::Bank>& banks,
                   bool weak) {
  PcrSet covered;
  for (const ima::Bank& bank : banks) {
    if (IsWeak(bank) && !weak) continue;
    for (uint32_t pcr = 0; pcr < ima::kPcrCount; ++pcr) {
      if (pcrs.values.Find(bank.algorithm, pcr) != nullptr ||
          (pcrs.composite.has_value() &&
           pcrs.selection.Has(bank.algorithm, pcr))) {
        covered.set(pcr);
      }
    }
  }
  return covered;
}

bool IsReplayed(HashAlgorithm bank, uint32_t pcr,
                const std::vector<ima::Bank>& banks, const PcrSet& listed) {
  return listed.test(pcr) && HasBank(banks, bank);
}

// The PCRs of a composite that neither the list gives nor anybody reported.
PcrSet MissingPcrs(const PcrEvidence& pcrs, const std::vector<ima::Bank>& banks,
                   const PcrSet& listed) {
  PcrSet missing;
  if (!pcrs.composite.has_value()) return missing;
  for (const tpm::BankSelection& bank : pcrs.selection.banks()) {
    for (uint32_t pcr = 0; pcr < ima::kPcrCount; ++pcr) {
      if (bank.Has(pcr) && !IsReplayed(bank.bank, pcr, banks, listed) &&
          pcrs.values.Find(bank.bank, pcr) == nullptr) {
        missing.set(pcr);
      }
    }
  }
  return missing;
}

// What the replay has to reach. `listed` are the PCRs that the list extends
// anywhere: all of them have to fit at once, or the entries of one could wait
// behind the prefix for ever. None may be missing.
ReplayTarget TargetFor(const PcrEvidence& pcrs,
                       const std::vector<ima::Bank>& banks,
                       const PcrSet& listed) {
  if (pcrs.composite.has_value()) {
    std::vector<ReplayTarget::Slot> slots;
    for (const tpm::BankSelection& bank : pcrs.selection.banks()) {
      for (uint32_t pcr = 0; pcr < ima::kPcrCount; ++pcr) {
        if (!bank.Has(pcr)) continue;
        ReplayTarget::Slot slot{bank.bank, pcr, std::nullopt};
        if (!IsReplayed(bank.bank, pcr, banks, listed)) {
          slot.fixed = *pcrs.values.Find(bank.bank, pcr);
        }
        slots.push_back(slot);
      }
    }
    return ReplayTarget::FromComposite(*pcrs.composite, std::move(slots));
  }
  std::vector<ReplayTarget::Value> values;
  for (const ima::Bank& bank : banks) {
    for (uint32_t pcr = 0; pcr < ima::kPcrCount; ++pcr) {
      const Digest* value = pcrs.values.Find(bank.algorithm, pcr);
      if (value != nullptr && listed.test(pcr)) {
        values.push_back({bank.algorithm, pcr, *value});
      }
    }
  }
  return ReplayTarget::FromValues(std::move(values));
}

// Works off one list.
class ListCheck {
 public:
  ListCheck(const ListInput& in, const PcrSet& listed, FindingLog& log,
            EntryCounts& counts)
      : in_(in),
        listed_(listed),
        covered_(CoveredPcrs(in.pcrs, in.banks, /*weak=*/true)),
        log_(log),
        counts_(counts),
        judge_(in.reference, in.pcrs.values, in.evidence.list.byte_order, log,
               counts) {}

  ListResult Run();

  // True if the list extends a PCR that `listed` lacks, so that Run stopped.
  bool found_more_pcrs() const { return found_more_pcrs_; }
  // The PCRs of the entries that Run has met.
  const PcrSet& seen() const { return seen_; }

 private:
  bool MayResume() const;
  bool Prepare();
  void PreparePrefixCheck();
  void CheckPendingTail();
  void CheckCoverage();
  absl::Status Take(std::span<const Entry> batch);
  size_t ReplayBatch(std::span<const Entry> batch);
  void CheckPrefixOfBefore();
  void CheckFirst(const Entry& entry);
  void CheckReportedValues();
  void CheckImaPolicy();
  PcrSet MismatchedPcrs() const;
  void ReportUnexplained();
  void RememberPending();

  const ListInput& in_;
  const PcrSet listed_;
  const PcrSet covered_;
  FindingLog& log_;
  EntryCounts& counts_;
  EntryJudge judge_;

  ListResult result_;
  std::optional<Replayer> replayer_;  // nullopt: there is nothing to reach
  std::optional<ReplayTarget> target_;
  // Of the batch in work.
  std::array<crypto::Sha1Value, ima::ListParser::kBatchSize> sha1_;
  PcrSet seen_;
  bool found_more_pcrs_ = false;
  bool first_seen_ = false;
  bool starts_with_boot_aggregate_ = false;
  // Set while the stored prefix of this boot has still to be met again.
  bool prefix_due_ = false;
  // In the banks of then, where they are not those of now.
  std::optional<Replayer> prefix_replayer_;
};

bool ListCheck::MayResume() const {
  if (!in_.may_resume || !in_.progress.replayer.has_value() ||
      in_.boot == tpm::BootRelation::kNewBoot ||
      in_.boot == tpm::BootRelation::kRestart ||
      in_.evidence.list.first_entry != in_.progress.entry_count) {
    return false;
  }
  return std::ranges::is_permutation(in_.progress.replayer->banks(), in_.banks);
}

// Finds out from where and to where to replay. False if the list can't be
// judged from where it starts.
bool ListCheck::Prepare() {
  const bool whole_list = in_.evidence.list.first_entry == 0;
  if (!whole_list && !MayResume()) {
    log_.Add(MakeFinding(
        "ima.list_start", Severity::kUndecided,
        absl::StrCat("the list starts at entry ", in_.evidence.list.first_entry,
                     ", which is not where the last appraisal of this boot "
                     "with this policy, key and bank ended; the whole list is "
                     "needed")));
    return false;
  }
  if (!whole_list) {
    result_.progress = in_.progress;
    counts_ = in_.progress.counts;
  }
  first_seen_ = !whole_list;
  if (in_.banks.empty()) return true;

  if (const PcrSet missing = MissingPcrs(in_.pcrs, in_.banks, listed_);
      missing.any()) {
    // Not taken for zero: a bank that no firmware used would pass for one whose
    // values nobody reported [A25].
    Finding finding = MakeFinding(
        "quote.pcr_value_missing", Severity::kUndecided,
        absl::StrCat("PCR ", PcrNames(missing),
                     " is quoted, but no value of it is given, nor does "
                     "the list extend it: the quote can't be compared "
                     "with the list"));
    if (missing.count() == 1) finding.pcr = FirstPcr(missing);
    log_.Add(std::move(finding));
    return true;
  }
  if (!whole_list) {
    replayer_ = in_.progress.replayer;
  } else if (auto created = Replayer::Create(in_.banks); created.ok()) {
    replayer_ = *std::move(created);
    PreparePrefixCheck();
  }
  if (!replayer_.has_value()) return true;
  target_ = TargetFor(in_.pcrs, in_.banks, listed_);
  result_.explained = replayer_->Explains(*target_);
  return true;
}

// A list that is sent again within one boot has to begin as it did: after a
// suspend because the TPM alone may have been restarted, and else because two
// machines may share one TPM's state [A27, A33].
void ListCheck::PreparePrefixCheck() {
  prefix_due_ = in_.progress.replayer.has_value() &&
                in_.progress.entry_count > 0 &&
                in_.boot != tpm::BootRelation::kNewBoot;
  if (!prefix_due_) return;
  const std::span<const ima::Bank> banks = in_.progress.replayer->banks();
  if (std::ranges::is_permutation(banks, in_.banks)) return;
  if (auto created = Replayer::Create({banks.begin(), banks.end()});
      created.ok()) {
    prefix_replayer_ = *std::move(created);
  }
}

// What followed the last quoted prefix has to be there again: entries are only
// ever added.
void ListCheck::CheckPendingTail() {
  if (in_.progress.pending_size == 0 ||
      !in_.progress.pending_digest.has_value() ||
      in_.boot == tpm::BootRelation::kNewBoot) {
    return;
  }
  const std::span<const uint8_t> bytes = in_.evidence.list.bytes;
  const uint64_t skip =
      in_.evidence.list.first_entry == 0 ? in_.progress.byte_offset : 0;
  if (bytes.size() >= skip &&
      bytes.size() - skip >= in_.progress.pending_size) {
    const Digest digest = crypto::Hash(
        HashAlgorithm::kSha256,
        bytes.subspan(static_cast<size_t>(skip),
                      static_cast<size_t>(in_.progress.pending_size)));
    if (digest == *in_.progress.pending_digest) return;
  }
  log_.Add(
      MakeFinding("ima.tail_vanished", Severity::kFailure,
                  "entries that the list showed before, ahead of their quote, "
                  "are gone or changed"));
}

// A PCR that nothing vouches for proves none of its entries, and one that only
// SHA-1 vouches for no more than that. That is nobody's fault yet: a list may
// use a new PCR after the challenge has named those to quote.
void ListCheck::CheckCoverage() {
  if (in_.banks.empty()) return;
  const PcrSet used = seen_ | listed_;
  if (const PcrSet uncovered = used & ~covered_; uncovered.any()) {
    Finding finding = MakeFinding(
        "ima.pcr_not_quoted", Severity::kUndecided,
        absl::StrCat("the list extends PCR ", PcrNames(uncovered),
                     ", of which the PCR values say nothing: what is "
                     "measured there is not proven"));
    finding.pcr = FirstPcr(uncovered);
    log_.Add(std::move(finding));
  }
  if (in_.reference.allow_sha1_bank) return;
  PcrSet weak =
      used & covered_ & ~CoveredPcrs(in_.pcrs, in_.banks, /*weak=*/false);
  weak.reset(ima::kImaPcr);  // CheckBanks has looked at it
  if (weak.any()) {
    Finding finding = MakeFinding(
        "pcr.bank_weak", Severity::kFailure,
        absl::StrCat("only SHA-1 digests vouch for the entries on PCR ",
                     PcrNames(weak),
                     ", which has to be allowed "
                     "expressly"));
    finding.pcr = FirstPcr(weak);
    log_.Add(std::move(finding));
  }
}

// Where the list completed the quote, the reported value of a PCR that it
// extends was not needed. Other checks may have used it [A7].
void ListCheck::CheckReportedValues() {
  if (!in_.pcrs.composite.has_value()) return;
  for (const ima::Bank& bank : in_.banks) {
    for (uint32_t pcr = 0; pcr < ima::kPcrCount; ++pcr) {
      const Digest* reported = in_.pcrs.values.Find(bank.algorithm, pcr);
      if (reported == nullptr || !listed_.test(pcr)) continue;
      const Digest& replayed = replayer_->Value(bank.algorithm, pcr);
      if (*reported == replayed) continue;
      Finding finding = MakeFinding(
          "quote.pcr_digest", Severity::kFailure,
          "the value given for this PCR is not the one that was quoted");
      finding.pcr = pcr;
      finding.expected = replayed.Hex();
      finding.found = reported->Hex();
      log_.Add(std::move(finding));
    }
  }
}

// Which IMA policy is in force can't be seen from a list but by what it
// measured, and by an entry of the policy's own. Where only the rest of a list
// is judged, its beginning has passed with the same reference, and has shown
// that [A26].
void ListCheck::CheckImaPolicy() {
  if (!judge_.lacks_ima_policy()) return;
  const std::vector<std::string>& wanted = in_.reference.ima_policies;
  Finding finding = MakeFinding("ima.policy_unproven", Severity::kUndecided,
                                "the list does not show the IMA policy that "
                                "has to be loaded: the machine "
                                "may measure less than it should");
  if (wanted.size() > 1) {
    absl::StrAppend(&finding.detail, "; any of ", wanted.size(),
                    " paths would do");
  }
  finding.path = wanted.front();
  log_.Add(std::move(finding));
}

ListResult ListCheck::Run() {
  const size_t first_finding = log_.size();
  if (!Prepare()) return result_;
  CheckPendingTail();
  const absl::Status form =
      ForEachBatch(in_.evidence.list, result_.progress,
                   [&](std::span<const Entry> batch) { return Take(batch); });
  if (found_more_pcrs_) return result_;
  CheckCoverage();
  if (!form.ok()) {
    // What stands behind the broken record can't be known: nothing is concluded
    // from its absence.
    log_.Add(MakeFinding("ima.list_malformed", Severity::kUndecided,
                         std::string(form.message())));
  }
  if (!first_seen_ && form.ok()) {
    log_.Add(
        MakeFinding("ima.boot_aggregate_missing", Severity::kFailure,
                    "nothing was measured: a list starts with boot_aggregate"));
  }
  if (form.ok()) CheckImaPolicy();
  // A list that starts anew and explains nothing is what a kexec leaves: the
  // history is lost then, and shorter for that.
  if (prefix_due_ && form.ok() &&
      (result_.explained || !starts_with_boot_aggregate_)) {
    const bool restarted = in_.boot == tpm::BootRelation::kRestart;
    log_.Add(
        MakeFinding(restarted ? "tpm.restart_unexplained" : "ima.list_shrank",
                    Severity::kFailure,
                    absl::StrCat("the list, or the part of it that the PCRs "
                                 "explain, is shorter than the ",
                                 in_.progress.entry_count,
                                 " entries of before, without a new boot")));
  }
  if (replayer_.has_value() && !result_.explained && form.ok()) {
    ReportUnexplained();
  }
  if (!result_.explained ||
      (in_.evidence.quote.has_value() && !in_.pcrs.quoted)) {
    log_.MarkUnauthenticated(first_finding);
  }
  if (result_.explained) {
    CheckReportedValues();
    RememberPending();
    result_.progress.replayer = std::move(replayer_);
  }
  return result_;
}

absl::Status ListCheck::Take(std::span<const Entry> batch) {
  for (const Entry& entry : batch) seen_.set(entry.pcr);
  if ((seen_ & covered_ & ~listed_).any()) {
    found_more_pcrs_ = true;
    return absl::CancelledError("more PCRs than were reckoned with");
  }
  if (in_.options.on_progress) in_.options.on_progress(counts_.entries);
  if (result_.explained) {
    counts_.pending += batch.size();
    return absl::OkStatus();
  }
  const size_t taken = ReplayBatch(batch);
  if (taken > 0) {
    CheckFirst(batch.front());
    judge_.Judge(batch.first(taken),
                 replayer_.has_value() ? std::span(sha1_).first(taken)
                                       : std::span<crypto::Sha1Value>(),
                 covered_);
    const Entry& last = batch[taken - 1];
    result_.progress.entry_count = last.index + 1;
    result_.progress.byte_offset = last.offset + last.record_size;
  }
  counts_.pending += batch.size() - taken;
  return absl::OkStatus();
}

// Replays `batch`, or as much of it as it takes to explain the PCRs. Returns
// how many entries that was.
size_t ListCheck::ReplayBatch(std::span<const Entry> batch) {
  if (!replayer_.has_value()) return batch.size();
  size_t taken = 0;
  while (taken < batch.size()) {
    std::span<const Entry> piece = batch.subspan(taken);
    // Stop where the stored prefix ends, to compare.
    if (prefix_due_ && piece.front().index < in_.progress.entry_count) {
      piece = piece.first(static_cast<size_t>(std::min<uint64_t>(
          piece.size(), in_.progress.entry_count - piece.front().index)));
    }
    const std::optional<size_t> found = replayer_->ExtendUntil(
        piece, *target_, std::span(sha1_).subspan(taken, piece.size()));
    const size_t size = found.value_or(piece.size());
    if (prefix_due_ && prefix_replayer_.has_value()) {
      prefix_replayer_->Extend(piece.first(size));
    }
    taken += size;
    if (prefix_due_ && batch[taken - 1].index + 1 == in_.progress.entry_count) {
      CheckPrefixOfBefore();
    }
    if (found.has_value()) {
      result_.explained = true;
      return taken;
    }
  }
  return taken;
}

void ListCheck::CheckPrefixOfBefore() {
  prefix_due_ = false;
  const Replayer& now =
      prefix_replayer_.has_value() ? *prefix_replayer_ : *replayer_;
  for (const ima::Bank& bank : in_.progress.replayer->banks()) {
    for (uint32_t pcr = 0; pcr < ima::kPcrCount; ++pcr) {
      const Digest& expected =
          in_.progress.replayer->Value(bank.algorithm, pcr);
      const Digest& found = now.Value(bank.algorithm, pcr);
      if (found == expected) continue;
      const bool restarted = in_.boot == tpm::BootRelation::kRestart;
      Finding finding = MakeFinding(
          restarted ? "tpm.restart_unexplained" : "tpm.clone_suspected",
          Severity::kFailure,
          absl::StrCat("the first ", in_.progress.entry_count,
                       " entries are not those of before, though the TPM "
                       "was not reset"));
      finding.pcr = pcr;
      finding.expected = expected.Hex();
      finding.found = found.Hex();
      log_.Add(std::move(finding));
      return;
    }
  }
}

// The first thing that IMA measures is what booted. A list without it was not
// started by a kernel that had a TPM [A26].
void ListCheck::CheckFirst(const Entry& entry) {
  if (first_seen_) return;
  first_seen_ = true;
  const auto fields = ima::ParseFields(entry, in_.evidence.list.byte_order);
  if (fields.ok() && ima::IsBootAggregatePath(fields->path) &&
      !entry.IsViolation()) {
    starts_with_boot_aggregate_ = true;
    return;
  }
  Finding finding =
      MakeFinding("ima.boot_aggregate_missing", Severity::kFailure,
                  "the list does not start with boot_aggregate");
  finding.entry_index = entry.index;
  finding.pcr = entry.pcr;
  if (fields.ok()) finding.path = std::string(fields->path);
  log_.Add(std::move(finding));
}

// Those whose value is known, and is not what the whole list gives them.
PcrSet ListCheck::MismatchedPcrs() const {
  PcrSet mismatched;
  for (const ima::Bank& bank : in_.banks) {
    for (uint32_t pcr = 0; pcr < ima::kPcrCount; ++pcr) {
      const Digest* wanted = in_.pcrs.values.Find(bank.algorithm, pcr);
      if (wanted != nullptr && listed_.test(pcr) &&
          *wanted != replayer_->Value(bank.algorithm, pcr)) {
        mismatched.set(pcr);
      }
    }
  }
  return mismatched;
}

void ListCheck::ReportUnexplained() {
  Finding finding = MakeFinding(
      "ima.history_lost", Severity::kFailure,
      absl::StrCat(
          "no beginning of the list's ", result_.progress.entry_count,
          " entries gives the PCR values: the list was cut or changed, or the "
          "kernel was entered by kexec or hibernation, or somebody extended "
          "PCR ",
          ima::kImaPcr, " by hand"));
  finding.pcr = ima::kImaPcr;
  if (const PcrSet others = MismatchedPcrs() & ~PcrSet().set(ima::kImaPcr);
      others.any()) {
    absl::StrAppend(&finding.detail, "; PCR ", PcrNames(others),
                    ", which the list extends or has to, is not what it gives");
  }
  for (const ima::Bank& bank : in_.banks) {
    const absl::string_view name = HashAlgorithmName(bank.algorithm);
    const Digest* wanted = in_.pcrs.values.Find(bank.algorithm, ima::kImaPcr);
    if (wanted == nullptr) continue;
    absl::StrAppend(&finding.expected, finding.expected.empty() ? "" : " ",
                    name, ":", wanted->Hex());
    absl::StrAppend(&finding.found, finding.found.empty() ? "" : " ", name, ":",
                    replayer_->Value(bank.algorithm, ima::kImaPcr).Hex());
    if (DigestSize(bank.algorithm) > 32 &&
        bank.fill == ima::BankFill::kOwnHash) {
      absl::StrAppend(&finding.detail, "; or the kernel pads SHA-1 digests in ",
                      "the ", name, " bank, which has to be said beforehand");
    }
  }
  log_.Add(std::move(finding));
}

// The tail behind the prefix, to be met again next time.
void ListCheck::RememberPending() {
  result_.progress.pending_size = 0;
  result_.progress.pending_digest.reset();
  result_.progress.pending_since.reset();
  if (counts_.pending == 0) return;
  const uint64_t start =
      in_.evidence.list.first_entry == 0 ? 0 : in_.progress.byte_offset;
  const std::span<const uint8_t> tail = in_.evidence.list.bytes.subspan(
      static_cast<size_t>(result_.progress.byte_offset - start));
  result_.progress.pending_size = tail.size();
  result_.progress.pending_digest = crypto::Hash(HashAlgorithm::kSha256, tail);
}

// The PCRs that the list extends, as far as it can be read.
PcrSet ListedPcrs(const ListEvidence& list) {
  PcrSet listed;
  ForEachBatch(list, {}, [&](std::span<const Entry> batch) {
    for (const Entry& entry : batch) listed.set(entry.pcr);
    return absl::OkStatus();
  }).IgnoreError();  // Reported when the list is judged.
  return listed;
}

}  // namespace

ListResult CheckList(const ListInput& in, FindingLog& log,
                     EntryCounts& counts) {
  // Nearly every list keeps to PCR 10. Where one does not, it is gone through
  // again with all its PCRs in mind.
  PcrSet listed;
  listed.set(ima::kImaPcr);
  // Left out, a PCR's entries would be missed nowhere else.
  listed |= in.reference.list_pcrs | in.progress.list_pcrs;
  if (in.evidence.list.first_entry != 0 && in.progress.replayer.has_value()) {
    listed |= in.progress.replayer->extended_pcrs();
  }
  while (true) {
    FindingLog attempt_log = log;
    EntryCounts attempt_counts;
    ListCheck check(in, listed, attempt_log, attempt_counts);
    ListResult result = check.Run();
    if (!check.found_more_pcrs()) {
      log = std::move(attempt_log);
      counts = attempt_counts;
      return result;
    }
    // Each time round adds one PCR at least.
    listed |= check.seen() | ListedPcrs(in.evidence.list);
  }
}

}  // namespace cupel::appraisal
