// What an appraisal found wrong, could not decide, or wants to be known.
#ifndef CUPEL_COMMON_APPRAISAL_FINDING_H_
#define CUPEL_COMMON_APPRAISAL_FINDING_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "common/tpm/boot_counters.h"

namespace cupel::appraisal {

enum class Severity : uint8_t {
  kNotice,     // to be known; changes no verdict
  kUndecided,  // a check that could not be made: no trust, but no proof of harm
  kFailure,    // a check that failed
};

// "notice", "undecided", "failure".
absl::string_view SeverityName(Severity severity);

struct Finding {
  // Stable, of static storage: "ima.digest_mismatch". docs/findings.md gives
  // each one's meaning and cure.
  absl::string_view id;
  Severity severity = Severity::kFailure;
  // The entry in the list, counted from 0, where it is about one.
  std::optional<uint64_t> entry_index;
  std::optional<uint32_t> pcr;
  // Raw bytes: escape them wherever they are shown.
  std::string path;
  std::string expected;  // hex or words
  std::string found;     // hex or words
  std::string detail;    // one sentence for people
  // False where no PCR value covers what the finding is about: an entry of a
  // list that no replay explains, or the path of a violation.
  bool authenticated = true;
  // Of the quote that it was found with, where that is known: what is on record
  // may be of several boots.
  std::optional<tpm::BootCounts> boot = std::nullopt;
};

// True if an operator may accept findings with this id: those about one entry,
// one PCR or the counters, which the quote covers, and what was found there.
// Accepting one that says that the evidence is not authentic would vouch for
// what nobody knows.
bool IsAcceptable(absl::string_view id);

// A finding with these members set. `id` must be of static storage.
Finding MakeFinding(absl::string_view id, Severity severity,
                    std::string detail);

}  // namespace cupel::appraisal

#endif  // CUPEL_COMMON_APPRAISAL_FINDING_H_
