// What an IMA policy measures, and what it leaves out.
#ifndef CUPEL_AGENT_DOCTOR_IMA_COVERAGE_H_
#define CUPEL_AGENT_DOCTOR_IMA_COVERAGE_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "agent/doctor/ima_policy.h"

namespace cupel::agent {

// One thing that decides what runs, or what is allowed, and whether rules have
// it measured. The kernel goes by the first rule that fits (Linux
// security/integrity/ima/ima_policy.c, ima_match_policy).
struct ImaCoverage {
  std::string func;  // "BPRM_CHECK"
  bool is_measured =
      false;  // by a rule that holds for everything and everybody
  // Else the rules that have some of it measured: places in the policy.
  std::vector<size_t> partial = {};
  // Rules that leave out some of what a later one would have measured: places
  // in the policy. Those about file systems that hold no files don't count, nor
  // do those whose files an earlier rule has measured.
  std::vector<size_t> holes = {};
  // The place of the rule that leaves out all of it, or all of what is left;
  // the policy's size where there is none.
  size_t shut_by = 0;
};

// For whatever packaging/ima/strict.policy measures, in that order. FILE_CHECK,
// which the kernel asks where somebody opens a file, counts as partial for the
// files of kexec, since not everybody who may load one opens it.
std::vector<ImaCoverage> CoverageOf(const std::vector<ImaRule>& rules);

// Something that packaging/ima/strict.policy measures and another policy leaves
// unmeasured. Both texts are fit for a terminal.
struct ImaGap {
  // Programs, without which a list says nothing.
  bool is_vital = false;
  std::string text;  // what, by which rule, and why it matters
  std::string cure;  // with the very line to add
};

// The gaps of a policy: what no rule measures or some rules measure in part, in
// CoverageOf's order, then each rule that leaves a hole.
std::vector<ImaGap> GapsOf(const std::vector<ImaRule>& rules);

// "tmpfs" for "0x01021994"; the number for one that has no name here.
std::string FileSystemName(absl::string_view magic);

}  // namespace cupel::agent

#endif  // CUPEL_AGENT_DOCTOR_IMA_COVERAGE_H_
