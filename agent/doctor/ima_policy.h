// The rules of an IMA policy, as they are written and as kernels have them
// built in.
#ifndef CUPEL_AGENT_DOCTOR_IMA_POLICY_H_
#define CUPEL_AGENT_DOCTOR_IMA_POLICY_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace cupel::agent {

// One line of a policy: "dont_measure fsmagic=0x1021994" (Linux
// Documentation/ABI/testing/ima_policy).
struct ImaRule {
  std::string text;    // as it stands there, fit for a terminal
  std::string action;  // "measure", "dont_measure", "appraise", ...
  // "func" and "BPRM_CHECK", in their order; a word without a value, such as
  // permit_directio, has none.
  std::vector<std::pair<std::string, std::string>> conditions;

  // Empty if there is no such condition.
  std::string Get(absl::string_view name) const;
  bool Has(absl::string_view name) const;
};

// The rules of a policy, in their order. Comments and empty lines are none.
std::vector<ImaRule> ParseImaPolicy(absl::string_view text);

// The rules that `ima_policy=` of the kernel's command line stands for
// (Linux security/integrity/ima/ima_policy.c), by the words that it has there:
// "tcb", "critical_data". Words that add no rule about measuring, such as
// "secure_boot", add nothing. `legacy_tcb` is the old `ima_tcb`. Rules that an
// architecture adds for secure boot are not among them.
std::vector<ImaRule> BuiltinImaRules(const std::vector<std::string>& words,
                                     bool legacy_tcb);

}  // namespace cupel::agent

#endif  // CUPEL_AGENT_DOCTOR_IMA_POLICY_H_
