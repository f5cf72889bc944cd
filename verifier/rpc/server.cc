#include "verifier/rpc/server.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/crypto/certificate.h"
#include "common/crypto/certificate_path.h"
#include "common/crypto/digest.h"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "common/util/hex.h"
#include "common/util/status_context.h"
#include "common/util/status_macros.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/impl/server_builder_option.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "verifier/enrollment/cookie.h"
#include "verifier/enrollment/enroller.h"
#include "verifier/pki/tls_credentials.h"
#include "verifier/rpc/attestation_service.h"
#include "verifier/rpc/enrollment_service.h"
#include "verifier/rpc/fleet_commands.h"
#include "verifier/rpc/fleet_service.h"
#include "verifier/rpc/metrics.h"
#include "verifier/rpc/operator_gate.h"
#include "verifier/rpc/policies_service.h"
#include "verifier/rpc/scheduler.h"
#include "verifier/session/deadline_sweep.h"
#include "verifier/session/policy_cache.h"
#include "verifier/session/session_table.h"
#include "verifier/session/worker_pool.h"

namespace cupel::verifier {
namespace {

constexpr size_t kMaxPemSize = size_t{1} << 20;
// A chunk of the list with what is around it.
constexpr int kMaxAttestMessage = (1 << 20) + (64 << 10);
constexpr int kMaxFleetMessage = 4 << 20;
constexpr int kWindow = 256 << 10;
constexpr int kMaxMetadataSize = 16 << 10;
// An agent has one stream and an enrolment or two.
constexpr int kMaxAttestStreams = 16;
constexpr int kMaxFleetStreams = 100;
constexpr size_t kFleetThreads = 2;
constexpr absl::Duration kSweepInterval = absl::Seconds(1);
constexpr absl::Duration kExpireInterval = absl::Minutes(1);
constexpr absl::Duration kRetryAfterStop = absl::Seconds(2);
constexpr auto kShutdownTimeout = std::chrono::seconds(3);

// The library adds reflection to every builder of a process that links it.
// Strangers get none.
class WithoutReflection final : public grpc::ServerBuilderOption {
 public:
  void UpdateArguments(grpc::ChannelArguments*) override {}
  void UpdatePlugins(std::vector<std::unique_ptr<grpc::ServerBuilderPlugin>>*
                         plugins) override {
    std::erase_if(*plugins, [](const auto& plugin) {
      return dynamic_cast<grpc::reflection::ProtoServerReflectionPlugin*>(
                 plugin.get()) != nullptr;
    });
  }
};

void SetLimits(grpc::ServerBuilder& builder, int max_message, int max_streams) {
  builder.SetMaxReceiveMessageSize(max_message);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataSize);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, max_streams);
  // The verifier asks whether the peer is there; the peer may ask no more often
  // than every 10 s, and only while it has a call.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 0);
  builder.AddChannelArgument(
      GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10'000);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 2);
  // Each message would be answered by a ping that measures the line, which
  // costs as much as the message does. A window of the usual agent's chunk
  // instead.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, kWindow);
  // Two verifiers on one port would share its connections.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
}

std::string HostPort(const config::Endpoint& endpoint, int port) {
  return absl::StrContains(endpoint.host, ':')
             ? absl::StrCat("[", endpoint.host, "]:", port)
             : absl::StrCat(endpoint.host, ":", port);
}

absl::StatusOr<std::string> ReadText(const std::string& path,
                                     absl::string_view option) {
  auto bytes = ReadFile(path, kMaxPemSize);
  CUPEL_RETURN_IF_ERROR(WithContext(bytes.status(), option));
  return std::string(AsText(*bytes));
}

// The certificates of a PEM file, or of every such file in a folder.
absl::StatusOr<crypto::TrustAnchors> LoadRoots(const std::string& path) {
  std::vector<std::string> files;
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    for (auto entry = std::filesystem::directory_iterator(path, error);
         !error && entry != std::filesystem::directory_iterator();
         entry.increment(error)) {
      const std::string extension = entry->path().extension().string();
      if (extension == ".pem" || extension == ".crt") {
        files.push_back(entry->path().string());
      }
    }
    if (error) {
      return absl::UnavailableError(
          absl::StrCat("ek_roots: ", path, ": ", error.message()));
    }
    std::sort(files.begin(), files.end());
  } else {
    files.push_back(path);
  }
  std::vector<crypto::Certificate> roots;
  for (const std::string& file : files) {
    CUPEL_ASSIGN_OR_RETURN(const std::string pem, ReadText(file, "ek_roots"));
    auto bundle = crypto::Certificate::BundleFromPem(pem);
    CUPEL_RETURN_IF_ERROR(
        WithContext(bundle.status(), absl::StrCat("ek_roots: ", file)));
    for (crypto::Certificate& root : *bundle) roots.push_back(std::move(root));
  }
  if (roots.empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "ek_roots: no certificate (.pem, .crt) in ", path,
        ": put the TPM vendors' roots there, or set accept_unknown_ek_issuer "
        "in a laboratory"));
  }
  auto anchors = crypto::TrustAnchors::Create(roots);
  CUPEL_RETURN_IF_ERROR(WithContext(anchors.status(), "ek_roots"));
  return anchors;
}

