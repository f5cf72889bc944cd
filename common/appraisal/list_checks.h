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

// What a list is judged by. Everything is referred to and outlives the call.
struct ListInput {
  const Evidence& evidence;
  const Reference& reference;
  const PcrEvidence& pcrs;
  const std::vector<ima::Bank>& banks;  // to replay in
  std::optional<tpm::BootRelation> boot;
  const Progress& progress;
  // `progress` was made with this ProgressKey. If not, only the whole list will
  // do; that it continues the history of `progress` is checked all the same.
  bool may_resume = false;
  const Options& options;
};

// ima.*, boot.kexec: replays the list up to the first prefix that explains the
// PCR values, judges the entries of that prefix, and looks among them for the
// IMA policy, where the reference asks for one. Without PCR values, and where
// no prefix explains them, every entry is judged, and what is found is marked
// not authenticated.
ListResult CheckList(const ListInput& in, FindingLog& log, EntryCounts& counts);

}  // namespace cupel::appraisal

#endif  // CUPEL_COMMON_APPRAISAL_LIST_CHECKS_H_
