// The list as a whole: well-formed, and explained by the PCRs.
#ifndef CUPEL_COMMON_APPRAISAL_LIST_CHECKS_H_
#define CUPEL_COMMON_APPRAISAL_LIST_CHECKS_H_

#include <optional>
#include <vector>

#include "common/appraisal/appraise.h"
#include "common/appraisal/finding_log.h"
#include "common/appraisal/platform_checks.h"
#include "common/ima/replay.h"

namespace cupel::appraisal {

// What came of a list.
struct ListResult {
  // True if a prefix explains the PCR values.
  bool explained = false;
  // After that prefix; meaningful only if it was explained.
  Progress progress;
};

// ima.*: replays the list in `banks` up to the first prefix that explains
// `pcrs`, and judges the entries of that prefix. Without PCR values, and where
// no prefix explains them, every entry is judged, and what is found is marked
// not authenticated.
//
// `may_resume`: `progress` was made with this ProgressKey. If not, only the
// whole list will do; that it continues the history of `progress` is checked
// all the same.
ListResult CheckList(const Evidence& evidence, const Reference& reference,
                     const PcrEvidence& pcrs,
                     const std::vector<ima::Bank>& banks,
                     std::optional<tpm::BootRelation> boot,
                     const Progress& progress, bool may_resume,
                     const Options& options, FindingLog& log,
                     EntryCounts& counts);

}  // namespace cupel::appraisal

#endif  // CUPEL_COMMON_APPRAISAL_LIST_CHECKS_H_
