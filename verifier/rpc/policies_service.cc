#include "verifier/rpc/policies_service.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/policy/allowlist.h"
#include "common/policy/policy_writer.h"
#include "common/util/bytes.h"
#include "common/util/escape.h"
#include "common/util/status_macros.h"
#include "verifier/rpc/fleet_messages.h"
#include "verifier/rpc/status.h"
#include "verifier/rpc/unary.h"
#include "verifier/store/policy_names.h"

namespace cupel::verifier {
namespace {

constexpr size_t kChunkSize = size_t{1} << 20;
constexpr size_t kMaxWarningCount = 100;

// What both streams need.
struct Surroundings {
  Store& store;
  OperatorGate& gate;
  WorkerPool& pool;
  Logger& log;
};

// Takes a policy's pieces; the last one's end stores it.
class Putter final : public grpc::ServerReadReactor<v1::PutPolicyRequest> {
 public:
  Putter(const Surroundings& around, size_t max_size,
         const PolicySigners& signers, absl::StatusOr<OperatorIdentity> who,
         std::string peer, v1::PutPolicyReply* reply)
      : around_(around),
        max_size_(max_size),
        signers_(signers),
        who_(std::move(who)),
        peer_(std::move(peer)),
        reply_(reply) {
    // The deny list may have to be read from the disk.
    around_.pool.Post(peer_, [this] {
      const auto admitted = NoThrow<absl::Status>([this] {
        return around_.gate.Admit(who_, Access::kChange, kCall, peer_);
      });
      if (!admitted.ok()) return End(admitted);
      StartRead(&request_);
    });
  }

  void OnReadDone(bool ok) override {
    if (ok) {
      // A large file moves as it grows: not on one of gRPC's threads.
      around_.pool.Post(peer_, [this] {
        const auto taken = NoThrow<absl::Status>([this] { return Take(); });
        if (!taken.ok()) return End(taken);
        StartRead(&request_);
      });
      return;
    }
    if (!begun_) {
      return End(absl::InvalidArgumentError("name: no message names a policy"));
    }
    // A call that was broken off ends like one that is complete.
    if (file_.empty() || file_.size() != size_) {
      return End(absl::InvalidArgumentError(
          absl::StrCat("policy \"", name_, "\": ", file_.size(), " of ", size_,
                       " bytes have come")));
    }
    around_.pool.Post(peer_, [this] {
      const auto kept = NoThrow<absl::Status>([this] { return Keep(); });
      LogChange(*who_, kCall, kept, around_.log);
      End(kept);
    });
  }

  void OnDone() override { delete this; }

 private:
  absl::Status Take() {
    if (!begun_) {
      CUPEL_RETURN_IF_ERROR(CheckManagedPolicy(who_->tenant, request_.name()));
      CUPEL_RETURN_IF_ERROR(CheckPolicyName(request_.name()));
      name_ = request_.name();
      create_ = request_.create();
      size_ = request_.size();
      begun_ = true;
    } else if (!request_.name().empty() && request_.name() != name_) {
      return absl::InvalidArgumentError("name: one policy a call");
    }
    const std::string& data = request_.data();
    if (data.size() > max_size_ - file_.size()) {
      return absl::ResourceExhaustedError(
          absl::StrCat("policy \"", name_, "\": larger than the ", max_size_,
                       " bytes of max_policy_size"));
    }
    Append(file_, AsBytes(data));
    return absl::OkStatus();
  }

  absl::Status Keep() {
    // The pieces may have taken their time.
    CUPEL_RETURN_IF_ERROR(
        around_.gate.Admit(who_, Access::kChange, kCall, peer_));
    CUPEL_ASSIGN_OR_RETURN(CheckedPolicy checked,
                           CheckPolicyFile(std::move(file_), name_, signers_));
    CUPEL_ASSIGN_OR_RETURN(
        const PolicyRecord record,
        around_.store.PutPolicy(who_->tenant, name_, checked.file,
                                checked.digest_count, create_,
                                OperatorName(*who_)));
    CUPEL_ASSIGN_OR_RETURN(
        const uint64_t agent_count,
        around_.store.CountAgentsWithPolicy(who_->tenant, name_));
    *reply_->mutable_policy() = ToProto(record);
    reply_->mutable_policy()->set_agent_count(agent_count);
    for (std::string& warning : checked.warnings) {
      reply_->add_warnings(std::move(warning));
    }
    return absl::OkStatus();
  }

  void End(const absl::Status& status) {
    Finish(ToGrpc(status, kCall, around_.log));
  }

  static constexpr char kCall[] = "Policies.Put";
  const Surroundings around_;
  const size_t max_size_;
  const PolicySigners& signers_;
  const absl::StatusOr<OperatorIdentity> who_;
  const std::string peer_;
  v1::PutPolicyReply* reply_;
  v1::PutPolicyRequest request_;
  bool begun_ = false;
  bool create_ = false;
  uint64_t size_ = 0;  // as announced
  std::string name_;
  std::vector<uint8_t> file_;
};

// Gives a policy's file out, one piece after another, each of which the
// operator has to be admitted for.
class Getter final : public grpc::ServerWriteReactor<v1::PolicyChunk> {
 public:
  Getter(const Surroundings& around, absl::StatusOr<OperatorIdentity> who,
         std::string peer, std::string name)
      : around_(around),
        who_(std::move(who)),
        peer_(std::move(peer)),
        name_(std::move(name)) {
    Post();
  }

  void OnWriteDone(bool ok) override {
    if (!ok) return Finish(grpc::Status(grpc::StatusCode::CANCELLED, ""));
    chunk_.Clear();
    if (sent_ == file_.size()) return Finish(grpc::Status::OK);
    Post();
  }
  void OnDone() override { delete this; }

