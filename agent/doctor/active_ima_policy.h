#ifndef CUPEL_AGENT_DOCTOR_ACTIVE_IMA_POLICY_H_
#define CUPEL_AGENT_DOCTOR_ACTIVE_IMA_POLICY_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/doctor/ima_policy.h"
#include "agent/doctor/machine.h"

namespace cupel::agent {

// What IMA shows of itself, where securityfs is mounted.
inline constexpr char kImaFolder[] = "/sys/kernel/security/ima";

inline constexpr char kImaPolicyPath[] = "/sys/kernel/security/ima/policy";
// Where systemd loads one from.
inline constexpr char kImaPolicyFile[] = "/etc/ima/ima-policy";

// The rules that hold on a machine.
struct ActiveImaPolicy {
  std::vector<ImaRule> rules;
  std::string origin;  // who says so; fit for a terminal
};

// Reads the policy back where the kernel shows it (CONFIG_IMA_READ_POLICY).
// Where it doesn't, the policy's file tells (Linux
// security/integrity/ima/ima_fs.c, ima_release_policy): while it is there, and
// the kernel takes one policy alone (no CONFIG_IMA_WRITE_POLICY), none was
// loaded, and the rules are those of the command line. Once it is gone, one was
// loaded, which is taken to be kImaPolicyFile if the list has its digest.
//
// kFailedPrecondition, with what was tried, where neither tells; errors of
// reading what is shown.
absl::StatusOr<ActiveImaPolicy> FindActiveImaPolicy(const Machine& machine);

}  // namespace cupel::agent

#endif  // CUPEL_AGENT_DOCTOR_ACTIVE_IMA_POLICY_H_
