// Findings as people and programs read them, the verifier's and those of an
// appraisal here alike. All that is returned is escaped.
#ifndef CUPEL_TENANT_FINDING_REPORT_H_
#define CUPEL_TENANT_FINDING_REPORT_H_

#include <string>

#include "absl/strings/string_view.h"
#include "common/appraisal/finding.h"
#include "nlohmann/json.hpp"
#include "tenant/fleet.h"

namespace cupel::tenant {

// As a verifier would tell it.
ReportedFinding ToReported(const appraisal::Finding& finding);

// What it says, in words that Keylime's users know where they have any: "File
// not found in allowlist: /root/evil_script.sh".
std::string FindingWords(const ReportedFinding& finding);

// The same with how bad it is, what settles it where `cure` says that, and
// whether a PCR covers it: "WARNING - File not found in allowlist: ...".
std::string FindingLine(const ReportedFinding& finding,
                        absl::string_view cure = "");

nlohmann::ordered_json ToJson(const ReportedFinding& finding);

}  // namespace cupel::tenant

#endif  // CUPEL_TENANT_FINDING_REPORT_H_
