// Where the verifier is and what is shown to it; how commands come by it.
#ifndef CUPEL_TENANT_CONNECTION_H_
#define CUPEL_TENANT_CONNECTION_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "CLI/App.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/util/agent_id.h"
#include "tenant/fleet.h"
#include "tenant/tenant_defaults.h"

namespace cupel::tenant {

struct Connection {
  std::string host;
  uint16_t port = 0;
  std::string ca;  // paths of PEM files
  std::string certificate;
  std::string key;
  absl::Duration timeout;
};

// What every command that talks to a verifier has: the configuration, and the
// options that go before it.
class Online {
 public:
  // main() hands in what makes the client, since commands know no gRPC.
  using Connector = std::function<absl::StatusOr<std::unique_ptr<Fleet>>(
      const Connection& connection)>;

  // `defaults` may be an error: it counts only once a verifier is needed.
  Online(absl::StatusOr<TenantDefaults> defaults, Connector connector)
      : defaults_(std::move(defaults)), connector_(std::move(connector)) {}

  // Adds -v, --verifier-port, --ca, --cert, --key, --timeout. The same object
  // serves all commands: one of them is run.
  void Register(CLI::App& command);

  absl::StatusOr<TenantDefaults> defaults() const { return defaults_; }
  // kInvalidArgument for options or a configuration that make no sense;
  // otherwise the connector's errors.
  absl::StatusOr<std::unique_ptr<Fleet>> Connect() const;

 private:
  absl::StatusOr<TenantDefaults> defaults_;
  Connector connector_;
  std::string verifier_;
  uint16_t port_ = 0;
  std::optional<std::string> ca_;
  std::optional<std::string> certificate_;
  std::optional<std::string> key_;
  std::string timeout_;
};

// AgentId::Parse with an error for people.
absl::StatusOr<AgentId> ParseAgent(const std::string& text);

}  // namespace cupel::tenant

#endif  // CUPEL_TENANT_CONNECTION_H_
