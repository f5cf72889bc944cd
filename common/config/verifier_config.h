// How cupel-verifier is configured.
#ifndef CUPEL_COMMON_CONFIG_VERIFIER_CONFIG_H_
#define CUPEL_COMMON_CONFIG_VERIFIER_CONFIG_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/config/loader.h"
#include "common/config/value.h"
#include "common/util/log.h"

namespace cupel::config {

// What each member means stands in VerifierOptions(), and so in
// packaging/config/verifier.yaml. Paths that are optional are empty for none.
struct VerifierConfig {
  Endpoint attest_listen = {"0.0.0.0", 8891};
  Endpoint fleet_listen = {"127.0.0.1", 8892};
  std::optional<Endpoint> metrics_listen = Endpoint{"127.0.0.1", 8893};

  std::string state_dir = "/var/lib/cupel/verifier";
  std::string store_path;  // never empty once loaded

  std::string tls_certificate = "/etc/cupel/pki/server/certificate.pem";
  std::string tls_key = "/etc/cupel/pki/server/key.pem";
  std::string client_ca = "/etc/cupel/pki/client-ca/certificate.pem";
  std::string client_deny_list;

  std::string ek_roots = "/etc/cupel/ek-roots";
  bool accept_unknown_ek_issuer = false;
  uint32_t max_unclaimed_per_address = 16;
  absl::Duration unclaimed_lifetime = absl::Hours(24);
  absl::Duration cookie_lifetime = absl::Seconds(60);

  absl::Duration interval = absl::Seconds(10);
  std::optional<absl::Duration> fresh;  // nullopt: off
  absl::Duration grace = absl::Seconds(10);
  absl::Duration pending_timeout = absl::Minutes(5);

  std::string policy_keys;
  bool require_signed_policies = false;

  absl::Duration event_lifetime = absl::Hours(24 * 90);

  uint32_t worker_threads = 0;  // 0: one a CPU
  uint32_t max_streams = 10000;
  uint32_t max_unproven_streams = 1000;
  uint32_t max_unproven_per_address = 64;
  uint32_t max_unproven_per_agent = 4;
  absl::Duration unproven_timeout = absl::Seconds(30);
  absl::Duration list_timeout = absl::Minutes(5);
  uint64_t max_list_size = uint64_t{512} << 20;
  uint64_t max_list_memory = uint64_t{2} << 30;
  uint64_t max_policy_size = uint64_t{256} << 20;

  uint32_t max_agents_per_tenant = 100'000;
  uint32_t max_policies_per_tenant = 10'000;
  uint64_t max_policy_bytes_per_tenant = uint64_t{16} << 30;
  uint32_t max_attest_now_per_tenant = 100;  // a second
  uint32_t max_enrollment_tokens_per_tenant = 10'000;
  uint32_t max_allowed_eks_per_tenant = 100'000;
  uint32_t max_watches_per_tenant = 100;

  LogLevel log_level = LogLevel::kInfo;
  LogFormat log_format = LogFormat::kText;

  friend bool operator==(const VerifierConfig&,
                         const VerifierConfig&) = default;
};

const std::vector<Option<VerifierConfig>>& VerifierOptions();

// Errors: those of Apply, and kInvalidArgument for values that contradict one
// another. `origins` may be null.
absl::StatusOr<VerifierConfig> LoadVerifierConfig(const Sources& sources,
                                                  Origins* origins = nullptr);

}  // namespace cupel::config

#endif  // CUPEL_COMMON_CONFIG_VERIFIER_CONFIG_H_
