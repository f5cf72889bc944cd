#include "verifier/session/appraisal_job.h"

#include <exception>
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
// that what was accepted is looked at again each time. What is held against the
// clock goes on.
void MoveClockOn(const tpm::ClockInfo& now, appraisal::Progress& progress) {
  if (!progress.clock_info.has_value() ||
      tpm::CompareCounters(*progress.clock_info, now).relation ==
          tpm::BootRelation::kNewBoot) {
    progress = {};
  } else if (progress.clock_info->restart_count != now.restart_count) {
    return;
  }
  progress.clock_info = now;
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
  if (job.reset_in_stream) {
    appraisal.findings.push_back(appraisal::MakeFinding(
        "tpm.reset_in_stream", Severity::kFailure,
        "the TPM was reset while the machine's connection stayed open: "
        "something else than the machine's boot filled its PCRs"));
    appraisal.verdict = Verdict::kFail;
    appraisal.progress = job.progress;
  }
  const bool passed = appraisal.verdict == Verdict::kPass;
  ApplyAccepted(job.accepted, job.clock_info, appraisal);
  if (!passed && appraisal.verdict == Verdict::kPass) {
    MoveClockOn(job.clock_info, appraisal.progress);
  }
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
