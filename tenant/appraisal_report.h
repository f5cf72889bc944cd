#ifndef CUPEL_TENANT_APPRAISAL_REPORT_H_
#define CUPEL_TENANT_APPRAISAL_REPORT_H_

#include "common/appraisal/appraise.h"
#include "tenant/exit_code.h"

namespace cupel::tenant {

// Prints an appraisal for people: the findings a line each, in words that
// Keylime's users know where they have any, then the counts, then the verdict
// and what it rests on.
void PrintReport(const appraisal::Appraisal& appraisal);

// The same as one JSON object; docs/tenant.md describes its members.
void PrintJsonReport(const appraisal::Appraisal& appraisal);

ExitCode ExitCodeFor(appraisal::Verdict verdict);

}  // namespace cupel::tenant

#endif  // CUPEL_TENANT_APPRAISAL_REPORT_H_
