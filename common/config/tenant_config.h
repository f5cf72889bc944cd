// How cupel-tenant is configured.
#ifndef CUPEL_COMMON_CONFIG_TENANT_CONFIG_H_
#define CUPEL_COMMON_CONFIG_TENANT_CONFIG_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/config/loader.h"
#include "common/config/value.h"

namespace cupel::config {

// What each member means stands in TenantOptions(), and so in
// packaging/config/tenant.yaml. Paths that are optional are empty for none.
struct TenantConfig {
  Endpoint verifier = {"localhost", 8892};
  std::string ca_file = "/etc/cupel/pki/operator/ca.pem";
  std::string certificate = "/etc/cupel/pki/operator/certificate.pem";
  std::string key = "/etc/cupel/pki/operator/key.pem";
  absl::Duration timeout = absl::Seconds(30);

  std::string allowlist;
  std::string ima_excludelist;
  std::vector<std::string> default_policies;
  std::string boot;
  bool trust_on_first_use = false;
  bool lab = false;

  friend bool operator==(const TenantConfig&, const TenantConfig&) = default;
};

const std::vector<Option<TenantConfig>>& TenantOptions();

// Errors: those of Apply. `origins` may be null.
absl::StatusOr<TenantConfig> LoadTenantConfig(const Sources& sources,
                                              Origins* origins = nullptr);

}  // namespace cupel::config

#endif  // CUPEL_COMMON_CONFIG_TENANT_CONFIG_H_
