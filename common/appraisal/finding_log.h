#ifndef CUPEL_COMMON_APPRAISAL_FINDING_LOG_H_
#define CUPEL_COMMON_APPRAISAL_FINDING_LOG_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "common/appraisal/finding.h"

namespace cupel::appraisal {

// Collects the findings of one appraisal: keeps so many of those about entries,
// counts the rest, and remembers the worst of all of them. Findings about the
// evidence as a whole are few, and all kept: no flood of bad entries crowds
// them out. Nor may notices crowd out what fails, since a machine's users can
// cause as many as they like (tolerated violations): they get half of the room.
class FindingLog {
 public:
  explicit FindingLog(size_t max_entry_findings)
      : max_entry_findings_(max_entry_findings) {}

  void Add(Finding finding) {
    if (finding.entry_index.has_value()) {
      if (DropIfFull(finding.severity)) return;
      ++entry_findings_;
      notices_ += finding.severity == Severity::kNotice ? 1 : 0;
    }
    worst_ = std::max(worst_, finding.severity);
    findings_.push_back(std::move(finding));
  }

  // Counts a finding about an entry that would not be kept, to spare the caller
  // the work of making it. False, and nothing is counted, if it would be kept.
  bool DropIfFull(Severity severity) {
    if (entry_findings_ < max_entry_findings_ &&
        !(severity == Severity::kNotice &&
          notices_ >= (max_entry_findings_ + 1) / 2)) {
      return false;
    }
    worst_ = std::max(worst_, severity);
    ++dropped_;
    return true;
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
  size_t max_entry_findings_;
  std::vector<Finding> findings_;
  size_t entry_findings_ = 0;
  size_t notices_ = 0;  // among those
  uint64_t dropped_ = 0;
  Severity worst_ = Severity::kNotice;
};

}  // namespace cupel::appraisal

#endif  // CUPEL_COMMON_APPRAISAL_FINDING_LOG_H_
