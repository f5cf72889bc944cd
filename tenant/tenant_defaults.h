// What the command line need not say.
#ifndef CUPEL_TENANT_TENANT_DEFAULTS_H_
#define CUPEL_TENANT_TENANT_DEFAULTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace cupel::tenant {

struct TenantDefaults {
  std::string host = "localhost";
  uint16_t port = 8892;
  std::string ca_file = "/etc/cupel/pki/operator/ca.pem";
  std::string certificate = "/etc/cupel/pki/operator/certificate.pem";
  std::string key = "/etc/cupel/pki/operator/key.pem";
  absl::Duration timeout = absl::Seconds(30);

  std::string allowlist;        // of --allowlist default
  std::string ima_excludelist;  // of --exclude default
  std::vector<std::string> default_policies;
  std::string boot;  // empty: it has to be given
  bool trust_on_first_use = false;
};

// The defaults, changed by the environment's CUPEL_TENANT_VERIFIER
// ("host:port"), _CA_FILE, _CERTIFICATE, _KEY, _TIMEOUT, _ALLOWLIST,
// _IMA_EXCLUDELIST, _DEFAULT_POLICIES (commas between them), _BOOT and
// _TRUST_ON_FIRST_USE ("true", "false"). `variable` returns one's value, null
// if it is not set. kInvalidArgument, naming the variable, for any other value.
absl::StatusOr<TenantDefaults> DefaultsFromEnvironment(
    absl::FunctionRef<const char*(const char*)> variable);

// Reads "host", "host:port" or "[::1]:port" into the two; what the text doesn't
// name stays. kInvalidArgument for anything else.
absl::Status ParseEndpoint(absl::string_view text, std::string& host,
                           uint16_t& port);

}  // namespace cupel::tenant

#endif  // CUPEL_TENANT_TENANT_DEFAULTS_H_
