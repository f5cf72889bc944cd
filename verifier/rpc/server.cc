#include "verifier/rpc/server.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/crypto/certificate.h"
#include "common/crypto/certificate_path.h"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "common/util/status_context.h"
#include "common/util/status_macros.h"
#include "common/util/uuid.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/impl/server_builder_option.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "verifier/enrollment/cookie.h"
#include "verifier/enrollment/enroller.h"
#include "verifier/pki/pem_files.h"
#include "verifier/pki/served_certificate.h"
#include "verifier/rpc/agent_counts.h"
#include "verifier/rpc/attestation_service.h"
#include "verifier/rpc/enrollment_service.h"
#include "verifier/rpc/fleet_commands.h"
#include "verifier/rpc/fleet_service.h"
#include "verifier/rpc/housekeeping.h"
#include "verifier/rpc/listener_credentials.h"
#include "verifier/rpc/metrics.h"
#include "verifier/rpc/operator_gate.h"
#include "verifier/rpc/policies_service.h"
#include "verifier/rpc/scheduler.h"
#include "verifier/rpc/store_errors.h"
#include "verifier/session/byte_budget.h"
#include "verifier/session/policy_cache.h"
#include "verifier/session/policy_signers.h"
#include "verifier/session/session_table.h"
#include "verifier/session/worker_pool.h"
#include "verifier/store/observed_store.h"

namespace cupel::verifier {
namespace {

constexpr size_t kMaxPemSize = size_t{1} << 20;
// A chunk of the list with what is around it, or an enrolment's certificates.
// gRPC has one limit for proven streams and others: so it is a small one.
constexpr int kMaxAttestMessage = (64 << 10) + (64 << 10);
constexpr int kMaxFleetMessage = 4 << 20;
constexpr int kWindow = 256 << 10;
// Each connection keeps a buffer of the largest TLS record that it may write.
constexpr int kMaxRecordSize = 4 << 10;
constexpr int kMaxMetadataSize = 16 << 10;
// An agent has one stream and an enrolment or two.
constexpr int kMaxAttestStreams = 16;
constexpr int kMaxFleetStreams = 100;
constexpr size_t kFleetThreads = 2;
// A policy takes memory while it is loaded, several times its size.
constexpr size_t kPolicyThreads = 2;
// An agent's connection takes no new call after this, while those that it has
// go on: so a call is never on a connection that is much older, and which
// certificate it can have been shown is known. gRPC spreads it by a tenth, and
// before it comes the handshake.
constexpr absl::Duration kConnectionAge = absl::Minutes(5);
constexpr absl::Duration kLongestHandshake = absl::Minutes(2);
constexpr absl::Duration kLongestConnection = absl::Minutes(8);
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

// Whoever has a connection and shows nothing on it is cut off as a stream is
// that does so [A15].
void SetTimeouts(grpc::ServerBuilder& builder, absl::Duration timeout) {
  const auto ms = [](absl::Duration duration) {
    return static_cast<int>(absl::ToInt64Milliseconds(duration));
  };
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS,
                             ms(std::min(timeout, kLongestHandshake)));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, ms(timeout));
}

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
  auto files = PemFiles(path);
  CUPEL_RETURN_IF_ERROR(WithContext(files.status(), "ek_roots"));
  std::vector<crypto::Certificate> roots;
  for (const std::string& file : *files) {
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

absl::StatusOr<PolicySigners> LoadSigners(
    const config::VerifierConfig& config) {
  PolicySigners signers;
  signers.required = config.require_signed_policies;
  if (!config.policy_keys.empty()) {
    auto keys = LoadPublicKeys(config.policy_keys);
    CUPEL_RETURN_IF_ERROR(WithContext(keys.status(), "policy_keys"));
    signers.keys = *std::move(keys);
  }
  return signers;
}

// Listens. `bound` becomes where.
absl::StatusOr<std::unique_ptr<grpc::Server>> Build(
    grpc::ServerBuilder& builder, absl::string_view option,
    const config::Endpoint& endpoint,
    const std::shared_ptr<grpc::ServerCredentials>& credentials,
    std::string& bound) {
  int port = 0;
  builder.AddListeningPort(HostPort(endpoint, endpoint.port), credentials,
                           &port);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr || port == 0) {
    return absl::UnavailableError(
        absl::StrCat(option, ": ", HostPort(endpoint, endpoint.port),
                     " can't be listened on: is another verifier running?"));
  }
  bound = HostPort(endpoint, port);
  return server;
}

