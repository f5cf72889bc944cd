// An agent's setting `boot` as the rule that its appraisal takes.
#ifndef CUPEL_VERIFIER_SESSION_BOOT_SETTING_H_
#define CUPEL_VERIFIER_SESSION_BOOT_SETTING_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/policy/boot_rule.h"

namespace cupel::verifier {

// "any" is AnyBoot; "pinned" the composite `pinned_hex` that an operator
// approved (its size names the bank); anything else is a tpm_policy as JSON.
//
// Errors, each with its cure, and never a rule that lets everything pass:
// kFailedPrecondition without a setting, and for "pinned" while nothing is
// approved; kInvalidArgument for a composite that is no digest, and
// ParseTpmPolicy's errors.
absl::StatusOr<policy::BootRule> BootRuleOf(absl::string_view boot,
                                            absl::string_view pinned_hex);

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_SESSION_BOOT_SETTING_H_