 private:
  void Post() {
    around_.pool.Post(peer_, [this] {
      const auto next = NoThrow<absl::Status>([this] { return Next(); });
      if (!next.ok()) return Finish(ToGrpc(next, kCall, around_.log));
      StartWrite(&chunk_);
    });
  }

  absl::Status Next() {
    CUPEL_RETURN_IF_ERROR(
        around_.gate.Admit(who_, Access::kRead, kCall, peer_));
    if (sent_ == 0) {
      CUPEL_ASSIGN_OR_RETURN(PolicyRecord record,
                             around_.store.GetPolicy(who_->tenant, name_));
      *chunk_.mutable_policy() = ToProto(record);
      file_ = std::move(record.file);
    }
    const size_t size = std::min(kChunkSize, file_.size() - sent_);
    chunk_.set_data(file_.data() + sent_, size);
    sent_ += size;
    return absl::OkStatus();
  }

  static constexpr char kCall[] = "Policies.Get";
  const Surroundings around_;
  const absl::StatusOr<OperatorIdentity> who_;
  const std::string peer_;
  const std::string name_;
  v1::PolicyChunk chunk_;
  std::vector<uint8_t> file_;
  size_t sent_ = 0;
};

}  // namespace

absl::StatusOr<CheckedPolicy> CheckPolicyFile(std::vector<uint8_t> file,
                                              const std::string& name,
                                              const PolicySigners& signers) {
  const auto first = std::ranges::find_if_not(
      file, [](uint8_t c) { return absl::ascii_isspace(c); });
  const bool is_json = first != file.end() && *first == '{';
  policy::RuntimePolicy policy;
  if (is_json || signers.required) {
    CUPEL_ASSIGN_OR_RETURN(policy, LoadPolicy(file, name, signers));
  } else {
    CUPEL_ASSIGN_OR_RETURN(policy, policy::ParseAllowlist(AsText(file), name));
    file = ToVector(AsBytes(policy::WritePolicyJson(policy)));
  }
  CheckedPolicy checked{.file = std::move(file),
                        .digest_count = policy.digests.digest_count(),
                        .warnings = {}};
  for (const policy::PolicyWarning& warning : policy.warnings) {
    if (checked.warnings.size() == kMaxWarningCount) {
      checked.warnings.push_back("further warnings are left out");
      break;
    }
    checked.warnings.push_back(absl::StrCat(EscapeForDisplay(warning.origin),
                                            ": ",
                                            EscapeForDisplay(warning.message)));
  }
  return checked;
}

grpc::ServerReadReactor<v1::PutPolicyRequest>* PoliciesService::Put(
    grpc::CallbackServerContext* context, v1::PutPolicyReply* reply) {
  return new Putter({store_, gate_, pool_, log_}, max_policy_size_, signers_,
                    OperatorGate::Identify(*context), context->peer(), reply);
}

absl::StatusOr<OperatorIdentity> PoliciesService::Admit(
    const grpc::CallbackServerContext& context, Access access,
    absl::string_view call) {
  auto who = OperatorGate::Identify(context);
  CUPEL_RETURN_IF_ERROR(gate_.Admit(who, access, call, context.peer()));
  return who;
}

grpc::ServerUnaryReactor* PoliciesService::Delete(
    grpc::CallbackServerContext* context,
    const v1::DeletePolicyRequest* request, v1::DeletePolicyReply* reply) {
  static constexpr char kCall[] = "Policies.Delete";
  return RunUnary(
      context, reply, kCall, context->peer(), pool_, log_,
      [this, context, request]() -> absl::StatusOr<v1::DeletePolicyReply> {
        CUPEL_ASSIGN_OR_RETURN(const OperatorIdentity who,
                               Admit(*context, Access::kChange, kCall));
        const absl::Status deleted =
            store_.DeletePolicy(who.tenant, request->name(), OperatorName(who));
        LogChange(who, kCall, deleted, log_);
        CUPEL_RETURN_IF_ERROR(deleted);
        return v1::DeletePolicyReply();
      });
}

grpc::ServerUnaryReactor* PoliciesService::List(
    grpc::CallbackServerContext* context, const v1::ListPoliciesRequest*,
    v1::ListPoliciesReply* reply) {
  static constexpr char kCall[] = "Policies.List";
  return RunUnary(
      context, reply, kCall, context->peer(), pool_, log_,
      [this, context]() -> absl::StatusOr<v1::ListPoliciesReply> {
        CUPEL_ASSIGN_OR_RETURN(const OperatorIdentity who,
                               Admit(*context, Access::kRead, kCall));
        CUPEL_ASSIGN_OR_RETURN(const std::vector<PolicyRecord> records,
                               store_.ListPolicies(who.tenant));
        v1::ListPoliciesReply result;
        for (const PolicyRecord& record : records) {
          v1::PolicyInfo& info = *result.add_policies();
          info = ToProto(record);
          CUPEL_ASSIGN_OR_RETURN(
              const uint64_t agent_count,
              store_.CountAgentsWithPolicy(who.tenant, record.name));
          info.set_agent_count(agent_count);
        }
        return result;
      });
}

grpc::ServerWriteReactor<v1::PolicyChunk>* PoliciesService::Get(
    grpc::CallbackServerContext* context, const v1::GetPolicyRequest* request) {
  return new Getter({store_, gate_, pool_, log_},
                    OperatorGate::Identify(*context), context->peer(),
                    request->name());
}

}  // namespace cupel::verifier
