// cupel-verifier: enrols agents, judges what they bring, serves operators.
#include <malloc.h>
#include <signal.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "common/config/loader.h"
#include "common/config/verifier_config.h"
#include "common/util/file.h"
#include "common/util/log.h"
#include "common/util/status_macros.h"
#include "verifier/pki/pki.h"
#include "verifier/rpc/descriptor_limit.h"
#include "verifier/rpc/server.h"
#include "verifier/store/sql_store.h"

namespace cupel::verifier {
namespace {

constexpr int kUsageError = 2;

struct Flags {
  std::optional<std::string> config_file;
  std::vector<std::string> set;
  bool free_ports = false;
  std::string backup_file;
  InitOptions init{.dir = "/etc/cupel/pki"};
  std::string role = "admin";
  std::string renew_dir = "/etc/cupel/pki";
  std::string operator_dir = "/etc/cupel/pki";
  std::string operator_name;
  std::string operator_tenant = "default";
  std::string operator_role = "admin";
};

absl::StatusOr<config::VerifierConfig> LoadConfig(const Flags& flags) {
  CUPEL_ASSIGN_OR_RETURN(
      const config::Sources sources,
      config::SourcesFromFlags("verifier", flags.config_file, flags.set));
  CUPEL_ASSIGN_OR_RETURN(config::VerifierConfig config,
                         config::LoadVerifierConfig(sources));
  if (flags.free_ports) {
    config.attest_listen.port = 0;
    config.fleet_listen.port = 0;
    if (config.metrics_listen.has_value()) config.metrics_listen->port = 0;
  }
  return config;
}

absl::StatusOr<std::unique_ptr<SqlStore>> OpenStore(
    const config::VerifierConfig& config) {
  std::error_code error;
  const bool is_new =
      std::filesystem::create_directories(config.state_dir, error);
  if (is_new && !error) {
    std::filesystem::permissions(config.state_dir,
                                 std::filesystem::perms::owner_all, error);
  }
  if (error) {
    return absl::UnavailableError(
        absl::StrCat("state_dir: ", config.state_dir, ": ", error.message()));
  }
  return SqlStore::Open(
      config.store_path,
      {.pending_timeout = config.pending_timeout,
       .quotas = {
           .max_policies = config.max_policies_per_tenant,
           .max_policy_bytes = config.max_policy_bytes_per_tenant,
           .max_agents = config.max_agents_per_tenant,
           .max_enrollment_tokens = config.max_enrollment_tokens_per_tenant,
           .max_allowed_eks = config.max_allowed_eks_per_tenant}});
}

// For whoever has started it with --free-ports.
std::string ListeningText(const ListenAddresses& addresses) {
  std::string text = absl::StrCat("attest ", addresses.attest, "\nfleet ",
                                  addresses.fleet, "\n");
  if (!addresses.metrics.empty()) {
    absl::StrAppend(&text, "metrics ", addresses.metrics, "\n");
  }
  return text;
}

// Those that Run waits for, kept from every thread that is started later.
sigset_t BlockSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) {
    sigaddset(&signals, signal);
  }
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  // A log that nobody reads any more, and a file that may not grow, are errors
  // of a write and no reason to end.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  return signals;
}

// Waits for the end; until then SIGHUP has the certificate read again.
int AwaitEnd(const sigset_t& signals, Server& server) {
  while (true) {
    int signal = 0;
    sigwait(&signals, &signal);
    if (signal != SIGHUP) return signal;
    server.ReloadCertificate();
  }
}

// What streams keep and what a round needs come from the same threads, and each
// heap that they come from keeps gaps of its own: a few heaps serve as well.
void BoundHeaps() {
  const unsigned int cores = std::thread::hardware_concurrency();
  mallopt(M_ARENA_MAX, static_cast<int>(std::clamp(cores / 2, 1U, 16U)));
}

absl::Status Run(const Flags& flags) {
  // Debian's Abseil looks for deadlocks at each lock, gRPC's included: that is
  // for tests, and costs a verifier some percents.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  BoundHeaps();
  const sigset_t signals = BlockSignals();
  CUPEL_ASSIGN_OR_RETURN(const config::VerifierConfig config,
                         LoadConfig(flags));
  Logger::Options log_options;
  log_options.format = config.log_format;
  log_options.least = config.log_level;
  Logger log(std::move(log_options));
  RaiseDescriptorLimit(config.max_streams, log);
  CUPEL_ASSIGN_OR_RETURN(const std::unique_ptr<SqlStore> store,
                         OpenStore(config));
  CUPEL_ASSIGN_OR_RETURN(const std::unique_ptr<Server> server,
                         Server::Start(config, *store, log));
  const ListenAddresses& addresses = server->addresses();
  const std::string listening = absl::StrCat(config.state_dir, "/listening");
  CUPEL_RETURN_IF_ERROR(WriteFile(listening, ListeningText(addresses)));
  log.Info("cupel-verifier listens", {{"attest", addresses.attest},
                                      {"fleet", addresses.fleet},
                                      {"metrics", addresses.metrics}});
  const int signal = AwaitEnd(signals, *server);
  log.Info("cupel-verifier ends", {{"signal", signal}});
  std::error_code ignored;
  std::filesystem::remove(listening, ignored);
  server->Stop();
  return absl::OkStatus();
}