SessionOptions ToSessionOptions(const config::VerifierConfig& config) {
  SessionOptions options;
  options.owner = "verifier";
  options.interval = config.interval;
  options.grace = config.grace;
  if (config.fresh.has_value()) options.fresh = *config.fresh;
  options.unproven_timeout = config.unproven_timeout;
  options.hello_timeout =
      std::min(options.hello_timeout, config.unproven_timeout);
  options.max_list_size = config.max_list_size;
  return options;
}

SessionLimits ToSessionLimits(const config::VerifierConfig& config) {
  SessionLimits limits;
  limits.max_unproven = config.max_unproven_streams;
  limits.max_unproven_per_address = config.max_unproven_per_address;
  limits.max_unproven_per_agent = config.max_unproven_per_agent;
  return limits;
}

}  // namespace

// In the order in which they depend on one another: what is below refers to
// what is above.
struct Server::Parts {
  Parts(const config::VerifierConfig& the_config, Store& the_store,
        Logger& the_log)
      : config(the_config),
        store(the_store),
        log(the_log),
        gate(config.client_deny_list),
        policies(store),
        table(ToSessionLimits(config)),
        sweep(store, config.grace) {}

  void Sweep();
  void ScheduleSweep() {
    scheduler.After(kSweepInterval,
                    [this] { fleet_pool->Post("sweep", [this] { Sweep(); }); });
  }

  const config::VerifierConfig config;
  Store& store;
  Logger& log;
  ListenAddresses addresses;
  Metrics metrics;
  OperatorGate gate;
  PolicyCache policies;
  SessionTable table;
  std::unique_ptr<CookieKeys> cookie_keys;
  std::unique_ptr<Enroller> enroller;
  Scheduler scheduler;
  DeadlineSweep sweep;
  absl::Time last_expiry = absl::InfinitePast();

  std::unique_ptr<WorkerPool> pool;        // of agents
  std::unique_ptr<WorkerPool> fleet_pool;  // of operators, and the sweep
  std::unique_ptr<FleetCommands> commands;
  std::unique_ptr<AttestationService> attestation;
  std::unique_ptr<EnrollmentService> enrollment;
  std::unique_ptr<FleetService> fleet;
  std::unique_ptr<PoliciesService> policies_service;
  std::unique_ptr<grpc::Server> attest_server;
  std::unique_ptr<grpc::Server> fleet_server;

  std::mutex stop_mutex;  // guards stopped, and is held while it stops
  bool stopped = false;

  // The store can't be told to forget a listener, and may outlive all of this.
  struct Listener {
    std::mutex mutex;
    Parts* parts = nullptr;
  };
  std::shared_ptr<Listener> listener = std::make_shared<Listener>();
};

