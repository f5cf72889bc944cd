#include "verifier/session/appraisal_job.h"

#include <algorithm>
#include <exception>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/tpm/boot_counters.h"
#include "common/util/status_macros.h"
#include "verifier/session/accepted_findings.h"

namespace cupel::verifier {
namespace {

using ::cupel::appraisal::Appraisal;
using ::cupel::appraisal::Proof;
using ::cupel::appraisal::Severity;
using ::cupel::appraisal::Verdict;

// What a machine may boot is not known: everything else is judged, and nothing
// passes.
void WithholdPass(const std::string& problem, const appraisal::Progress& before,
                  Appraisal& appraisal) {
  std::erase_if(appraisal.findings,
                [](const auto& finding) { return finding.id == "boot.any"; });
  appraisal.findings.push_back(appraisal::MakeFinding(
      "boot.rule_missing", Severity::kUndecided, problem));
  if (appraisal.verdict == Verdict::kPass) {
    appraisal.verdict = Verdict::kUndecided;
    appraisal.progress = before;
  }
}

// A pass by acceptance leaves the progress where the last proper pass was, so
// that what was accepted is looked at again each time. What is held against
// clock and boot goes on.
void MoveOn(const AppraisalJob& job, appraisal::Progress& progress) {
  const tpm::ClockInfo& now = job.clock_info;
  if (!progress.clock_info.has_value() ||
      tpm::CompareCounters(*progress.clock_info, now).relation ==
          tpm::BootRelation::kNewBoot) {
    appraisal::Progress next;
    next.list_pcrs = progress.list_pcrs;
    progress = std::move(next);
  } else if (progress.clock_info->restart_count != now.restart_count) {
    return;
  }
  progress.clock_info = now;
  // The boot's PCRs stay as they are from now on. Those that are known were
  // compared.
  constexpr uint32_t kBootPcrs = 10;
  job.pcrs.ForEach([&](uint32_t pcr, const crypto::Digest& value) {
    if (pcr < kBootPcrs &&
        progress.boot_pcrs.Find(value.algorithm(), pcr) == nullptr) {
      progress.boot_pcrs.Set(pcr, value).IgnoreError();  // it is of a PCR
    }
  });
}

// What the list has shown to extend is not forgotten for a failure.
void TakeBack(const AppraisalJob& job, Appraisal& appraisal) {
  const ima::PcrSet list_pcrs = appraisal.progress.list_pcrs;
  appraisal.progress = job.progress;
  appraisal.progress.list_pcrs |= list_pcrs;
}

void Fail(absl::string_view id, std::string detail, const AppraisalJob& job,
          Appraisal& appraisal) {
  appraisal.findings.push_back(
      appraisal::MakeFinding(id, Severity::kFailure, std::move(detail)));
  appraisal.verdict = Verdict::kFail;
  TakeBack(job, appraisal);
}

// What ran between the last quote that passed and this boot is not known [A28].
void CheckContinuity(const AppraisalJob& job, Appraisal& appraisal) {
  if (!job.progress.clock_info.has_value()) return;
  const tpm::CounterComparison counters =
      tpm::CompareCounters(*job.progress.clock_info, job.clock_info);
  // A count that went back is a finding of its own.
  if (counters.relation != tpm::BootRelation::kNewBoot ||
      counters.resets == 0) {
    return;
  }
  appraisal::Finding finding = appraisal::MakeFinding(
      "continuity.gap", job.gap_fails ? Severity::kFailure : Severity::kNotice,
      "what ran between the last quote that passed and this boot is not known");
  finding.found = absl::StrCat(counters.resets,
                               counters.resets == 1 ? " reset" : " resets");
  if (job.progress.pending_size > 0) {
    absl::StrAppend(&finding.found, ", ", job.progress.pending_size,
                    " bytes of list that no quote covered");
  }
  appraisal.findings.push_back(std::move(finding));
  if (!job.gap_fails) return;
  appraisal.verdict = Verdict::kFail;
  TakeBack(job, appraisal);
}

// A snapshot that is restored may be younger than the last quote that passed,
// and older than the one that failed [A33].
void CheckCounters(const AppraisalJob& job, Appraisal& appraisal) {
  constexpr absl::string_view kId = "tpm.clone_suspected";
  if (!job.judged_clock_info.has_value() ||
      std::ranges::any_of(appraisal.findings, [&](const auto& finding) {
        return finding.id == kId;
      })) {
    return;
  }
  for (const tpm::CounterViolation violation :
       tpm::CompareCounters(*job.judged_clock_info, job.clock_info)
           .violations) {
    Fail(kId, CounterViolationText(violation), job, appraisal);
  }
}

// After what was accepted: a pass that an operator has allowed has to go on as
// any other.
void CheckTail(const AppraisalJob& job, Appraisal& appraisal) {
  if (!job.tail_overdue || appraisal.verdict != Verdict::kPass ||
      appraisal.counts.pending == 0 ||
      appraisal.counts.entries != job.judged_entry_count) {
    return;
  }
  Fail("ima.tail_unquoted",
       "the list has grown for long, and its quotes go on covering what they "
       "covered before: its entries are shown and not measured",
       job, appraisal);
  appraisal.findings.back().boot = tpm::CountsOf(job.clock_info);
}

// What one quote alone can't show.
void CheckAgainstStream(const AppraisalJob& job, Appraisal& appraisal) {
  if (job.reset_in_stream) {
    Fail("tpm.reset_in_stream",
         "the TPM was reset while the machine's connection stayed open: "
         "something else than the machine's boot filled its PCRs",
         job, appraisal);
  }
  if (job.clock_ahead) {
    Fail("tpm.clock_ahead",
         "the TPM's clock has run ahead of the verifier's: it was set, so that "
         "old quotes look young",
         job, appraisal);
  }
}

absl::StatusOr<Appraisal> Appraise(const AppraisalJob& job) {
  appraisal::Evidence evidence;
  evidence.list.bytes = job.list;
  evidence.list.byte_order = job.byte_order;
  evidence.list.first_entry = job.first_entry;
  evidence.quote = {.attest = job.attest, .signature = job.signature};
  evidence.pcrs = job.pcrs;
  if (job.verified.has_value()) evidence.quote->verified = &*job.verified;
  appraisal::Challenge challenge;
  challenge.ak = job.ak.get();
  challenge.qualifying_data = job.qualifying_data;
  challenge.selection = job.selection;
  challenge.ek_name = job.ek_name;
  CUPEL_ASSIGN_OR_RETURN(
      Appraisal appraisal,
      appraisal::Appraise(evidence, challenge, job.reference, job.progress));
  if (!job.boot_problem.empty()) {
    WithholdPass(job.boot_problem, job.progress, appraisal);
  }
  CheckCounters(job, appraisal);
  CheckAgainstStream(job, appraisal);
  CheckContinuity(job, appraisal);
  for (appraisal::Finding& finding : appraisal.findings) {
    finding.boot = tpm::CountsOf(job.clock_info);
  }
  const bool passed = appraisal.verdict == Verdict::kPass;
  ApplyAccepted(job.accepted, job.clock_info, appraisal);
  if (!passed && appraisal.verdict == Verdict::kPass) {
    MoveOn(job, appraisal.progress);
  }
  CheckTail(job, appraisal);
  if (appraisal.verdict == Verdict::kPass && appraisal.proof != Proof::kQuote) {
    return absl::InternalError("appraisal: a pass that no quote proves");
  }
  return appraisal;
}

}  // namespace

AppraisalOutcome AppraisalJob::Run() const {
  AppraisalOutcome outcome{.job_id = id, .appraisal = absl::UnknownError("")};
  try {
    outcome.appraisal = Appraise(*this);
  } catch (const std::exception& error) {
    outcome.appraisal = absl::InternalError(
        absl::StrCat("appraisal broken off: ", error.what()));
  } catch (...) {
    outcome.appraisal =
        absl::InternalError("appraisal broken off by something thrown");
  }
  return outcome;
}

}  // namespace cupel::verifier
