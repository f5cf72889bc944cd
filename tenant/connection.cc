#include "tenant/connection.h"

#include "absl/strings/str_cat.h"
#include "common/util/escape.h"
#include "common/util/status_context.h"
#include "common/util/status_macros.h"

namespace cupel::tenant {

void Online::Register(CLI::App& command) {
  constexpr char kGroup[] = "The verifier";
  command
      .add_option("-v,--verifier", verifier_,
                  "The verifier's name or address, as its certificate has it; "
                  "a port may follow")
      ->group(kGroup)
      ->type_name("HOST[:PORT]");
  command
      .add_option("--verifier-port", port_, "Its port for operators, also -vp")
      ->check(CLI::Range(1, 65535, "1-65535"))
      ->group(kGroup)
      ->type_name("PORT");
  command.add_option("--ca", ca_, "The CA that vouches for the verifier (PEM)")
      ->group(kGroup)
      ->type_name("FILE");
  command.add_option("--cert", certificate_, "Your certificate (PEM)")
      ->group(kGroup)
      ->type_name("FILE");
  command.add_option("--key", key_, "Its key (PEM)")
      ->group(kGroup)
      ->type_name("FILE");
  command
      .add_option("--timeout", timeout_, "How long an answer may take: 30s, 2m")
      ->group(kGroup)
      ->type_name("TIME");
}

absl::StatusOr<std::unique_ptr<Fleet>> Online::Connect() const {
  CUPEL_ASSIGN_OR_RETURN(const TenantDefaults defaults, defaults_);
  Connection connection{defaults.host,        defaults.port, defaults.ca_file,
                        defaults.certificate, defaults.key,  defaults.timeout};
  if (!verifier_.empty()) {
    CUPEL_RETURN_IF_ERROR(
        WithContext(ParseEndpoint(verifier_, connection.host, connection.port),
                    "--verifier"));
  }
  if (port_ != 0) connection.port = port_;
  if (ca_.has_value()) connection.ca = *ca_;
  if (certificate_.has_value()) connection.certificate = *certificate_;
  if (key_.has_value()) connection.key = *key_;
  if (!timeout_.empty() &&
      (!absl::ParseDuration(timeout_, &connection.timeout) ||
       connection.timeout < absl::Milliseconds(100) ||
       connection.timeout > absl::Hours(1))) {
    return absl::InvalidArgumentError(
        absl::StrCat("--timeout takes 100ms to 1h, not ", Quoted(timeout_)));
  }
  return connector_(connection);
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