absl::Status Init(Flags& flags) {
  CUPEL_ASSIGN_OR_RETURN(flags.init.role, ParseOperatorRole(flags.role));
  CUPEL_RETURN_IF_ERROR(InitPki(flags.init, absl::Now()));
  std::printf(
      "Made in %s: the CAs, the server's certificate, and operator/ for\n"
      "cupel-tenant. Agents need a copy of ca/certificate.pem.\n",
      flags.init.dir.c_str());
  return absl::OkStatus();
}

absl::Status IssueOne(const Flags& flags) {
  CUPEL_ASSIGN_OR_RETURN(const OperatorRole role,
                         ParseOperatorRole(flags.operator_role));
  CUPEL_RETURN_IF_ERROR(IssueOperator(flags.operator_dir, flags.operator_name,
                                      flags.operator_tenant, role,
                                      absl::Now()));
  std::printf("Made in %s/%s.\n", flags.operator_dir.c_str(),
              flags.operator_name.c_str());
  return absl::OkStatus();
}

absl::Status Renew(const Flags& flags) {
  CUPEL_ASSIGN_OR_RETURN(const std::vector<Renewed> renewed,
                         RenewPki(flags.renew_dir, absl::Now()));
  for (const Renewed& one : renewed) {
    std::printf("%s is valid until %s\n", one.folder.c_str(),
                absl::FormatTime(one.not_after, absl::UTCTimeZone()).c_str());
  }
  std::printf(
      "A cupel-verifier that runs takes its new certificate up within "
      "seconds,\n"
      "and says so in its log. Connections that are open go on.\n");
  return absl::OkStatus();
}

absl::Status Backup(const Flags& flags) {
  CUPEL_ASSIGN_OR_RETURN(const config::VerifierConfig config,
                         LoadConfig(flags));
  if (!std::filesystem::exists(config.store_path)) {
    return absl::NotFoundError(
        absl::StrCat("store_path: there is no ", config.store_path));
  }
  CUPEL_RETURN_IF_ERROR(
      SqlStore::BackupFile(config.store_path, flags.backup_file));
  std::printf("Copied %s to %s.\n", config.store_path.c_str(),
              flags.backup_file.c_str());
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  Flags flags;
  CLI::App app("Judges machines by what their TPMs vouch for.",
               "cupel-verifier");
  app.set_version_flag("--version", CUPEL_VERSION);
  app.require_subcommand(0, 1);
  app.fallthrough();
  app.add_option_function<std::string>(
         "--config",
         [&flags](const std::string& file) { flags.config_file = file; },
         "Configuration, instead of /etc/cupel/verifier.yaml")
      ->type_name("FILE");
  app.add_option("--set", flags.set,
                 "Sets an option of the configuration; may be given several "
                 "times")
      ->allow_extra_args(false)
      ->type_name("KEY=VALUE");
  app.add_flag("--free-ports", flags.free_ports,
               "Listen on free ports; STATE_DIR/listening tells which");
  app.add_subcommand("run", "Serve agents and operators (the default)");
  CLI::App* init = app.add_subcommand(
      "init", "Make the CAs and the certificates of server and operator");
  init->add_option("--dir", flags.init.dir, "Where to")->capture_default_str();
  init->add_option("--name", flags.init.dns_names,
                   "A host name that the verifier is known by");
  init->add_option("--address", flags.init.addresses,
                   "An address that the verifier is known by");
  init->add_option("--tenant", flags.init.tenant, "The operator's tenant")
      ->capture_default_str();
  init->add_option("--role", flags.role, "admin or viewer")
      ->capture_default_str();
  init->add_option("--service-user", flags.init.service_user,
                   "Whom the verifier runs as, and its key is to belong to; "
                   "the package's unit has cupel-verifier");
  CLI::App* issue =
      app.add_subcommand("operator", "Make a further operator's certificate");
  issue->add_option("NAME", flags.operator_name, "Its folder")->required();
  issue->add_option("--dir", flags.operator_dir, "Where init has written")
      ->capture_default_str();
  issue->add_option("--tenant", flags.operator_tenant)->capture_default_str();
  issue->add_option("--role", flags.operator_role)->capture_default_str();
  CLI::App* renew = app.add_subcommand(
      "renew", "Replace the certificates of server and operators");
  renew->add_option("--dir", flags.renew_dir, "Where init has written")
      ->capture_default_str();
  CLI::App* backup =
      app.add_subcommand("backup", "Make a consistent copy of the store");
  backup->add_option("FILE", flags.backup_file, "A new file")->required();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsageError;
  }

  absl::Status status;
  if (*init) {
    status = Init(flags);
  } else if (*issue) {
    status = IssueOne(flags);
  } else if (*renew) {
    status = Renew(flags);
  } else if (*backup) {
    status = Backup(flags);
  } else {
    status = Run(flags);
  }
  if (status.ok()) return 0;
  std::fprintf(stderr, "cupel-verifier: %s\n",
               std::string(status.message()).c_str());
  return status.code() == absl::StatusCode::kInvalidArgument ? kUsageError : 1;
}

}  // namespace
}  // namespace cupel::verifier

int main(int argc, char** argv) {
  try {
    return cupel::verifier::Main(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "cupel-verifier: %s\n", error.what());
    return 1;
  }
}
