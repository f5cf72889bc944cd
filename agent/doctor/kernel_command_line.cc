#include "agent/doctor/kernel_command_line.h"

#include <utility>

#include "absl/strings/str_split.h"
#include "common/util/status_macros.h"

namespace cupel::agent {

KernelCommandLine ParseKernelCommandLine(absl::string_view text) {
  KernelCommandLine line;
  for (const absl::string_view word :
       absl::StrSplit(text, absl::ByAnyChar(" \n\t"), absl::SkipEmpty())) {
    const std::pair<std::string, std::string> parts =
        absl::StrSplit(word, absl::MaxSplits('=', 1));
    line.values[parts.first] = parts.second;
    if (parts.first == "ima_policy") {
      for (const absl::string_view policy : absl::StrSplit(
               parts.second, absl::ByAnyChar("|\""), absl::SkipEmpty())) {
        line.policies.emplace_back(policy);
      }
    }
  }
  return line;
}

absl::StatusOr<KernelCommandLine> ReadKernelCommandLine(
    const Machine& machine) {
  CUPEL_ASSIGN_OR_RETURN(const std::string text,
                         machine.ReadText("/proc/cmdline"));
  return ParseKernelCommandLine(text);
}

}  // namespace cupel::agent
