// How cupel-agent is configured.
#ifndef CUPEL_COMMON_CONFIG_AGENT_CONFIG_H_
#define CUPEL_COMMON_CONFIG_AGENT_CONFIG_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/config/loader.h"
#include "common/config/value.h"
#include "common/util/agent_id.h"
#include "common/util/log.h"

namespace cupel::config {

// What each member means stands in AgentOptions(), and so in
// packaging/config/agent.yaml. Paths that are optional are empty for none.
struct AgentConfig {
  std::vector<Endpoint> verifiers = {{"localhost", 8891}};
  std::string ca_file = "/etc/cupel/ca.pem";
  absl::Duration connect_timeout = absl::Seconds(10);
  absl::Duration backoff_min = absl::Milliseconds(500);
  absl::Duration backoff_max = absl::Seconds(30);

  std::optional<AgentId> agent_id;  // nullopt: made once, kept in state_dir
  std::string state_dir = "/var/lib/cupel/agent";
  std::string enrollment_token_file;
  std::string user;  // empty: stays who it is

  std::string tcti = "device:/dev/tpmrm0";
  std::string ak_algorithm = "ecc-p256";  // or "rsa-2048"
  std::string ek_template = "auto";       // or "L-1", ...
  std::string ek_certificate_file;
  std::string endorsement_password_file;

  std::string ima_list = "/sys/kernel/security/ima/binary_runtime_measurements";
  std::string ima_count = "/sys/kernel/security/ima/runtime_measurements_count";
  absl::Duration poll_interval = absl::Milliseconds(50);
  absl::Duration settle = absl::Milliseconds(100);
  absl::Duration settle_max = absl::Seconds(1);
  absl::Duration least_interval = absl::Milliseconds(100);
  uint64_t chunk_size = uint64_t{64} << 10;

  LogLevel log_level = LogLevel::kInfo;
  LogFormat log_format = LogFormat::kText;

  friend bool operator==(const AgentConfig&, const AgentConfig&) = default;
};

const std::vector<Option<AgentConfig>>& AgentOptions();

// Errors: those of Apply, and kInvalidArgument for values that contradict one
// another. `origins` may be null.
absl::StatusOr<AgentConfig> LoadAgentConfig(const Sources& sources,
                                            Origins* origins = nullptr);

}  // namespace cupel::config

#endif  // CUPEL_COMMON_CONFIG_AGENT_CONFIG_H_
