// `cupel-agent doctor`: what is wrong with this machine, and what cures it.
#ifndef CUPEL_AGENT_DOCTOR_DOCTOR_H_
#define CUPEL_AGENT_DOCTOR_DOCTOR_H_

#include <span>

#include "absl/strings/string_view.h"
#include "agent/doctor/checks.h"
#include "agent/doctor/machine.h"
#include "agent/doctor/report.h"

namespace cupel::agent {

struct Check {
  absl::string_view id;  // "tpm.banks"; of static storage
  CheckFunction function;
};

// All of them, in the order in which they are made and shown.
std::span<const Check> DoctorChecks();

// Makes every check. What throws could not be decided.
Report Examine(const Machine& machine);

// This machine, as it is. The TPM is opened, and nothing is changed.
Machine ThisMachine(config::AgentConfig config,
                    absl::StatusOr<std::unique_ptr<Tpm>> tpm);

}  // namespace cupel::agent

#endif  // CUPEL_AGENT_DOCTOR_DOCTOR_H_
