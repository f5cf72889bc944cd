// What the doctor's checks look at.
#ifndef CUPEL_AGENT_DOCTOR_MACHINE_H_
#define CUPEL_AGENT_DOCTOR_MACHINE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "agent/doctor/tls_probe.h"
#include "agent/tpm/tpm.h"
#include "common/config/agent_config.h"

namespace cupel::agent {

// One machine as it is found: a table of what a test can put in another's
// place.
struct Machine {
  config::AgentConfig config;
  // Stands before every path that is read; empty for the machine itself.
  std::string root = {};
  std::string kernel_release = {};  // uname -r
  uint32_t user_id = 0;             // of this process
  absl::Time now = absl::UnixEpoch();
  // The configured one, or why it can't be reached.
  absl::StatusOr<std::unique_ptr<Tpm>> tpm = absl::UnavailableError("no TPM");

  // Whether that user may open the path for reading, and for writing too.
  std::function<absl::StatusOr<bool>(const std::string& user,
                                     const std::string& path, bool write)>
      may_open = {};
  std::function<absl::StatusOr<TlsPeer>(const config::Endpoint& verifier,
                                        const std::string& roots_pem)>
      probe_tls = {};
  std::function<absl::Time()> steady_clock = {};
  std::function<void(absl::Duration)> sleep = {};

  std::string Path(const std::string& path) const { return root + path; }
  // The content of a small file, one of /proc or of a configuration. Errors of
  // ReadFile.
  absl::StatusOr<std::string> ReadText(const std::string& path) const;
  // True unless the list is a plain file, as an emulator writes one.
  bool HasKernelList() const;
};

}  // namespace cupel::agent

#endif  // CUPEL_AGENT_DOCTOR_MACHINE_H_
