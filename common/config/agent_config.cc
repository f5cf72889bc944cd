#include "common/config/agent_config.h"

#include "common/util/status_macros.h"

namespace cupel::config {

const std::vector<Option<AgentConfig>>& AgentOptions() {
  using C = AgentConfig;
  const auto short_time = [](absl::Duration least) {
    return DurationIn(least, absl::Hours(1));
  };
  static const auto* const options = new std::vector<Option<C>>{
      Section("Verifiers",
              MakeOption("verifiers", &C::verifiers, HostsAndPorts(),
                         "The verifiers' attestation ports. One that can't be "
                         "reached\nmakes the agent try the next.")),
      MakeOption("ca_file", &C::ca_file, Path(),
                 "The CAs (PEM) that may vouch for a verifier. There is no "
                 "other way\nto trust one."),
      MakeOption("connect_timeout", &C::connect_timeout,
                 short_time(absl::Milliseconds(100)),
                 "How long a connection may take to come about."),
      MakeOption("backoff_min", &C::backoff_min,
                 short_time(absl::Milliseconds(10)),
                 "The wait after a connection was lost doubles from this, "
                 "with jitter."),
      MakeOption("backoff_max", &C::backoff_max,
                 short_time(absl::Milliseconds(10)),
                 "It grows no further than this."),

      Section("Identity",
              MakeOption("agent_id", &C::agent_id, AgentIdOrAuto(),
                         "This machine's UUID. auto: one is made at random, "
                         "once, and kept in\nstate_dir.")),
      MakeOption("state_dir", &C::state_dir, Path(),
                 "Holds the id and the attestation key (usable by this TPM "
                 "alone).\nOnly the agent may read it."),
      MakeOption("enrollment_token_file", &C::enrollment_token_file,
                 PathOrNone(),
                 "A single-use token of `cupel-tenant`, by which this machine "
                 "enrolls\nstraight into a tenant. Empty: none."),
      MakeOption("user", &C::user, Text(),
                 "Becomes this user once the list is open; the user has to be "
                 "in the\ngroup tss. Empty: stays who it is."),

      Section("TPM", MakeOption("tcti", &C::tcti, Text(),
                                "How the TPM is reached: "
                                "\"device:/dev/tpmrm0\", or\n"
                                "\"swtpm:host=127.0.0.1,port=2321\".")),
      MakeOption("ak_algorithm", &C::ak_algorithm,
                 OneOf({"ecc-p256", "rsa-2048"}),
                 "The attestation key's algorithm: ecc-p256 or rsa-2048. "
                 "Takes effect\nwhen a key is made."),
      MakeOption(
          "ek_template", &C::ek_template,
          OneOf({"auto", "L-1", "L-2", "H-1", "H-2", "H-3", "H-6", "H-7"}),
          "The TCG template of the endorsement key. auto: the first "
          "that the\nTPM has a certificate for."),
      MakeOption("ek_certificate_file", &C::ek_certificate_file, PathOrNone(),
                 "The endorsement key's certificate (DER or PEM), with its "
                 "issuers, where\nthe TPM holds none; or a folder of such "
                 "files, of which the one for\nthis TPM is taken. Empty: the "
                 "TPM's."),
      MakeOption("endorsement_password_file", &C::endorsement_password_file,
                 PathOrNone(),
                 "Holds the endorsement hierarchy's password. Empty: it has "
                 "none."),

      Section("Measurements",
              MakeOption("ima_list", &C::ima_list, Path(),
                         "The measurement list in the kernel's binary form.")),
      MakeOption("ima_count", &C::ima_count, PathOrNone(),
                 "How many entries it has, as decimal text; empty where there "
                 "is no such file, as beside an emulator's list."),
      MakeOption("poll_interval", &C::poll_interval,
                 short_time(absl::Milliseconds(1)),
                 "How often the count is read: the kernel tells nobody when "
                 "it grows."),
      MakeOption("settle", &C::settle,
                 DurationIn(absl::ZeroDuration(), absl::Seconds(1)),
                 "A quote is made once the list has not grown for so long ..."),
      MakeOption("settle_max", &C::settle_max,
                 DurationIn(absl::ZeroDuration(), absl::Seconds(1)),
                 "... and at the latest so long after the first new entry."),
      MakeOption("least_interval", &C::least_interval,
                 DurationIn(absl::ZeroDuration(), absl::Minutes(1)),
                 "The least time between two quotes: it spares the TPM."),
      MakeOption("chunk_size", &C::chunk_size,
                 SizeIn(uint64_t{4} << 10, uint64_t{64} << 10),
                 "The list is sent in pieces of this size."),

      Section("Log", MakeOption("log_level", &C::log_level, Level(),
                                "The least level that is logged: debug, info, "
                                "warning, error.")),
      MakeOption("log_format", &C::log_format, Format(),
                 "text, or json: one object a line."),
  };
  return *options;
}

absl::StatusOr<AgentConfig> LoadAgentConfig(const Sources& sources,
                                            Origins* origins) {
  AgentConfig config;
  CUPEL_RETURN_IF_ERROR(
      Apply("agent", Bind(AgentOptions(), config), sources, origins));
  if (config.backoff_min > config.backoff_max) {
    return absl::InvalidArgumentError(
        "backoff_min is longer than backoff_max; lower it, or raise "
        "backoff_max");
  }
  if (config.settle > config.settle_max) {
    return absl::InvalidArgumentError(
        "settle is longer than settle_max; lower it, or raise settle_max");
  }
  return config;
}

}  // namespace cupel::config
