#include "common/appraisal/finding.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace cupel::appraisal {
namespace {

// A deny is not among them: it wins over every other rule.
constexpr absl::string_view kAcceptable[] = {
    "boot.kexec",          "boot.pcr_mismatch",     "continuity.gap",
    "ima.boot_aggregate",  "ima.buffer_mismatch",   "ima.buffer_not_in_policy",
    "ima.digest_mismatch", "ima.digest_zero",       "ima.not_in_policy",
    "ima.violation",       "pcr.changed_after_boot"};

}  // namespace

absl::string_view SeverityName(Severity severity) {
  switch (severity) {
    case Severity::kNotice:
      return "notice";
    case Severity::kUndecided:
      return "undecided";
    case Severity::kFailure:
      break;
  }
  return "failure";
}

bool IsAcceptable(absl::string_view id) {
  return std::ranges::find(kAcceptable, id) != std::end(kAcceptable);
}

Finding MakeFinding(absl::string_view id, Severity severity,
                    std::string detail) {
  Finding finding;
  finding.id = id;
  finding.severity = severity;
  finding.detail = std::move(detail);
  return finding;
}

}  // namespace cupel::appraisal
