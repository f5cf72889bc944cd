#ifndef CUPEL_COMMON_APPRAISAL_FINDING_LOG_H_
#define CUPEL_COMMON_APPRAISAL_FINDING_LOG_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "common/appraisal/finding.h"

namespace cupel::appraisal {

// Collects the findings of one appraisal: keeps so many, counts the rest, and
// remembers the worst of all of them. Notices get half of the room at most: a
// machine's users can cause as many as they like (tolerated violations), and
// must not crowd out what fails.
class FindingLog {
 public:
  explicit FindingLog(size_t max_findings) : max_findings_(max_findings) {}

  void Add(Finding finding) {
    worst_ = std::max(worst_, finding.severity);
    const bool is_notice = finding.severity == Severity::kNotice;
    if (findings_.size() < max_findings_ &&
        !(is_notice && notices_ >= (max_findings_ + 1) / 2)) {
      notices_ += is_notice ? 1 : 0;
      findings_.push_back(std::move(finding));
    } else {
      ++dropped_;
    }
  }

  // Of the findings added since `first`, says that no PCR value covers them.
  void MarkUnauthenticated(size_t first) {
    for (size_t i = first; i < findings_.size(); ++i) {
      findings_[i].authenticated = false;
    }
  }

  size_t size() const { return findings_.size(); }
  // kNotice if there are no findings.
  Severity worst() const { return worst_; }
  uint64_t dropped() const { return dropped_; }
  std::vector<Finding> Take() { return std::move(findings_); }

 private:
  size_t max_findings_;
  std::vector<Finding> findings_;
  size_t notices_ = 0;
  uint64_t dropped_ = 0;
  Severity worst_ = Severity::kNotice;
};

}  // namespace cupel::appraisal

#endif  // CUPEL_COMMON_APPRAISAL_FINDING_LOG_H_
