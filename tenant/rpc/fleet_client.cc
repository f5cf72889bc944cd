#include "tenant/rpc/fleet_client.h"

#include <grpc/support/log.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/config/value.h"
#include "common/crypto/digest.h"
#include "common/util/status_macros.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/support/channel_arguments.h"
#include "tenant/rpc/conversions.h"
#include "tenant/rpc/credentials.h"

namespace cupel::tenant {
namespace {

constexpr uint32_t kPageSize = 500;
constexpr int kEksPerCall = 10'000;
constexpr size_t kChunkSize = size_t{256} << 10;
// A page of agents that all have many findings.
constexpr int kMaxReplySize = 64 << 20;
constexpr size_t kMaxPolicySize = size_t{1} << 30;
// Calls under way at a time, where there are many to be made: enough to keep
// the verifier busy, and few enough for each to be answered in time.
constexpr size_t kMaxPending = 64;
// A policy is sent, parsed and compiled before it is answered: that takes
// longer, by its size, than other calls do.
constexpr double kBytesPerSecond = 1 << 20;
// Longer than the five minutes that a gRPC server asks for unless configured:
// more often would end in "too many pings".
constexpr int kKeepaliveMs = 310'000;
constexpr int kKeepaliveTimeoutMs = 20'000;

void SetDeadline(grpc::ClientContext& context, absl::Duration timeout) {
  context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
}

// What gRPC writes to standard error tells people nothing that the status
// doesn't, and may hold what a server sent.
void DropLog(gpr_log_func_args* /*args*/) {}

v1::AddAgentRequest ToProto(const NewAgent& agent) {
  v1::AddAgentRequest request;
  request.set_agent_id(agent.id.ToString());
  *request.mutable_settings() = ToProto(agent.settings);
  request.set_ek_sha256(agent.ek_sha256);
  request.set_trust_on_first_use(agent.trust_on_first_use);
  request.set_vouched(agent.vouched);
  return request;
}

// One of many calls that are under way.
struct PendingAdd {
  size_t index = 0;
  grpc::ClientContext context;
  v1::AddAgentRequest request;
  v1::AddAgentReply reply;
  grpc::Status status;
};

// Where gRPC's threads put the calls that have ended.
class EndedAdds {
 public:
  void Put(PendingAdd* call) {
    const std::lock_guard lock(mutex_);
    calls_.push_back(call);
    ready_.notify_one();
  }
  std::unique_ptr<PendingAdd> Take() {
    std::unique_lock lock(mutex_);
    ready_.wait(lock, [this] { return !calls_.empty(); });
    std::unique_ptr<PendingAdd> call(calls_.front());
    calls_.pop_front();
    return call;
  }

