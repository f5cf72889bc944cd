// The checks of the machine below its list: quote, counters, PCRs.
#ifndef CUPEL_COMMON_APPRAISAL_PLATFORM_CHECKS_H_
#define CUPEL_COMMON_APPRAISAL_PLATFORM_CHECKS_H_

#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "common/appraisal/appraise.h"
#include "common/appraisal/finding_log.h"
#include "common/ima/replay.h"
#include "common/tpm/attest.h"
#include "common/tpm/boot_counters.h"
#include "common/tpm/pcr_selection.h"
#include "common/tpm/pcr_values.h"

namespace cupel::appraisal {

// What is known of the PCRs, and how well.
struct PcrEvidence {
  // Those that may be reasoned with. Without a valid quote they are hearsay,
  // good for finding out what else is wrong.
  tpm::PcrValues values;
  // Set if a quote passed every check: then `values`, or where a value is
  // missing the digest below, is what the TPM signed.
  bool quoted = false;
  // Set if the quote's key is known to sign only what its TPM made.
  bool key_attributes_known = false;
  // Set where a valid quote covers PCRs whose values were not reported: the
  // list has to supply them.
  std::optional<crypto::Digest> composite;
  tpm::PcrSelection selection;
  // Of the quote; nullopt without a valid one.
  std::optional<tpm::ClockInfo> clock_info;

  bool any() const { return !values.empty() || composite.has_value(); }
};

// OK if `quote` was checked in every respect, and by what `challenge` says:
// nonce, selection, and the AK as a child of the EK. kInvalidArgument else.
absl::Status CheckAnswers(const tpm::VerifiedQuote& quote,
                          const Challenge& challenge);

// quote.*: the evidence's quote, if there is one.
PcrEvidence CheckQuote(const Evidence& evidence, const Challenge& challenge,
                       FindingLog& log);

// tpm.*: counters and clock against those of the last quote that passed.
// nullopt where there is no valid quote, or was none before.
std::optional<tpm::BootRelation> CheckCounters(const PcrEvidence& pcrs,
                                               const Progress& progress,
                                               FindingLog& log);

// pcr.*: which banks hold PCR 10, whether the strongest is strong enough, and
// whether firmware ever used it. Returns the banks to replay; empty if no PCR
// value was given or none of them is of use.
std::vector<ima::Bank> CheckBanks(const PcrEvidence& pcrs,
                                  const Reference& reference, FindingLog& log);

// pcr.changed_after_boot: PCR 0 to 9 against those of the same boot before
// [A36].
void CheckBootPcrs(const PcrEvidence& pcrs, const Progress& progress,
                   std::optional<tpm::BootRelation> boot, FindingLog& log);

// PCR 0 to 9 to compare the next quote of this boot with: those of `pcrs`, and
// what this quote left out but one before it had.
tpm::PcrValues BootPcrs(const PcrEvidence& pcrs, const Progress& progress,
                        std::optional<tpm::BootRelation> boot);

// boot.*: the boot rule.
void CheckBoot(const PcrEvidence& pcrs, const Reference& reference,
               FindingLog& log);

}  // namespace cupel::appraisal

#endif  // CUPEL_COMMON_APPRAISAL_PLATFORM_CHECKS_H_
