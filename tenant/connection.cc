#include "tenant/connection.h"

#include "absl/strings/str_cat.h"
#include "common/config/value.h"
#include "common/util/escape.h"
#include "common/util/status_macros.h"

namespace cupel::tenant {

void Online::RegisterConfigFile(CLI::App& app) {
  app.add_option("--config", config_file_,
                 absl::StrCat("The configuration; ", sources_.file,
                              " and its drop-ins unless given"))
      ->group("The verifier")
      ->type_name("FILE");
}

void Online::Register(CLI::App& command) {
  constexpr char kGroup[] = "The verifier";
  command
      .add_option("-v,--verifier,--cv", verifier_,
                  "The verifier's name or address, as its certificate has it; "
                  "a port may follow")
      ->group(kGroup)
      ->type_name("HOST[:PORT]");
  command
      .add_option("--verifier-port,--cvport", port_,
                  "Its port for operators, also -vp")
      ->check(CLI::Range(1, 65535, "1-65535"))
      ->group(kGroup)
      ->type_name("PORT");
  command
      .add_option("--ca,--ca-file", ca_,
                  "The CA that vouches for the verifier (PEM)")
      ->group(kGroup)
      ->type_name("FILE");
  command
      .add_option("--cert,--certificate", certificate_,
                  "Your certificate (PEM)")
      ->group(kGroup)
      ->type_name("FILE");
  command.add_option("--key", key_, "Its key (PEM)")
      ->group(kGroup)
      ->type_name("FILE");
  command
      .add_option("--timeout", timeout_, "How long an answer may take: 30s, 2m")
      ->group(kGroup)
      ->type_name("TIME");
  RegisterConfigFile(command);
}

absl::StatusOr<config::TenantConfig> Online::Config() const {
  config::Sources sources = sources_;
  if (config_file_.has_value()) {
    sources.file = *config_file_;
    sources.file_required = true;
  }
  const auto flag = [&](const char* key,
                        const std::optional<std::string>& value) {
    if (value.has_value()) sources.flags.push_back({key, {*value}});
  };
  flag("ca_file", ca_);
  flag("certificate", certificate_);
  flag("key", key_);
  flag("timeout", timeout_);
  CUPEL_ASSIGN_OR_RETURN(config::TenantConfig config,
                         config::LoadTenantConfig(sources));
  // What -v leaves open is as configured.
  if (!verifier_.empty()) {
    const auto endpoint =
        config::ParseEndpoint(verifier_, config.verifier.port);
    if (!endpoint.has_value()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--verifier: ", Quoted(verifier_, 200),
                       " is no HOST, HOST:PORT or [IPv6]:PORT"));
    }
    config.verifier = *endpoint;
  }
  if (port_ != 0) config.verifier.port = port_;
  return config;
}

std::string Online::config_file() const {
  return EscapeForDisplay(config_file_.value_or(sources_.file));
}

absl::StatusOr<std::unique_ptr<Fleet>> Online::Connect() const {
  CUPEL_ASSIGN_OR_RETURN(const config::TenantConfig config, Config());
  return connector_({config.verifier.host, config.verifier.port, config.ca_file,
                     config.certificate, config.key, config.timeout});
}

absl::StatusOr<AgentId> ParseAgent(const std::string& text) {
  auto id = AgentId::Parse(text);
  if (!id.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat(Quoted(text, 100),
                     " is no agent's id, a UUID such as "
                     "d432fbb3-d2f1-4a97-9ef7-75bd81c00000"));
  }
  return id;
}

}  // namespace cupel::tenant