SessionOptions ToSessionOptions(const config::VerifierConfig& config,
                                std::string owner) {
  SessionOptions options;
  options.owner = std::move(owner);
  options.interval = config.interval;
  options.grace = config.grace;
  if (config.fresh.has_value()) options.fresh = *config.fresh;
  options.unproven_timeout = config.unproven_timeout;
  options.hello_timeout =
      std::min(options.hello_timeout, config.unproven_timeout);
  options.list_timeout = config.list_timeout;
  options.chunk_timeout = std::min(options.chunk_timeout, config.list_timeout);
  options.max_list_size = config.max_list_size;
  options.list_memory = std::make_shared<ByteBudget>(config.max_list_memory);
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
        Logger& the_log, const PolicySigners& the_signers)
      : config(the_config),
        log(the_log),
        store_errors(metrics, log),
        store(the_store,
              [this](absl::string_view call, const absl::Status& status) {
                store_errors.Take(call, status);
              }),
        gate(config.client_deny_list, log),
        policies(store, the_signers),
        signers(the_signers),
        table(ToSessionLimits(config)) {}

  absl::Status LoadCertificate();
  absl::Status MakeEnroller();
  // `owner`: who claims agents.
  void MakeServices(std::string owner);
  absl::Status Listen();

  const config::VerifierConfig config;
  Logger& log;
  ListenAddresses addresses;
  Metrics metrics;
  StoreErrors store_errors;
  ObservedStore store;
  OperatorGate gate;
  PolicyCache policies;
  const PolicySigners signers;
  SessionTable table;
  RefusalLog refusals{log};
  std::unique_ptr<ServedCertificate> certificate;
  std::unique_ptr<CookieKeys> cookie_keys;
  std::unique_ptr<Enroller> enroller;
  Scheduler scheduler;
  AgentCounts agent_counts{store};

  std::unique_ptr<WorkerPool> pool;  // of agents' messages
  std::unique_ptr<WorkerPool> appraisal_pool;
  std::unique_ptr<WorkerPool> policy_pool;
  std::unique_ptr<WorkerPool> fleet_pool;  // of operators, and housekeeping
  std::unique_ptr<FleetCommands> commands;
  std::unique_ptr<AttestationService> attestation;
  std::unique_ptr<EnrollmentService> enrollment;
  std::unique_ptr<FleetService> fleet;
  std::unique_ptr<PoliciesService> policies_service;
  std::unique_ptr<Housekeeping> housekeeping;
  std::shared_ptr<grpc::ServerCredentials> attest_credentials;
  std::shared_ptr<grpc::ServerCredentials> fleet_credentials;
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

