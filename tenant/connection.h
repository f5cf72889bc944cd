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
#include "common/config/loader.h"
#include "common/config/tenant_config.h"
#include "common/util/agent_id.h"
#include "tenant/fleet.h"

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

  // `sources` are read once a verifier is needed: commands that need none work
  // whatever stands in them.
  Online(config::Sources sources, Connector connector)
      : sources_(std::move(sources)), connector_(std::move(connector)) {}

  // Adds --config alone: an option of the program, before any command.
  void RegisterConfigFile(CLI::App& app);
  // Adds -v, --verifier-port, --ca, --cert, --key, --timeout and --config. The
  // same object serves all commands: one of them is run.
  void Register(CLI::App& command);

  // The configuration: files, environment, and the options above over both.
  // Errors: those of LoadTenantConfig.
  absl::StatusOr<config::TenantConfig> Config() const;
  // The configuration's main file, for messages: what can be set is set there.
  std::string config_file() const;

  // Errors: those of Config and of the connector.
  absl::StatusOr<std::unique_ptr<Fleet>> Connect() const;

 private:
  config::Sources sources_;
  Connector connector_;
  std::optional<std::string> config_file_;
  std::string verifier_;
  uint16_t port_ = 0;
  std::optional<std::string> ca_;
  std::optional<std::string> certificate_;
  std::optional<std::string> key_;
  std::optional<std::string> timeout_;
};

// AgentId::Parse with an error for people.
absl::StatusOr<AgentId> ParseAgent(const std::string& text);

}  // namespace cupel::tenant

#endif  // CUPEL_TENANT_CONNECTION_H_
