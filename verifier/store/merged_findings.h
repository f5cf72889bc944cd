// What an agent has failed for, as one list.
#ifndef CUPEL_VERIFIER_STORE_MERGED_FINDINGS_H_
#define CUPEL_VERIFIER_STORE_MERGED_FINDINGS_H_

#include <vector>

#include "common/appraisal/finding.h"

namespace cupel::verifier {

// Failures, and behind them what else was found.
std::vector<appraisal::Finding> FailuresFirst(
    const std::vector<appraisal::Finding>& findings);

// `found` now, and the failures that an agent was `on_record` for: a later,
// lesser failure doesn't replace them [A31]. One that was found again is there
// once, as it is now.
std::vector<appraisal::Finding> MergeFindings(
    const std::vector<appraisal::Finding>& found,
    const std::vector<appraisal::Finding>& on_record);

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_STORE_MERGED_FINDINGS_H_