 private:
  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<PendingAdd*> calls_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Fleet>> FleetClient::Create(
    const Connection& connection) {
  CUPEL_ASSIGN_OR_RETURN(
      CredentialTexts texts,
      LoadCredentials({connection.ca, connection.certificate, connection.key}));
  gpr_set_log_function(DropLog);
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = std::move(texts.ca);
  options.pem_cert_chain = std::move(texts.certificate);
  options.pem_private_key = std::move(texts.key);
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  arguments.SetMaxReceiveMessageSize(kMaxReplySize);
  const std::string address =
      config::Endpoint{connection.host, connection.port}.ToString();
  // "dns:" so that no name is taken for another of gRPC's schemes.
  return std::unique_ptr<Fleet>(new FleetClient(
      address, connection.timeout,
      grpc::CreateCustomChannel(absl::StrCat("dns:///", address),
                                grpc::SslCredentials(options), arguments)));
}

template <typename Stub, typename Method, typename Request, typename Reply>
absl::Status FleetClient::Call(Stub& stub, Method method,
                               const Request& request, Reply& reply) {
  grpc::ClientContext context;
  SetDeadline(context, timeout_);
  return FromGrpc((stub.*method)(&context, request, &reply), address_,
                  timeout_);
}

absl::StatusOr<ReportedAgent> FleetClient::Add(const NewAgent& agent) {
  v1::AddAgentReply reply;
  CUPEL_RETURN_IF_ERROR(
      Call(*fleet_, &v1::Fleet::Stub::AddAgent, ToProto(agent), reply));
  return FromProto(reply.agent());
}

void FleetClient::AddAll(
    std::span<const NewAgent> agents,
    absl::FunctionRef<bool(size_t index,
                           const absl::StatusOr<ReportedAgent>& added)>
        done) {
  EndedAdds ended;
  size_t next = 0;
  size_t pending_count = 0;
  bool going_on = true;
  while (true) {
    while (going_on && next < agents.size() && pending_count < kMaxPending) {
      auto call = std::make_unique<PendingAdd>();
      call->index = next;
      call->request = ToProto(agents[next]);
      SetDeadline(call->context, timeout_);
      PendingAdd* const raw = call.release();  // Take() owns it again
      fleet_->async()->AddAgent(&raw->context, &raw->request, &raw->reply,
                                [raw, &ended](const grpc::Status& status) {
                                  raw->status = status;
                                  ended.Put(raw);
                                });
      ++next;
      ++pending_count;
    }
    if (pending_count == 0) return;
    const std::unique_ptr<PendingAdd> call = ended.Take();
    --pending_count;
    const absl::Status status = FromGrpc(call->status, address_, timeout_);
    const bool more = status.ok()
                          ? done(call->index, FromProto(call->reply.agent()))
                          : done(call->index, status);
    going_on = going_on && more;
  }
}

absl::StatusOr<uint64_t> FleetClient::Update(
    const Selector& selector, const AgentSettings& settings,
    const std::vector<std::string>& changed) {
  v1::UpdateAgentRequest request;
  *request.mutable_selector() = ToProto(selector);
  *request.mutable_settings() = ToProto(settings);
  for (const std::string& name : changed) request.add_changed(name);
  v1::UpdateAgentReply reply;
  CUPEL_RETURN_IF_ERROR(
      Call(*fleet_, &v1::Fleet::Stub::UpdateAgents, request, reply));
  return reply.updated_count();
}

absl::Status FleetClient::Delete(const AgentId& id) {
  v1::DeleteAgentRequest request;
  request.set_agent_id(id.ToString());
  v1::DeleteAgentReply reply;
  return Call(*fleet_, &v1::Fleet::Stub::DeleteAgent, request, reply);
}

absl::StatusOr<ReportedAgent> FleetClient::Get(const AgentId& id) {
  v1::GetAgentRequest request;
  request.set_agent_id(id.ToString());
  v1::Agent reply;
  CUPEL_RETURN_IF_ERROR(
      Call(*fleet_, &v1::Fleet::Stub::GetAgent, request, reply));
  return FromProto(reply);
}

absl::Status FleetClient::List(
    const Selector& selector,
    absl::FunctionRef<void(const ReportedAgent&)> visit) {
  v1::ListAgentsRequest request;
  *request.mutable_selector() = ToProto(selector);
  request.set_page_size(kPageSize);
  while (true) {
    v1::ListAgentsReply reply;
    CUPEL_RETURN_IF_ERROR(
        Call(*fleet_, &v1::Fleet::Stub::ListAgents, request, reply));
    for (const v1::Agent& agent : reply.agents()) visit(FromProto(agent));
    if (reply.next_page_token().empty()) return absl::OkStatus();
    if (reply.next_page_token() == request.page_token()) {
      return absl::InternalError(
          "the verifier repeats a page of the list; it is not complete");
    }
    request.set_page_token(reply.next_page_token());
  }
}

absl::StatusOr<std::vector<ReportedAgent>> FleetClient::ListEnrolled() {
  v1::ListEnrolledReply reply;
  CUPEL_RETURN_IF_ERROR(Call(*fleet_, &v1::Fleet::Stub::ListEnrolled,
                             v1::ListEnrolledRequest(), reply));
  std::vector<ReportedAgent> agents;
  for (const v1::Agent& agent : reply.agents()) {
    agents.push_back(FromProto(agent));
  }
  return agents;
}

absl::StatusOr<ReportedAgent> FleetClient::Reactivate(
    const Reactivation& reactivation) {
  v1::ReactivateRequest request;
  request.set_agent_id(reactivation.id.ToString());
  for (const std::string& finding : reactivation.accept) {
    request.add_accept(finding);
  }
  request.set_reason(reactivation.reason);
  request.set_reset_counters(reactivation.reset_counters);
  request.set_boot_composite(reactivation.boot_composite);
  v1::ReactivateReply reply;
  CUPEL_RETURN_IF_ERROR(
      Call(*fleet_, &v1::Fleet::Stub::Reactivate, request, reply));
  return FromProto(reply.agent());
}

absl::Status FleetClient::Stop(const AgentId& id) {
  v1::StopRequest request;
  request.set_agent_id(id.ToString());
  v1::StopReply reply;
  return Call(*fleet_, &v1::Fleet::Stub::Stop, request, reply);
}

absl::Status FleetClient::AttestNow(const AgentId& id) {
  v1::AttestNowRequest request;
  request.set_agent_id(id.ToString());
  v1::AttestNowReply reply;
  return Call(*fleet_, &v1::Fleet::Stub::AttestNow, request, reply);
}

absl::Status FleetClient::AllowEks(const std::vector<std::string>& ek_sha256,
                                   bool remove) {
  for (size_t sent = 0; sent < ek_sha256.size();) {
    v1::AllowEksRequest request;
    request.set_remove(remove);
    while (sent < ek_sha256.size() && request.ek_sha256_size() < kEksPerCall) {
      request.add_ek_sha256(ek_sha256[sent++]);
    }
    v1::AllowEksReply reply;
    CUPEL_RETURN_IF_ERROR(
        Call(*fleet_, &v1::Fleet::Stub::AllowEks, request, reply));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<AllowedEk>> FleetClient::ListAllowedEks() {
  std::vector<AllowedEk> eks;
  v1::ListAllowedEksRequest request;
  do {
    v1::ListAllowedEksReply reply;
    CUPEL_RETURN_IF_ERROR(
        Call(*fleet_, &v1::Fleet::Stub::ListAllowedEks, request, reply));
    for (const v1::AllowedEk& ek : reply.eks()) eks.push_back(FromProto(ek));
    if (reply.next_page_token() == request.page_token()) break;
    request.set_page_token(reply.next_page_token());
  } while (!request.page_token().empty());
  return eks;
}

absl::Status FleetClient::Watch(
    const Selector& selector, bool with_present,
    absl::FunctionRef<bool(const FleetEvent&)> visit) {
  v1::WatchRequest request;
  *request.mutable_selector() = ToProto(selector);
  request.set_with_present(with_present);
  grpc::ClientContext context;  // without a deadline: it lasts
  const auto reader = fleet_->Watch(&context, request);
  v1::Event event;
  while (reader->Read(&event)) {
    if (visit(FromProto(event))) continue;
    context.TryCancel();
    while (reader->Read(&event)) {
    }
    reader->Finish();
    return absl::OkStatus();
  }
  const grpc::Status status = reader->Finish();
  if (status.ok()) {
    return absl::UnavailableError("the verifier ended the stream of events");
  }
  return FromGrpc(status, address_, timeout_);
}

absl::StatusOr<StoredPolicy> FleetClient::PutPolicy(const std::string& name,
                                                    bool create,
                                                    absl::string_view file) {
  const absl::Duration timeout =
      timeout_ +
      absl::Seconds(static_cast<double>(file.size()) / kBytesPerSecond);
  grpc::ClientContext context;
  SetDeadline(context, timeout);
  v1::PutPolicyReply reply;
  const auto writer = policies_->Put(&context, &reply);
  v1::PutPolicyRequest request;
  request.set_name(name);
  request.set_create(create);
  request.set_size(file.size());
  bool writable = writer->Write(request);
  request.Clear();
  while (writable && !file.empty()) {
    const absl::string_view chunk = file.substr(0, kChunkSize);
    request.set_data(chunk.data(), chunk.size());
    writable = writer->Write(request);
    file.remove_prefix(chunk.size());
  }
  if (writable) writer->WritesDone();
  // A write that failed: the status says why.
  CUPEL_RETURN_IF_ERROR(FromGrpc(writer->Finish(), address_, timeout));
  StoredPolicy stored;
  stored.info = FromProto(reply.policy());
  stored.warnings.assign(reply.warnings().begin(), reply.warnings().end());
  return stored;
}

absl::StatusOr<PolicyFile> FleetClient::GetPolicy(const std::string& name) {
  v1::GetPolicyRequest request;
  request.set_name(name);
  grpc::ClientContext context;
  SetDeadline(context,
              timeout_ + absl::Seconds(kMaxPolicySize / kBytesPerSecond));
  const auto reader = policies_->Get(&context, request);
  PolicyFile policy;
  v1::PolicyChunk chunk;
  while (reader->Read(&chunk)) {
    if (chunk.has_policy()) policy.info = FromProto(chunk.policy());
    if (policy.file.size() + chunk.data().size() > kMaxPolicySize) {
      context.TryCancel();
      return absl::ResourceExhaustedError(
          "the verifier sends more than any policy can have");
    }
    policy.file.insert(policy.file.end(), chunk.data().begin(),
                       chunk.data().end());
  }
  CUPEL_RETURN_IF_ERROR(FromGrpc(reader->Finish(), address_, timeout_));
  const std::string content_id =
      crypto::Hash(crypto::HashAlgorithm::kSha256, policy.file).Hex();
  if (policy.info.content_id != content_id) {
    return absl::DataLossError(
        "what the verifier sent is not the policy that it names");
  }
  return policy;
}

absl::Status FleetClient::DeletePolicy(const std::string& name) {
  v1::DeletePolicyRequest request;
  request.set_name(name);
  v1::DeletePolicyReply reply;
  return Call(*policies_, &v1::Policies::Stub::Delete, request, reply);
}

absl::StatusOr<std::vector<PolicyInfo>> FleetClient::ListPolicies() {
  v1::ListPoliciesReply reply;
  CUPEL_RETURN_IF_ERROR(Call(*policies_, &v1::Policies::Stub::List,
                             v1::ListPoliciesRequest(), reply));
  std::vector<PolicyInfo> policies;
  for (const v1::PolicyInfo& info : reply.policies()) {
    policies.push_back(FromProto(info));
  }
  return policies;
}

absl::StatusOr<std::string> FleetClient::CreateToken(
    std::optional<absl::Duration> valid_for) {
  v1::CreateTokenRequest request;
  if (valid_for.has_value()) {
    *request.mutable_valid_for() = ToProto(*valid_for);
  }
  v1::CreateTokenReply reply;
  CUPEL_RETURN_IF_ERROR(
      Call(*fleet_, &v1::Fleet::Stub::CreateToken, request, reply));
  if (reply.token().empty()) {
    return absl::InternalError("the verifier gave no token");
  }
  return reply.token();
}

}  // namespace cupel::tenant
