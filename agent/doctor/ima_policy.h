// What an IMA policy measures, and what it leaves out.
#ifndef CUPEL_AGENT_DOCTOR_IMA_POLICY_H_
#define CUPEL_AGENT_DOCTOR_IMA_POLICY_H_

#include <cstddef>
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
// "tcb", "secure_boot". Words that add no rule about measuring add nothing.
// `legacy_tcb` is the old `ima_tcb`.
std::vector<ImaRule> BuiltinImaRules(const std::vector<std::string>& words,
                                     bool legacy_tcb);

// What is executed or loaded, and whether rules have it measured. The kernel
// goes by the first rule that fits.
struct ImaCoverage {
  std::string func;             // "BPRM_CHECK"
  std::string what;             // "programs"
  bool is_measured = false;     // by a rule that holds for every file and user
  std::string restricted = {};  // else a rule that holds for some; may be empty
  // Rules before it that leave files out which somebody could execute: those
  // about pseudo file systems don't count.
  std::vector<std::string> holes = {};
};

// For BPRM_CHECK, MMAP_CHECK, MODULE_CHECK, FIRMWARE_CHECK, POLICY_CHECK and
// KEXEC_KERNEL_CHECK, in that order.
std::vector<ImaCoverage> CoverageOf(const std::vector<ImaRule>& rules);

// "tmpfs" for "0x01021994"; the number for one that has no name here.
std::string FileSystemName(absl::string_view magic);

}  // namespace cupel::agent

#endif  // CUPEL_AGENT_DOCTOR_IMA_POLICY_H_
