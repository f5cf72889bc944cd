#ifndef CUPEL_AGENT_DOCTOR_KERNEL_COMMAND_LINE_H_
#define CUPEL_AGENT_DOCTOR_KERNEL_COMMAND_LINE_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "agent/doctor/machine.h"

namespace cupel::agent {

// What a kernel was told when it started, as far as IMA is concerned.
struct KernelCommandLine {
  // "ima_hash" to "sha256"; the last of each name. A word without a value has
  // an empty one.
  std::map<std::string, std::string> values;
  // The words of every ima_policy=, in their order: "tcb", "secure_boot".
  std::vector<std::string> policies;
};

KernelCommandLine ParseKernelCommandLine(absl::string_view text);

// The machine's /proc/cmdline. Errors of Machine::ReadText.
absl::StatusOr<KernelCommandLine> ReadKernelCommandLine(const Machine& machine);

}  // namespace cupel::agent

#endif  // CUPEL_AGENT_DOCTOR_KERNEL_COMMAND_LINE_H_
