#include "common/appraisal/platform_checks.h"

#include <algorithm>
#include <string>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/crypto/pcr.h"
#include "common/tpm/constants.h"
#include "common/tpm/public_area.h"
#include "common/util/status_macros.h"

namespace cupel::appraisal {
namespace {

using ::cupel::crypto::Digest;
using ::cupel::crypto::HashAlgorithm;
using ::cupel::tpm::QuoteCheck;
using ::cupel::tpm::RejectedQuote;
using ::cupel::tpm::VerifiedQuote;

// PCR 0 to 7 are the firmware's (TCG PC Client Platform TPM Profile, 4.6).
constexpr uint32_t kFirmwarePcrs = 8;
// With PCR 8 and 9, which boot loaders use: what boot_aggregate is over.
constexpr uint32_t kBootPcrs = 10;

bool Covers(const tpm::PcrValues& values, const tpm::PcrSelection& selection) {
  for (const tpm::BankSelection& bank : selection.banks()) {
    for (uint32_t pcr = 0; pcr < tpm::kPcrCount; ++pcr) {
      if (bank.Has(pcr) && values.Find(bank.bank, pcr) == nullptr) return false;
    }
  }
  return true;
}

void ReportRejected(const RejectedQuote& rejected, FindingLog& log) {
  for (const tpm::FailedCheck& failed : rejected.failures) {
    Finding finding = MakeFinding(QuoteCheckId(failed.check),
                                  Severity::kFailure, failed.detail);
    finding.expected = failed.expected;
    finding.found = failed.found;
    finding.authenticated = rejected.signature_valid;
    log.Add(std::move(finding));
  }
}

// The checks that VerifyQuote could not make. pcrDigest is no such case: a
// missing value has to come out of the replay.
void ReportUnchecked(const VerifiedQuote& quote, const Challenge& challenge,
                     FindingLog& log) {
  if (!quote.WasChecked(QuoteCheck::kAkAttributes)) {
    log.Add(MakeFinding(
        "quote.ak_attributes_unknown",
        challenge.accept_unknown_ak_attributes ? Severity::kNotice
                                               : Severity::kUndecided,
        "a bare public key does not say whether it signs only what "
        "its TPM made: give the key's TPM2B_PUBLIC"));
  }
  if (!quote.WasChecked(QuoteCheck::kSelection)) {
    log.Add(
        MakeFinding("quote.selection_unchecked", Severity::kNotice,
                    absl::StrCat("what was asked for is not known; the machine "
                                 "signed ",
                                 quote.selection().ToString())));
  }
  if (!quote.WasChecked(QuoteCheck::kSigner)) {
    // An EK that was given is to be checked.
    log.Add(MakeFinding(
        "quote.signer_unchecked",
        challenge.ek_name.empty() ? Severity::kNotice : Severity::kUndecided,
        absl::StrCat(challenge.ek_name.empty()
                         ? "the endorsement key is not known"
                         : "the attestation key's Name is not known",
                     ", so nothing ties the attestation key to a "
                     "TPM")));
  }
}

// Of those of its firmware PCRs that are known, as far as there are any.
bool IsFirmwareBankZero(const tpm::PcrValues& values, HashAlgorithm bank) {
  bool any = false;
  for (uint32_t pcr = 0; pcr < kFirmwarePcrs; ++pcr) {
    const Digest* value = values.Find(bank, pcr);
    if (value == nullptr) continue;
    if (!value->IsZero()) return false;
    any = true;
  }
  return any;
}

void TakeSigned(const VerifiedQuote& quote, PcrEvidence& pcrs) {
  pcrs.quoted = true;
  pcrs.key_attributes_known = quote.WasChecked(QuoteCheck::kAkAttributes);
  pcrs.clock_info = quote.attest().clock_info;
  pcrs.selection = quote.selection();
  // Only what is signed: a value that was reported beside it is hearsay.
  pcrs.values = quote.values();
}

}  // namespace

absl::Status CheckAnswers(const VerifiedQuote& quote,
                          const Challenge& challenge) {
  if (!quote.unchecked().empty() || !challenge.ak->has_public_area() ||
      !challenge.selection.has_value()) {
    return absl::InvalidArgumentError("a quote that was verified in part");
  }
  CUPEL_ASSIGN_OR_RETURN(const std::vector<uint8_t> ek,
                         tpm::EkQualifiedName(challenge.ek_name));
  CUPEL_ASSIGN_OR_RETURN(const std::vector<uint8_t> signer,
                         tpm::QualifiedName(ek, challenge.ak->name()));
  if (quote.attest().extra_data != challenge.qualifying_data ||
      quote.selection() != *challenge.selection ||
      quote.attest().qualified_signer != signer) {
    return absl::InvalidArgumentError(
        "a quote that was verified by another challenge");
  }
  return absl::OkStatus();
}

PcrEvidence CheckQuote(const Evidence& evidence, const Challenge& challenge,
                       FindingLog& log) {
  PcrEvidence pcrs;
  pcrs.values = evidence.pcrs;
  if (!evidence.quote.has_value()) return pcrs;
  if (evidence.quote->verified != nullptr) {
    TakeSigned(*evidence.quote->verified, pcrs);
    return pcrs;
  }

  // Without all the values the digest can't be checked here; CheckList makes
  // the list supply those that it extends.
  tpm::QuoteExpectation expectation;
  expectation.qualifying_data = challenge.qualifying_data;
  expectation.ek_name = challenge.ek_name;
  if (challenge.selection.has_value()) {
    expectation.selection = &*challenge.selection;
  }
  const auto attest = tpm::ParseAttest(evidence.quote->attest);
  const bool complete =
      attest.ok() && Covers(evidence.pcrs, attest->quote.selection);
  if (complete) expectation.values = &evidence.pcrs;

  const absl::StatusOr<tpm::QuoteOutcome> outcome =
      tpm::VerifyQuote(*challenge.ak, evidence.quote->attest,
                       evidence.quote->signature, expectation);
  if (!outcome.ok()) {
    log.Add(MakeFinding("quote.malformed", Severity::kUndecided,
                        std::string(outcome.status().message())));
    return pcrs;
  }
  if (const auto* rejected = std::get_if<RejectedQuote>(&*outcome)) {
    ReportRejected(*rejected, log);
    return pcrs;
  }
  const VerifiedQuote& quote = std::get<VerifiedQuote>(*outcome);
  ReportUnchecked(quote, challenge, log);
  TakeSigned(quote, pcrs);
  if (!complete) {
    pcrs.values = evidence.pcrs.Only(quote.selection());
    // VerifyQuote has seen to it that the size is that of the signature's hash,
    // which is SHA-256, SHA-384 or SHA-512: the size says which.
    const std::vector<uint8_t>& digest = quote.attest().quote.pcr_digest;
    pcrs.composite = *Digest::Create(
        crypto::ShaFromDigestSize(digest.size()).value(), digest);
  }
  return pcrs;
}

std::optional<tpm::BootRelation> CheckCounters(const PcrEvidence& pcrs,
                                               const Progress& progress,
                                               FindingLog& log) {
  if (!pcrs.clock_info.has_value() || !progress.clock_info.has_value()) {
    return std::nullopt;
  }
  const tpm::CounterComparison comparison =
      tpm::CompareCounters(*progress.clock_info, *pcrs.clock_info);
  for (const tpm::CounterViolation violation : comparison.violations) {
    // One TPM can't do that: a snapshot was restored, or there are two.
    log.Add(MakeFinding("tpm.clone_suspected", Severity::kFailure,
                        CounterViolationText(violation)));
  }
  if (comparison.relation == tpm::BootRelation::kNewBoot) {
    log.Add(MakeFinding("tpm.new_boot", Severity::kNotice,
                        absl::StrCat("the TPM was reset ", comparison.resets,
                                     " times since the last quote")));
  } else if (comparison.relation == tpm::BootRelation::kRestart) {
    log.Add(MakeFinding("tpm.restart", Severity::kNotice,
                        "the machine was suspended, or its TPM restarted"));
  }
  return comparison.relation;
}

std::vector<ima::Bank> CheckBanks(const PcrEvidence& pcrs,
                                  const Reference& reference, FindingLog& log) {
  std::vector<ima::Bank> banks;
  if (!pcrs.any()) return banks;
  std::vector<HashAlgorithm> candidates = pcrs.values.banks();
  for (const tpm::BankSelection& bank : pcrs.selection.banks()) {
    if (std::ranges::find(candidates, bank.bank) == candidates.end()) {
      candidates.push_back(bank.bank);
    }
  }
  bool strong = false;
  for (const HashAlgorithm bank : candidates) {
    const bool has_ima_pcr =
        pcrs.values.Find(bank, ima::kImaPcr) != nullptr ||
        (pcrs.composite.has_value() && pcrs.selection.Has(bank, ima::kImaPcr));
    if (!has_ima_pcr) continue;
    if (!crypto::IsReplayBank(bank)) {
      log.Add(
          MakeFinding("pcr.bank_unsupported", Severity::kNotice,
                      absl::StrCat("the ", tpm::BankName(bank),
                                   " bank can't be replayed and is left out")));
      continue;
    }
    const bool padded = std::ranges::find(reference.padded_sha1_banks, bank) !=
                        reference.padded_sha1_banks.end();
    banks.push_back(
        {bank, padded ? ima::BankFill::kPaddedSha1 : ima::BankFill::kOwnHash});
    strong |= bank != HashAlgorithm::kSha1 && !padded;
    if (IsFirmwareBankZero(pcrs.values, bank)) {
      log.Add(MakeFinding(
          "pcr.bank_not_extended",
          reference.lab ? Severity::kNotice : Severity::kFailure,
          absl::StrCat("PCR 0 to 7 of the ", tpm::BankName(bank),
                       " bank are zero: no firmware ever measured into it")));
    }
  }
  if (banks.empty()) {
    Finding finding =
        MakeFinding("ima.pcr_not_quoted", Severity::kFailure,
                    absl::StrCat("the PCR values lack PCR ", ima::kImaPcr,
                                 ", which holds the list"));
    finding.pcr = ima::kImaPcr;
    log.Add(std::move(finding));
  } else if (!strong && !reference.allow_sha1_bank) {
    log.Add(
        MakeFinding("pcr.bank_weak", Severity::kFailure,
                    "only SHA-1 digests vouch for the list, which has to be "
                    "allowed expressly"));
  }
  return banks;
}

void CheckBootPcrs(const PcrEvidence& pcrs, const Progress& progress,
                   std::optional<tpm::BootRelation> boot, FindingLog& log) {
  if (boot != tpm::BootRelation::kSameBoot) return;
  progress.boot_pcrs.ForEach([&](uint32_t pcr, const Digest& before) {
    const Digest* now = pcrs.values.Find(before.algorithm(), pcr);
    if (now == nullptr || *now == before) return;
    Finding finding = MakeFinding(
        "pcr.changed_after_boot", Severity::kFailure,
        "a PCR of the boot was extended after it: what boot_aggregate and "
        "the boot rule say is no longer what booted");
    const std::string bank = tpm::BankName(before.algorithm());
    finding.pcr = pcr;
    finding.expected = absl::StrCat(bank, ":", before.Hex());
    finding.found = absl::StrCat(bank, ":", now->Hex());
    log.Add(std::move(finding));
  });
}

tpm::PcrValues BootPcrs(const PcrEvidence& pcrs, const Progress& progress,
                        std::optional<tpm::BootRelation> boot) {
  tpm::PcrValues values;
  const auto add = [&](uint32_t pcr, const Digest& value) {
    // The first one stays: of two that differ CheckBootPcrs has said so.
    if (pcr < kBootPcrs) values.Set(pcr, value).IgnoreError();
  };
  if (boot == tpm::BootRelation::kSameBoot) progress.boot_pcrs.ForEach(add);
  pcrs.values.ForEach(add);
  return values;
}

void CheckBoot(const PcrEvidence& pcrs, const Reference& reference,
               FindingLog& log) {
  if (policy::AllowsAnyBoot(reference.boot_rule)) {
    log.Add(
        MakeFinding("boot.any", Severity::kNotice,
                    "any boot is accepted: kernel, command line and IMA policy "
                    "are not judged"));
  }
  const std::vector<policy::BootMismatch> mismatches = policy::CheckBoot(
      reference.boot_rule,
      [&](HashAlgorithm bank, uint32_t pcr) -> std::optional<Digest> {
        // SHA-1 has to be allowed for the boot as for the list.
        if (bank == HashAlgorithm::kSha1 && !reference.allow_sha1_bank) {
          return std::nullopt;
        }
        const Digest* value = pcrs.values.Find(bank, pcr);
        return value == nullptr ? std::nullopt : std::optional(*value);
      });
  for (const policy::BootMismatch& mismatch : mismatches) {
    using Kind = policy::BootMismatch::Kind;
    Finding finding;
    switch (mismatch.kind) {
      case Kind::kNotQuoted:
        // With PCR values at hand it is the machine that left one out.
        finding =
            MakeFinding("boot.pcr_missing",
                        pcrs.any() ? Severity::kFailure : Severity::kUndecided,
                        "the boot rule is about a PCR of which no value is "
                        "given, or only one in a SHA-1 bank that is not "
                        "allowed");
        finding.pcr = mismatch.pcr;
        break;
      case Kind::kValue:
        finding =
            MakeFinding("boot.pcr_mismatch", Severity::kFailure,
                        "the PCR has none of the values that the boot rule "
                        "allows");
        finding.pcr = mismatch.pcr;
        break;
      case Kind::kComposite:
        finding = MakeFinding("boot.pcr_mismatch", Severity::kFailure,
                              "PCR 0 to 9 are not those of the boot that was "
                              "approved");
        break;
    }
    finding.expected = absl::StrJoin(
        mismatch.expected, " or ", [](std::string* out, const Digest& digest) {
          absl::StrAppend(out, HashAlgorithmName(digest.algorithm()), ":",
                          digest.Hex());
        });
    if (mismatch.found.has_value()) {
      finding.found =
          absl::StrCat(HashAlgorithmName(mismatch.found->algorithm()), ":",
                       mismatch.found->Hex());
    }
    finding.authenticated = pcrs.quoted;
    log.Add(std::move(finding));
  }
}

}  // namespace cupel::appraisal
