#include "common/appraisal/appraise.h"

#include <algorithm>
#include <exception>
#include <limits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/appraisal/finding_log.h"
#include "common/appraisal/list_checks.h"
#include "common/appraisal/platform_checks.h"
#include "common/crypto/pcr.h"
#include "common/util/bytes.h"
#include "common/util/status_macros.h"

namespace cupel::appraisal {
namespace {

// Raised with every change after which an entry that passed might fail.
constexpr uint32_t kChecksVersion = 2;

Verdict VerdictOf(Severity worst) {
  switch (worst) {
    case Severity::kNotice:
      return Verdict::kPass;
    case Severity::kUndecided:
      return Verdict::kUndecided;
    case Severity::kFailure:
      break;
  }
  return Verdict::kFail;
}

// The bank whose replay says most: the messages name one.
std::optional<crypto::HashAlgorithm> StrongestBank(
    const std::vector<ima::Bank>& banks) {
  std::optional<crypto::HashAlgorithm> strongest;
  for (const ima::Bank& bank : banks) {
    if (!strongest.has_value() ||
        DigestSize(bank.algorithm) > DigestSize(*strongest)) {
      strongest = bank.algorithm;
    }
  }
  return strongest;
}

// Those that a list may use: anybody can reset PCR 16 and those behind it, and
// the boot needs the others.
ima::PcrSet ListPcrs() {
  ima::PcrSet pcrs;
  for (uint32_t pcr = ima::kImaPcr; pcr < crypto::kFirstResettablePcr; ++pcr) {
    pcrs.set(pcr);
  }
  return pcrs;
}

// What to go on from after a pass.
Progress NextProgress(Progress after_list, std::string key,
                      const PcrEvidence& pcrs, const Progress& before,
                      std::optional<tpm::BootRelation> boot) {
  after_list.key = std::move(key);
  // Without a quote nothing is known of clock and boot but what was.
  after_list.clock_info = before.clock_info;
  after_list.boot_pcrs = before.boot_pcrs;
  after_list.list_pcrs = before.list_pcrs;
  if (pcrs.clock_info.has_value()) {
    after_list.clock_info = pcrs.clock_info;
    after_list.boot_pcrs = BootPcrs(pcrs, before, boot);
  }
  return after_list;
}

absl::StatusOr<Appraisal> AppraiseUnguarded(const Evidence& evidence,
                                            const Challenge& challenge,
                                            const Reference& reference,
                                            const Progress& progress,
                                            const Options& options) {
  // A missing policy is an error, never a pass.
  if (reference.policy == nullptr) {
    return absl::InvalidArgumentError("appraisal without a policy");
  }
  if (evidence.quote.has_value() && challenge.ak == nullptr) {
    return absl::InvalidArgumentError("a quote, but no key to check it with");
  }
  if (evidence.quote.has_value() && evidence.quote->verified != nullptr) {
    CUPEL_RETURN_IF_ERROR(CheckAnswers(*evidence.quote->verified, challenge));
  }
  FindingLog log(options.max_findings);
  Appraisal appraisal;
  const PcrEvidence pcrs = CheckQuote(evidence, challenge, log);
  const std::optional<tpm::BootRelation> boot =
      CheckCounters(pcrs, progress, log);
  const size_t first_of_values = log.size();
  const std::vector<ima::Bank> banks = CheckBanks(pcrs, reference, log);
  CheckBootPcrs(pcrs, progress, boot, log);
  CheckBoot(pcrs, reference, log);
  std::string key;
  if (!evidence.quote.has_value()) {
    key = ProgressKey({}, reference, banks);
  } else if (challenge.ak->has_public_area()) {  // else nobody knows its Name
    key = ProgressKey(challenge.ak->name(), reference, banks);
  }
  const bool may_resume = !key.empty() && key == progress.key;
  ListResult list = CheckList({.evidence = evidence,
                               .reference = reference,
                               .pcrs = pcrs,
                               .banks = banks,
                               .boot = boot,
                               .progress = progress,
                               .may_resume = may_resume,
                               .options = options},
                              log, appraisal.counts);
  // Reported values are as good as the list that completes them.
  if (pcrs.composite.has_value() && !list.explained) {
    log.MarkUnauthenticated(first_of_values);
  }

  appraisal.verdict = VerdictOf(log.worst());
  appraisal.bank = StrongestBank(banks);
  if (list.explained && pcrs.quoted) {
    appraisal.proof =
        pcrs.key_attributes_known ? Proof::kQuote : Proof::kQuoteOfBareKey;
  } else if (list.explained && !evidence.quote.has_value()) {
    appraisal.proof = Proof::kPcrs;
  }
  appraisal.progress = progress;
  if (list.explained && pcrs.quoted && list.progress.replayer.has_value()) {
    // Also of a list that fails: it may be shown without them the next time.
    appraisal.progress.list_pcrs |=
        list.progress.replayer->extended_pcrs() & ListPcrs();
  }
  if (appraisal.verdict == Verdict::kPass && list.explained) {
    appraisal.progress = NextProgress(std::move(list.progress), std::move(key),
                                      pcrs, appraisal.progress, boot);
    appraisal.progress.counts = appraisal.counts;
    appraisal.progress.counts.pending = 0;
  } else if (appraisal.verdict == Verdict::kPass && pcrs.any()) {
    return absl::InternalError(
        "appraisal: PCR values that nothing explains, and no finding");
  }
  appraisal.findings_dropped = log.dropped();
  appraisal.findings = log.Take();
  return appraisal;
}

}  // namespace

std::string ProgressKey(std::span<const uint8_t> ak_name,
                        const Reference& reference,
                        std::vector<ima::Bank> banks) {
  const std::string& policies = reference.policy->content_id();
  if (policies.empty()) return "";
  std::ranges::sort(banks, {}, &ima::Bank::algorithm);
  std::vector<uint8_t> message;
  AppendBe(message, kChecksVersion);
  AppendBe(message, static_cast<uint32_t>(ak_name.size()));
  Append(message, ak_name);
  AppendBe(message, static_cast<uint32_t>(banks.size()));
  for (const ima::Bank& bank : banks) {
    Append(message, AsBytes(HashAlgorithmName(bank.algorithm)));
    message.push_back(bank.fill == ima::BankFill::kPaddedSha1 ? 1 : 0);
  }
  message.push_back(reference.lab ? 1 : 0);
  message.push_back(reference.tolerate_violations ? 1 : 0);
  // Says what a kexec is.
  message.push_back(policy::AllowsAnyBoot(reference.boot_rule) ? 1 : 0);
  Append(message, AsBytes(policies));
  if (reference.tolerated_violations != nullptr) {
    for (const policy::ExcludePattern& pattern :
         reference.tolerated_violations->patterns()) {
      AppendBe(message, static_cast<uint32_t>(pattern.text.size()));
      Append(message, AsBytes(pattern.text));
    }
  }
  // A pattern has no such size: nothing that goes before can be taken for
  // these.
  if (!reference.ima_policies.empty()) {
    AppendBe(message, std::numeric_limits<uint32_t>::max());
  }
  for (const std::string& path : reference.ima_policies) {
    AppendBe(message, static_cast<uint32_t>(path.size()));
    Append(message, AsBytes(path));
  }
  return crypto::Hash(crypto::HashAlgorithm::kSha256, message).Hex();
}

absl::StatusOr<Appraisal> Appraise(const Evidence& evidence,
                                   const Challenge& challenge,
                                   const Reference& reference,
                                   const Progress& progress,
                                   const Options& options) {
  // Cupel's own code throws nothing; memory can run out, and a callback is the
  // caller's. Half an appraisal is none [A17].
  try {
    return AppraiseUnguarded(evidence, challenge, reference, progress, options);
  } catch (const std::exception& error) {
    return absl::InternalError(
        absl::StrCat("appraisal broken off: ", error.what()));
  } catch (...) {
    return absl::InternalError("appraisal broken off by something thrown");
  }
}

}  // namespace cupel::appraisal
