#ifndef CUPEL_AGENT_TPM_TCTI_H_
#define CUPEL_AGENT_TPM_TCTI_H_

#include <string>

#include "absl/strings/string_view.h"

namespace cupel::agent {

// The device or socket that a configuration string of tss2's TCTI loader opens:
// "/dev/tpmrm0" of "device:/dev/tpmrm0", "/run/tpm" of "swtpm:path=/run/tpm".
// Empty where there is none, as with a port of TCP.
std::string TctiPath(absl::string_view tcti);

// True for a device of the kernel's.
bool IsTpmDevice(absl::string_view tcti);

}  // namespace cupel::agent

#endif  // CUPEL_AGENT_TPM_TCTI_H_
