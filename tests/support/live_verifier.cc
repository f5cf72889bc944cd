#include "tests/support/live_verifier.h"

#include <filesystem>
#include <span>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "agent/rpc/verifier_channel.h"
#include "catch2/catch.hpp"
#include "common/crypto/digest.h"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "common/util/hex.h"
#include "tests/support/status_matchers.h"
#include "tests/support/stream_agent.h"
#include "verifier/pki/pki.h"
#include "verifier/store/codec.h"

namespace cupel::testing {
namespace {

using ::cupel::verifier::AgentRecord;
using ::cupel::verifier::OperatorRole;

// Long values by their hash.
std::string Short(std::span<const uint8_t> bytes) {
  return crypto::Hash(crypto::HashAlgorithm::kSha256, bytes).Hex();
}

std::string TimeText(const std::optional<absl::Time>& time) {
  return time.has_value()
             ? absl::FormatTime(absl::RFC3339_full, *time, absl::UTCTimeZone())
             : "never";
}

}  // namespace

grpc::Status Operator::PutPolicy(const std::string& name,
                                 absl::string_view file, bool create) {
  CallContext context;
  v1::PutPolicyReply reply;
  const auto writer = policies->Put(&context, &reply);
  v1::PutPolicyRequest request;
  request.set_name(name);
  request.set_create(create);
  request.set_size(file.size());
  writer->Write(request);
  request.Clear();
  request.set_data(std::string(file));
  writer->Write(request);
  writer->WritesDone();
  return writer->Finish();
}

grpc::Status Operator::GetPolicy(const std::string& name, std::string& file) {
  CallContext context;
  v1::GetPolicyRequest request;
  request.set_name(name);
  const auto reader = policies->Get(&context, request);
  v1::PolicyChunk chunk;
  file.clear();
  while (reader->Read(&chunk)) file += chunk.data();
  return reader->Finish();
}

grpc::Status Operator::GetAgent(const AgentId& id, v1::Agent& agent) {
  v1::GetAgentRequest request;
  request.set_agent_id(id.ToString());
  return Call(&v1::Fleet::Stub::GetAgent, request, &agent);
}

Deployment::Deployment(const std::function<void(const Deployment&)>& prepare) {
  REQUIRE_THAT(verifier::InitPki({.dir = folder / "pki",
                                  .dns_names = {"localhost"},
                                  .addresses = {"127.0.0.1"}},
                                 absl::Now()),
               IsOk());
  IssueOperator("viewer", "default", OperatorRole::kViewer);
  IssueOperator("other", "other", OperatorRole::kAdmin);
  REQUIRE(std::filesystem::create_directory(folder / "ek-roots"));
  REQUIRE_THAT(
      WriteFile(folder / "ek-roots/root.pem", ToPem(vendor.root.certificate)),
      IsOk());
  REQUIRE_THAT(WriteFile(folder / "denied", ""), IsOk());
  if (prepare) prepare(*this);
}

absl::Time Deployment::Now() const {
  return absl::Now() + absl::Nanoseconds(offset_ns_.load());
}

config::VerifierConfig Deployment::Config() const {
  config::VerifierConfig config;
  config.attest_listen = {"127.0.0.1", 0};
  config.fleet_listen = {"127.0.0.1", 0};
  config.metrics_listen.reset();
  config.store_path = folder / "store.db";
  config.tls_certificate = folder / "pki/server/certificate.pem";
  config.tls_key = folder / "pki/server/key.pem";
  config.client_ca = folder / "pki/client-ca/certificate.pem";
  config.client_deny_list = folder / "denied";
  config.ek_roots = folder / "ek-roots";
  return config;
}

void Deployment::IssueOperator(const std::string& name,
                               absl::string_view tenant, OperatorRole role,
                               absl::Duration lifetime) const {
  REQUIRE_THAT(verifier::IssueOperator(folder / "pki", name, tenant, role,
                                       absl::Now(), {.leaf = lifetime}),
               IsOk());
}

void Deployment::Revoke(const std::string& from) const {
  const auto identity =
      verifier::OperatorIdentityFromPem(Read(from + "/certificate.pem"));
  REQUIRE_THAT(identity.status(), IsOk());
  REQUIRE_THAT(WriteFile(folder / "denied", identity->spki_sha256 + "\n"),
               IsOk());
}

std::string Deployment::Read(const std::string& name) const {
  const auto bytes = ReadFile(folder / name, size_t{1} << 20);
  REQUIRE_THAT(bytes.status(), IsOk());
  return std::string(AsText(*bytes));
}

std::shared_ptr<grpc::Channel> Deployment::FleetChannel(
    const std::string& address, const std::string& from) const {
  return TlsChannel(address, folder / "pki/ca/certificate.pem",
                    from.empty() ? "" : folder / from);
}

std::shared_ptr<grpc::Channel> Deployment::AttestChannel(
    const std::string& address) const {
  const auto channel = agent::MakeVerifierChannel(
      address, {.root_certificates = Read("pki/ca/certificate.pem")});
  REQUIRE_THAT(channel.status(), IsOk());
  return *channel;
}

LiveVerifier::LiveVerifier(const Deployment& deployment,
                           const Configure& configure,
                           WatchedStore::Before before_store_call)
    : deployment_(deployment),
      config_([&] {
        config::VerifierConfig config = deployment.Config();
        if (configure) configure(config);
        return config;
      }()),
      before_(std::move(before_store_call)),
      logger_(
          {.least = LogLevel::kDebug, .sink = [this](absl::string_view line) {
             const std::lock_guard<std::mutex> lock(log_mutex_);
             absl::StrAppend(&log_text_, line);
           }}) {
  Start();
}

LiveVerifier::~LiveVerifier() { Stop(); }

void LiveVerifier::Start() {
  auto opened = verifier::SqlStore::Open(
      config_.store_path,
      {.clock = [this] { return deployment_.Now(); },
       .quotas = {
           .max_policies = config_.max_policies_per_tenant,
           .max_policy_bytes = config_.max_policy_bytes_per_tenant,
           .max_agents = config_.max_agents_per_tenant,
           .max_enrollment_tokens = config_.max_enrollment_tokens_per_tenant,
           .max_allowed_eks = config_.max_allowed_eks_per_tenant}});
  REQUIRE_THAT(opened.status(), IsOk());
  store_ = *std::move(opened);
  watched_ = std::make_unique<WatchedStore>(
      *store_,
      before_ ? before_ : [](absl::string_view) { return absl::OkStatus(); });
  auto started = verifier::Server::Start(config_, *watched_, logger_);
  REQUIRE_THAT(started.status(), IsOk());
  server_ = *std::move(started);
}

void LiveVerifier::Stop() {
  server_.reset();
  watched_.reset();
}

void LiveVerifier::Restart() {
  Stop();
  Start();
}

std::shared_ptr<grpc::Channel> LiveVerifier::Attest() const {
  return deployment_.AttestChannel(addresses().attest);
}

Operator LiveVerifier::As(const std::string& from) const {
  return Operator(deployment_.FleetChannel(addresses().fleet, from));
}

AgentRecord LiveVerifier::Record(const AgentId& id) {
  auto record = store_->FindAgent(id);
  REQUIRE_THAT(record.status(), IsOk());
  return *std::move(record);
}

std::string LiveVerifier::log() const {
  const std::lock_guard<std::mutex> lock(log_mutex_);
  return log_text_;
}

std::string Describe(const AgentRecord& record) {
  std::string text = absl::StrCat(
      "id ", record.id.ToString(), "\ntenant ", record.tenant, "\nstate ",
      verifier::AgentStateName(record.state), "\nreason ", record.state_reason,
      "\nwanted EK ", record.wanted_ek_sha256, "\nvalid until ",
      TimeText(record.valid_until), "\nlast attested ",
      TimeText(record.last_attested), "\nlast seen ",
      TimeText(record.last_seen), "\nattestations ", record.attestation_count,
      "\nowner epoch ", record.owner_epoch, "\npolicy epoch ",
      record.policy_epoch, "\nboot ", record.boot_composite, "\npinned boot ",
      record.pinned_boot_composite);
  if (record.enrollment.has_value()) {
    absl::StrAppend(&text, "\nenrolment ",
                    Short(verifier::EncodeEnrollment(*record.enrollment)));
  }
  absl::StrAppend(
      &text, "\nsettings ", Short(verifier::EncodeSettings(record.settings)),
      "\nprogress ", Short(verifier::EncodeProgress(record.progress)), " at ",
      record.progress.entry_count, "\ncounts ",
      Short(verifier::EncodeCounts(record.counts)), "\naccepted ",
      Short(verifier::EncodeAccepted(record.accepted)), "\nfindings ",
      Short(verifier::EncodeFindings(record.findings)), "\njudged by ",
      Short(verifier::EncodeJudgedPolicies(record.judged_policies)));
  for (const appraisal::Finding& finding : record.findings) {
    absl::StrAppend(&text, "\n  ", finding.id);
  }
  return text;
}

}  // namespace cupel::testing