void Server::Parts::Sweep() {
  const auto swept = sweep.Run();
  if (!swept.ok()) {
    metrics.CountStoreError();
    log.Error("deadline sweep failed", {{"error", swept.status()}});
  } else if (*swept > 0) {
    log.Warning("agents have brought no evidence in time", {{"count", *swept}});
  }
  const absl::Time now = store.Now();
  if (now - last_expiry >= kExpireInterval) {
    last_expiry = now;
    const absl::Status expired = store.Expire(now - config.unclaimed_lifetime);
    if (!expired.ok()) {
      metrics.CountStoreError();
      log.Error("old enrolments could not be expired", {{"error", expired}});
    }
  }
  ScheduleSweep();
}

Server::Server(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Server::~Server() { Stop(); }

const ListenAddresses& Server::addresses() const { return parts_->addresses; }

absl::StatusOr<std::unique_ptr<Server>> Server::Start(
    const config::VerifierConfig& config, Store& store, Logger& log) {
  auto credentials = LoadTlsCredentials(config.tls_certificate, config.tls_key);
  CUPEL_RETURN_IF_ERROR(
      WithContext(credentials.status(), "tls_certificate, tls_key"));
  CUPEL_ASSIGN_OR_RETURN(const std::string client_ca,
                         ReadText(config.client_ca, "client_ca"));
  // gRPC would take a file without certificates for no demand at all.
  const auto client_roots = crypto::Certificate::BundleFromPem(client_ca);
  CUPEL_RETURN_IF_ERROR(WithContext(client_roots.status(), "client_ca"));
  CUPEL_ASSIGN_OR_RETURN(const std::vector<uint8_t> certificate,
                         HexDecode(credentials->certificate_sha256));
  CUPEL_ASSIGN_OR_RETURN(
      const crypto::Digest certificate_digest,
      crypto::Digest::Create(crypto::HashAlgorithm::kSha256, certificate));

  auto server = std::unique_ptr<Server>(
      new Server(std::make_unique<Parts>(config, store, log)));
  Parts& parts = *server->parts_;
  CUPEL_ASSIGN_OR_RETURN(parts.cookie_keys, CookieKeys::Generate());
  EnrollerOptions enroller_options;
  enroller_options.max_unclaimed_per_address = config.max_unclaimed_per_address;
  if (config.accept_unknown_ek_issuer) {
    enroller_options.ek_issuers = EkIssuers::kAcceptUnknownIssuer;
    log.Warning(
        "accept_unknown_ek_issuer: whoever can reach this verifier can make up "
        "a TPM in software");
  } else {
    CUPEL_ASSIGN_OR_RETURN(enroller_options.ek_roots,
                           LoadRoots(config.ek_roots));
  }
  CUPEL_ASSIGN_OR_RETURN(parts.enroller,
                         Enroller::Create(&store, parts.cookie_keys.get(),
                                          std::move(enroller_options)));

  parts.pool = std::make_unique<WorkerPool>(config.worker_threads);
  parts.fleet_pool = std::make_unique<WorkerPool>(kFleetThreads);
  parts.attestation = std::make_unique<AttestationService>(
      AttestationService::Surroundings{store, parts.policies, parts.table,
                                       *parts.pool, parts.scheduler,
                                       parts.metrics, log},
      ToSessionOptions(config), config.max_streams, certificate);
  parts.enrollment = std::make_unique<EnrollmentService>(
      *parts.enroller, *parts.pool, parts.metrics, log, certificate_digest);
  parts.commands = std::make_unique<FleetCommands>(
      store, config.interval, config.grace,
      [&attestation = *parts.attestation](const AgentId& agent) {
        return attestation.AttestNow(agent);
      });
  parts.fleet = std::make_unique<FleetService>(
      FleetService::Surroundings{store, *parts.commands, parts.gate,
                                 *parts.fleet_pool, parts.scheduler, log});
  parts.policies_service = std::make_unique<PoliciesService>(
      store, parts.gate, *parts.fleet_pool, log, config.max_policy_size);

  parts.listener->parts = &parts;
  store.OnChange([listener = parts.listener](std::optional<AgentId> agent) {
    const std::lock_guard<std::mutex> lock(listener->mutex);
    if (listener->parts == nullptr) return;
    listener->parts->attestation->OnStoreChange(agent);
    listener->parts->fleet->OnStoreChange();
  });
  parts.metrics.SetGauges([&parts] {
    return Metrics::Gauges{.agents = {},
                           .streams = parts.attestation->stream_count(),
                           .queue_depth = parts.pool->queued()};
  });

  grpc::EnableDefaultHealthCheckService(true);
  const grpc::SslServerCredentialsOptions::PemKeyCertPair pair = {
      credentials->key_pem, credentials->certificate_pem};
  {
    grpc::SslServerCredentialsOptions tls(
        GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE);
    tls.pem_key_cert_pairs.push_back(pair);
    grpc::ServerBuilder builder;
    SetLimits(builder, kMaxAttestMessage, kMaxAttestStreams);
    builder.SetOption(std::make_unique<WithoutReflection>());
    int port = 0;
    builder.AddListeningPort(
        HostPort(config.attest_listen, config.attest_listen.port),
        grpc::SslServerCredentials(tls), &port);
    builder.RegisterService(parts.attestation.get());
    builder.RegisterService(parts.enrollment.get());
    parts.attest_server = builder.BuildAndStart();
    if (parts.attest_server == nullptr || port == 0) {
      return absl::UnavailableError(absl::StrCat(
          "attest_listen: ",
          HostPort(config.attest_listen, config.attest_listen.port),
          " can't be listened on: is another verifier running?"));
    }
    parts.addresses.attest = HostPort(config.attest_listen, port);
  }
  {
    grpc::SslServerCredentialsOptions tls(
        GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
    tls.pem_root_certs = client_ca;
    tls.pem_key_cert_pairs.push_back(pair);
    grpc::ServerBuilder builder;
    SetLimits(builder, kMaxFleetMessage, kMaxFleetStreams);
    int port = 0;
    builder.AddListeningPort(
        HostPort(config.fleet_listen, config.fleet_listen.port),
        grpc::SslServerCredentials(tls), &port);
    builder.RegisterService(parts.fleet.get());
    builder.RegisterService(parts.policies_service.get());
    parts.fleet_server = builder.BuildAndStart();
    if (parts.fleet_server == nullptr || port == 0) {
      return absl::UnavailableError(
          absl::StrCat("fleet_listen: ",
                       HostPort(config.fleet_listen, config.fleet_listen.port),
                       " can't be listened on: is another verifier running?"));
    }
    parts.addresses.fleet = HostPort(config.fleet_listen, port);
  }
  if (config.metrics_listen.has_value()) {
    CUPEL_ASSIGN_OR_RETURN(const int port,
                           parts.metrics.Serve(config.metrics_listen->host,
                                               config.metrics_listen->port));
    parts.addresses.metrics = HostPort(*config.metrics_listen, port);
  }
  parts.ScheduleSweep();
  return server;
}

void Server::Stop() {
  Parts& parts = *parts_;
  const std::lock_guard<std::mutex> stopping(parts.stop_mutex);
  if (std::exchange(parts.stopped, true)) return;
  {
    const std::lock_guard<std::mutex> lock(parts.listener->mutex);
    parts.listener->parts = nullptr;
  }
  parts.metrics.Stop();
  parts.metrics.SetGauges(nullptr);
  if (parts.attestation != nullptr) {
    parts.attestation->RefuseAll("the verifier is shutting down",
                                 kRetryAfterStop);
  }
  // Calls are ended and waited for while the pools still answer them.
  const auto deadline = std::chrono::system_clock::now() + kShutdownTimeout;
  for (auto* server : {&parts.attest_server, &parts.fleet_server}) {
    if (*server != nullptr) (*server)->Shutdown(deadline);
  }
  // What is queued now concerns streams that are gone. The timers end first:
  // they post.
  parts.scheduler.Stop();
  parts.attest_server.reset();
  parts.fleet_server.reset();
  parts.pool->Stop();
  parts.fleet_pool->Stop();
}

}  // namespace cupel::verifier
