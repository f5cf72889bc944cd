// What to do about a finding: docs/findings.md as code. A test holds the two
// together.
#ifndef CUPEL_TENANT_CURES_H_
#define CUPEL_TENANT_CURES_H_

#include <span>

#include "absl/strings/string_view.h"

namespace cupel::tenant {

struct FindingHelp {
  absl::string_view id;
  absl::string_view meaning;
  absl::string_view cure;
};

// Every finding that this program knows.
std::span<const FindingHelp> AllFindingHelp();

// Null for an id that it doesn't know: a verifier may be newer.
const FindingHelp* FindHelp(absl::string_view id);

}  // namespace cupel::tenant

#endif  // CUPEL_TENANT_CURES_H_