Server::Server(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Server::~Server() { Stop(); }

const ListenAddresses& Server::addresses() const { return parts_->addresses; }

absl::Status Server::Parts::LoadCertificate() {
  auto loaded =
      ServedCertificate::Load({.certificate_path = config.tls_certificate,
                               .key_path = config.tls_key,
                               .longest_connection = kLongestConnection},
                              absl::Now());
  if (absl::IsNotFound(loaded.status())) {
    return absl::NotFoundError(
        absl::StrCat("tls_certificate, tls_key: ", loaded.status().message(),
                     "; `cupel-verifier init` makes them"));
  }
  CUPEL_RETURN_IF_ERROR(
      WithContext(loaded.status(), "tls_certificate, tls_key"));
  certificate = *std::move(loaded);
  CUPEL_ASSIGN_OR_RETURN(const std::string client_ca,
                         ReadText(config.client_ca, "client_ca"));
  // gRPC would take a file without certificates for no demand at all.
  CUPEL_RETURN_IF_ERROR(WithContext(
      crypto::Certificate::BundleFromPem(client_ca).status(), "client_ca"));
  attest_credentials = ListenerCredentials(*certificate, "");
  fleet_credentials = ListenerCredentials(*certificate, client_ca);
  return absl::OkStatus();
}

absl::Status Server::Parts::MakeEnroller() {
  CUPEL_ASSIGN_OR_RETURN(cookie_keys, CookieKeys::Generate());
  EnrollerOptions options;
  options.max_unclaimed_per_address = config.max_unclaimed_per_address;
  options.cookie_lifetime = config.cookie_lifetime;
  if (config.accept_unknown_ek_issuer) {
    options.ek_issuers = EkIssuers::kAcceptUnknownIssuer;
    log.Warning(
        "accept_unknown_ek_issuer: whoever can reach this verifier can make up "
        "a TPM in software");
  } else {
    CUPEL_ASSIGN_OR_RETURN(options.ek_roots, LoadRoots(config.ek_roots));
  }
  CUPEL_ASSIGN_OR_RETURN(enroller, Enroller::Create(&store, cookie_keys.get(),
                                                    std::move(options)));
  return absl::OkStatus();
}

void Server::Parts::MakeServices(std::string owner) {
  pool = std::make_unique<WorkerPool>(config.worker_threads);
  appraisal_pool = std::make_unique<WorkerPool>(config.worker_threads);
  policy_pool = std::make_unique<WorkerPool>(kPolicyThreads);
  fleet_pool = std::make_unique<WorkerPool>(kFleetThreads);
  attestation = std::make_unique<AttestationService>(
      AttestationService::Surroundings{store, policies, table, *pool,
                                       *appraisal_pool, *policy_pool, scheduler,
                                       metrics, log, refusals, *certificate},
      ToSessionOptions(config, std::move(owner)), config.max_streams);
  enrollment = std::make_unique<EnrollmentService>(*enroller, *pool, metrics,
                                                   log, refusals, *certificate);
  commands = std::make_unique<FleetCommands>(
      store, config.interval, config.grace,
      [this](const AgentId& agent) { return attestation->AttestNow(agent); },
      config.max_attest_now_per_tenant);
  fleet = std::make_unique<FleetService>(
      FleetService::Surroundings{store, *commands, gate, *fleet_pool, scheduler,
                                 log, config.max_watches_per_tenant});
  policies_service = std::make_unique<PoliciesService>(
      store, gate, *fleet_pool, log, config.max_policy_size, signers);
  housekeeping = std::make_unique<Housekeeping>(
      Housekeeping::Surroundings{store, *cookie_keys, *certificate, *fleet_pool,
                                 scheduler, log,
                                 [this](const crypto::Digest& sha256) {
                                   attestation->OnCertificate(sha256);
                                 }},
      Housekeeping::Options{.grace = config.grace,
                            .unclaimed_lifetime = config.unclaimed_lifetime,
                            .event_lifetime = config.event_lifetime});

  listener->parts = this;
  store.OnChange([shared = listener](std::optional<AgentId> agent) {
    const std::lock_guard<std::mutex> lock(shared->mutex);
    if (shared->parts == nullptr) return;
    shared->parts->attestation->OnStoreChange(agent);
    shared->parts->fleet->OnStoreChange();
  });
  metrics.SetGauges([this] {
    return Metrics::Gauges{
        .agents = agent_counts.Get(),
        .streams = attestation->stream_count(),
        .agent_queue =
            pool->queued() + appraisal_pool->queued() + policy_pool->queued(),
        .operator_queue = fleet_pool->queued(),
        .certificate_end = certificate->current()->not_after,
        .certificate_stale = certificate->is_stale()};
  });
}

absl::Status Server::Parts::Listen() {
  grpc::EnableDefaultHealthCheckService(true);
  {
    grpc::ServerBuilder builder;
    SetLimits(builder, kMaxAttestMessage, kMaxAttestStreams);
    SetTimeouts(builder, config.unproven_timeout);
    builder.AddChannelArgument(GRPC_ARG_TSI_MAX_FRAME_SIZE, kMaxRecordSize);
    builder.AddChannelArgument(
        GRPC_ARG_MAX_CONNECTION_AGE_MS,
        static_cast<int>(absl::ToInt64Milliseconds(kConnectionAge)));
    builder.SetOption(std::make_unique<WithoutReflection>());
    builder.RegisterService(attestation.get());
    builder.RegisterService(enrollment.get());
    CUPEL_ASSIGN_OR_RETURN(attest_server,
                           Build(builder, "attest_listen", config.attest_listen,
                                 attest_credentials, addresses.attest));
  }
  {
    grpc::ServerBuilder builder;
    SetLimits(builder, kMaxFleetMessage, kMaxFleetStreams);
    SetTimeouts(builder, config.unproven_timeout);
    builder.RegisterService(fleet.get());
    builder.RegisterService(policies_service.get());
    CUPEL_ASSIGN_OR_RETURN(fleet_server,
                           Build(builder, "fleet_listen", config.fleet_listen,
                                 fleet_credentials, addresses.fleet));
  }
  if (!config.metrics_listen.has_value()) return absl::OkStatus();
  const config::Endpoint& where = *config.metrics_listen;
  CUPEL_ASSIGN_OR_RETURN(const int port, metrics.Serve(where.host, where.port));
  addresses.metrics = HostPort(where, port);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(
    const config::VerifierConfig& config, Store& store, Logger& log) {
  CUPEL_ASSIGN_OR_RETURN(const PolicySigners signers, LoadSigners(config));
  auto server = std::unique_ptr<Server>(
      new Server(std::make_unique<Parts>(config, store, log, signers)));
  Parts& parts = *server->parts_;
  CUPEL_RETURN_IF_ERROR(parts.LoadCertificate());
  CUPEL_RETURN_IF_ERROR(parts.MakeEnroller());
  // Told from every other process over the same store, its own last run too:
  // a UUID, though no agent's.
  CUPEL_ASSIGN_OR_RETURN(const AgentId process_id, NewAgentId());
  parts.MakeServices(absl::StrCat("verifier ", process_id.ToString()));
  CUPEL_RETURN_IF_ERROR(parts.Listen());
  parts.housekeeping->Begin();
  const std::shared_ptr<const TlsCredentials> served =
      parts.certificate->current();
  log.Info(
      "certificate",
      {{"sha256", served->certificate_sha256.Hex()},
       {"until", absl::FormatTime(served->not_after, absl::UTCTimeZone())}});
  return server;
}

void Server::ReloadCertificate() {
  const std::lock_guard<std::mutex> stopping(parts_->stop_mutex);
  if (!parts_->stopped) parts_->housekeeping->ReloadCertificate();
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
    parts.fleet->EndWatches();
  }
  // Calls are ended and waited for while the pools still answer them.
  const auto deadline = std::chrono::system_clock::now() + kShutdownTimeout;
  for (auto* server : {&parts.attest_server, &parts.fleet_server}) {
    if (*server != nullptr) (*server)->Shutdown(deadline);
  }
  // What is queued now concerns streams that are gone: their agents come again,
  // and are judged from where the last verdict left them. The timers end first:
  // they post.
  parts.scheduler.Stop();
  parts.attest_server.reset();
  parts.fleet_server.reset();
  for (auto* pool : {&parts.policy_pool, &parts.appraisal_pool, &parts.pool,
                     &parts.fleet_pool}) {
    if (*pool != nullptr) (*pool)->Stop();
  }
}

}  // namespace cupel::verifier
