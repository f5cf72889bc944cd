#include "common/appraisal/finding.h"

#include <utility>

namespace cupel::appraisal {

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

Finding MakeFinding(absl::string_view id, Severity severity,
                    std::string detail) {
  Finding finding;
  finding.id = id;
  finding.severity = severity;
  finding.detail = std::move(detail);
  return finding;
}

}  // namespace cupel::appraisal
