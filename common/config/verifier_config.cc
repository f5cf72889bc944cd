#include "common/config/verifier_config.h"

#include "absl/strings/str_cat.h"
#include "common/util/status_macros.h"

namespace cupel::config {

const std::vector<Option<VerifierConfig>>& VerifierOptions() {
  using C = VerifierConfig;
  constexpr uint32_t kMany = 1'000'000;
  constexpr uint32_t kManyAgents = 100'000'000;
  constexpr uint64_t kMiB = uint64_t{1} << 20;
  static const auto* const options = new std::vector<Option<C>>{
      Section("Addresses",
              MakeOption("attest_listen", &C::attest_listen, HostAndPort(),
                         "Where agents connect: server TLS, their TPM is their "
                         "credential.")),
      MakeOption("fleet_listen", &C::fleet_listen, HostAndPort(),
                 "Where operators connect, with certificates of client_ca. "
                 "Loopback\nuntil you choose otherwise."),
      MakeOption("metrics_listen", &C::metrics_listen, HostAndPortOrOff(),
                 "Prometheus' text, for anybody who can connect; off for "
                 "none."),

      Section("State", MakeOption("state_dir", &C::state_dir, Path(),
                                  "Holds what the verifier remembers. Only it "
                                  "may read it.")),
      MakeOption("store_path", &C::store_path, PathOrNone(),
                 "The SQLite database. Empty: verifier.db in state_dir."),

      Section("Certificates (`cupel-verifier init` makes them)",
              MakeOption("tls_certificate", &C::tls_certificate, Path(),
                         "The server's certificate (PEM), then its issuers but "
                         "for the root.\nTaken up within seconds when the file "
                         "changes, or at SIGHUP.")),
      MakeOption("tls_key", &C::tls_key, Path(),
                 "Its key (PEM), readable by the verifier alone."),
      MakeOption("client_ca", &C::client_ca, Path(),
                 "The CA of operators' certificates; it should issue nothing "
                 "else. Read\nonce, at the start."),
      MakeOption("client_deny_list", &C::client_deny_list, PathOrNone(),
                 "Operators' keys that are refused: a line each, the SHA-256 "
                 "of the\ncertificate's SubjectPublicKeyInfo in hex. Read "
                 "again when it changes.\nEmpty: none."),

      Section("Enrolment",
              MakeOption("ek_roots", &C::ek_roots, Path(),
                         "The folder of TPM makers' root certificates (PEM) "
                         "that an endorsement\nkey's certificate must lead "
                         "to.")),
      MakeOption("accept_unknown_ek_issuer", &C::accept_unknown_ek_issuer,
                 Bool(),
                 "For laboratories: takes endorsement keys of any issuer, so "
                 "that\nsoftware can pass for a TPM."),
      MakeOption("max_unclaimed_per_address", &C::max_unclaimed_per_address,
                 Count(1, kMany),
                 "Enrolments that no tenant has added yet, for each source "
                 "address."),
      MakeOption("unclaimed_lifetime", &C::unclaimed_lifetime,
                 DurationIn(absl::Minutes(1), absl::Hours(24 * 365)),
                 "They are forgotten after this."),
      MakeOption("cookie_lifetime", &C::cookie_lifetime,
                 DurationIn(absl::Seconds(1), absl::Minutes(10)),
                 "How long an agent has to complete its enrolment."),

      Section("Attestation",
              MakeOption("interval", &C::interval,
                         DurationIn(absl::Milliseconds(100), absl::Hours(24)),
                         "A challenge is answered within this, whether "
                         "anything has changed or\nnot: it bounds how long a "
                         "hostile machine can hold a quote back.")),
      MakeOption("fresh", &C::fresh,
                 DurationOrOff(absl::Milliseconds(100), absl::Hours(24)),
                 "Where interval is long: replaces the challenge so often "
                 "without asking\nfor a quote. off for none."),
      MakeOption("grace", &C::grace,
                 DurationIn(absl::Milliseconds(100), absl::Hours(24)),
                 "How much later than interval evidence may come, before trust "
                 "lapses."),
      MakeOption("pending_timeout", &C::pending_timeout,
                 DurationIn(absl::Seconds(1), absl::Hours(24)),
                 "How long an agent that isn't trusted yet may take to pass, "
                 "before an\nevent says that it has not."),

      Section(
          "Policies",
          MakeOption("policy_keys", &C::policy_keys, PathOrNone(),
                     "Public keys (PEM) of which one must have signed a "
                     "policy that is signed\n(DSSE): a file, or a folder of "
                     ".pem files. Empty: signed policies are\nrefused.")),
      MakeOption("require_signed_policies", &C::require_signed_policies, Bool(),
                 "Refuses policies that are not signed."),

      Section(
          "Events",
          MakeOption("event_lifetime", &C::event_lifetime,
                     DurationIn(absl::Hours(1), absl::Hours(24 * 3650)),
                     "What happened to agents is forgotten after this. Of "
                     "each agent the last\n1000 changes are kept at most.")),

      Section(
          "Limits",
          MakeOption("worker_threads", &C::worker_threads, CountOrAuto(1, 1024),
                     "Threads that appraise. auto: as many as there are "
                     "CPUs.")),
      MakeOption("max_streams", &C::max_streams, Count(1, kMany),
                 "Agents' streams in all. Each takes a descriptor of the "
                 "process."),
      MakeOption("max_unproven_streams", &C::max_unproven_streams,
                 Count(1, kMany),
                 "Of these, those that have shown no valid quote yet: in all "
                 "..."),
      MakeOption("max_unproven_per_address", &C::max_unproven_per_address,
                 Count(1, kMany), "... from one address ..."),
      MakeOption("max_unproven_per_agent", &C::max_unproven_per_agent,
                 Count(1, kMany),
                 "... and for one agent's id, from one address."),
      MakeOption("unproven_timeout", &C::unproven_timeout,
                 DurationIn(absl::Milliseconds(100), absl::Minutes(10)),
                 "They are closed after this."),
      MakeOption("list_timeout", &C::list_timeout,
                 DurationIn(absl::Milliseconds(100), absl::Hours(1)),
                 "How long an agent may take to send its measurement list; "
                 "between two\npieces of it, no more than 10s of that."),
      MakeOption("max_list_size", &C::max_list_size,
                 SizeIn(kMiB, 64 * 1024 * kMiB),
                 "The largest measurement list that is taken from an agent."),
      MakeOption("max_list_memory", &C::max_list_memory,
                 SizeIn(kMiB, 1024 * 1024 * kMiB),
                 "What all lists that are being taken or judged may take up "
                 "together, but\nfor the first 256 KiB of each. Who comes when "
                 "it is full comes again."),
      MakeOption("max_policy_size", &C::max_policy_size,
                 SizeIn(64 << 10, 4 * 1024 * kMiB),
                 "The largest policy that an operator can upload."),

      Section("Quotas: what one tenant may have, so that others find room",
              MakeOption("max_agents_per_tenant", &C::max_agents_per_tenant,
                         Count(1, kManyAgents),
                         "Its agents, whatever their states.")),
      MakeOption("max_policies_per_tenant", &C::max_policies_per_tenant,
                 Count(1, kManyAgents),
                 "Its policies, agents' own ones among them ..."),
      MakeOption("max_policy_bytes_per_tenant", &C::max_policy_bytes_per_tenant,
                 SizeIn(64 << 10, 1024 * 1024 * kMiB),
                 "... and how large all of them may be together. What is there "
                 "stays when a\nquota is lowered."),
      MakeOption("max_attest_now_per_tenant", &C::max_attest_now_per_tenant,
                 Count(1, kMany),
                 "Its calls to attest an agent at once: so many a second, and "
                 "as many at a\ntime."),
      MakeOption("max_enrollment_tokens_per_tenant",
                 &C::max_enrollment_tokens_per_tenant, Count(1, kManyAgents),
                 "Its enrolment tokens that nobody has used yet and that have "
                 "not expired ..."),
      MakeOption("max_allowed_eks_per_tenant", &C::max_allowed_eks_per_tenant,
                 Count(1, kManyAgents),
                 "... and the EKs on its list of those that it vouches for."),
      MakeOption("max_watches_per_tenant", &C::max_watches_per_tenant,
                 Count(1, kMany), "Its operators that watch events at a time."),

      Section("Log", MakeOption("log_level", &C::log_level, Level(),
                                "The least level that is logged: debug, info, "
                                "warning, error.")),
      MakeOption("log_format", &C::log_format, Format(),
                 "text, or json: one object a line."),
  };
  return *options;
}

absl::StatusOr<VerifierConfig> LoadVerifierConfig(const Sources& sources,
                                                  Origins* origins) {
  VerifierConfig config;
  CUPEL_RETURN_IF_ERROR(
      Apply("verifier", Bind(VerifierOptions(), config), sources, origins));
  if (config.store_path.empty()) {
    config.store_path = absl::StrCat(config.state_dir, "/verifier.db");
  }
  if (config.fresh && *config.fresh >= config.interval) {
    return absl::InvalidArgumentError(
        "fresh is not shorter than interval, so it would do nothing; shorten "
        "it, or write off");
  }
  if (config.unclaimed_lifetime < config.cookie_lifetime) {
    return absl::InvalidArgumentError(
        "unclaimed_lifetime is shorter than cookie_lifetime, so enrolments "
        "would be refused that have just begun; raise it");
  }
  if (config.max_unproven_streams > config.max_streams) {
    return absl::InvalidArgumentError(
        "max_unproven_streams is more than max_streams; lower it, or raise "
        "max_streams");
  }
  if (config.max_list_size > config.max_list_memory) {
    return absl::InvalidArgumentError(
        "max_list_size is more than max_list_memory, so that such a list could "
        "never be taken; lower it, or raise max_list_memory");
  }
  if (config.max_policy_size > config.max_policy_bytes_per_tenant) {
    return absl::InvalidArgumentError(
        "max_policy_size is more than max_policy_bytes_per_tenant, so that "
        "such a policy could never be stored; lower it, or raise "
        "max_policy_bytes_per_tenant");
  }
  if (config.require_signed_policies && config.policy_keys.empty()) {
    return absl::InvalidArgumentError(
        "require_signed_policies without policy_keys would refuse every "
        "policy; name the keys");
  }
  if (config.attest_listen == config.fleet_listen) {
    return absl::InvalidArgumentError(
        "attest_listen and fleet_listen are one address; agents and operators "
        "need a port each");
  }
  return config;
}

}  // namespace cupel::config
