// Policies over gRPC: files come and go in pieces.
#ifndef CUPEL_VERIFIER_RPC_POLICIES_SERVICE_H_
#define CUPEL_VERIFIER_RPC_POLICIES_SERVICE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/util/log.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/server_callback.h"
#include "proto/cupel/v1/fleet.grpc.pb.h"
#include "verifier/rpc/operator_gate.h"
#include "verifier/session/policy_signers.h"
#include "verifier/session/worker_pool.h"
#include "verifier/store/store.h"

namespace cupel::verifier {

// A policy file that a verifier can store, and what people are told of it.
struct CheckedPolicy {
  std::vector<uint8_t> file;
  uint64_t digest_count = 0;
  std::vector<std::string> warnings;
};

// JSON stays as it is; a text allowlist becomes the JSON that says the same,
// since only that is loaded later. Errors as from LoadPolicy and
// policy::ParseAllowlist.
absl::StatusOr<CheckedPolicy> CheckPolicyFile(std::vector<uint8_t> file,
                                              const std::string& name,
                                              const PolicySigners& signers);

// Thread-safe. What it refers to must outlive it, and the service the server.
class PoliciesService final : public v1::Policies::CallbackService {
 public:
  PoliciesService(Store& store, OperatorGate& gate, WorkerPool& pool,
                  Logger& log, size_t max_policy_size, PolicySigners signers)
      : store_(store),
        gate_(gate),
        pool_(pool),
        log_(log),
        max_policy_size_(max_policy_size),
        signers_(std::move(signers)) {}

  grpc::ServerReadReactor<v1::PutPolicyRequest>* Put(
      grpc::CallbackServerContext* context, v1::PutPolicyReply* reply) override;
  grpc::ServerUnaryReactor* Delete(grpc::CallbackServerContext* context,
                                   const v1::DeletePolicyRequest* request,
                                   v1::DeletePolicyReply* reply) override;
  grpc::ServerUnaryReactor* List(grpc::CallbackServerContext* context,
                                 const v1::ListPoliciesRequest* request,
                                 v1::ListPoliciesReply* reply) override;
  grpc::ServerWriteReactor<v1::PolicyChunk>* Get(
      grpc::CallbackServerContext* context,
      const v1::GetPolicyRequest* request) override;

 private:
  // Of a call that is answered by the pool.
  absl::StatusOr<OperatorIdentity> Admit(
      const grpc::CallbackServerContext& context, Access access,
      absl::string_view call);

  Store& store_;
  OperatorGate& gate_;
  WorkerPool& pool_;
  Logger& log_;
  const size_t max_policy_size_;
  const PolicySigners signers_;
};

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_RPC_POLICIES_SERVICE_H_
