#ifndef CUPEL_AGENT_DOCTOR_KERNEL_CONFIG_H_
#define CUPEL_AGENT_DOCTOR_KERNEL_CONFIG_H_

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace cupel::agent {

// The options that a kernel was built with, and the file that says so.
struct KernelConfig {
  std::string path;
  // "CONFIG_IMA" to "y", "m", "10", "\"ima-ng\"" and so on; what is not set
  // is not there.
  std::map<std::string, std::string> options;

  // Empty if it is not set. Quotes are taken off.
  std::string Get(const std::string& option) const;
};

// Lines CONFIG_X=value; whatever else the text has is passed over.
std::map<std::string, std::string> ParseKernelConfig(absl::string_view text);

// The configuration of the kernel `release` ("6.1.0-18-amd64") below `root`:
// /proc/config.gz, /boot/config-RELEASE, or /lib/modules/RELEASE/config,
// whichever is there first. kNotFound if none is; errors of reading it;
// kInvalidArgument if it is no gzip file or has no option in it.
absl::StatusOr<KernelConfig> ReadKernelConfig(const std::string& root,
                                              const std::string& release);

}  // namespace cupel::agent

#endif  // CUPEL_AGENT_DOCTOR_KERNEL_CONFIG_H_
