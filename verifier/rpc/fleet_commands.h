// What operators' calls mean: requests in, the store changed, replies out.
// Without gRPC, and so tested without it.
#ifndef CUPEL_VERIFIER_RPC_FLEET_COMMANDS_H_
#define CUPEL_VERIFIER_RPC_FLEET_COMMANDS_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/util/agent_id.h"
#include "proto/cupel/v1/fleet.pb.h"
#include "verifier/pki/operator_identity.h"
#include "verifier/rpc/fleet_messages.h"
#include "verifier/rpc/token_buckets.h"
#include "verifier/store/store.h"

namespace cupel::verifier {

// Threads: as the store. Every function may block. Whoever calls has admitted
// the operator; here only the operator's tenant counts.
//
// Errors of all: kInvalidArgument for a request that means nothing, with the
// member's name; and the store's.
class FleetCommands {
 public:
  // `attest_now` asks an agent's session, false where there is none; a tenant
  // may have it asked `max_attest_now` times a second. An agent is live that
  // was seen within its interval (`interval` unless its settings say otherwise)
  // and `grace`.
  FleetCommands(Store& store, absl::Duration interval, absl::Duration grace,
                std::function<bool(const AgentId&)> attest_now,
                uint32_t max_attest_now)
      : store_(store),
        interval_(interval),
        grace_(grace),
        attest_now_(std::move(attest_now)),
        max_attest_now_(max_attest_now),
        attest_now_buckets_(max_attest_now) {}

  absl::StatusOr<v1::AddAgentReply> Add(const OperatorIdentity& who,
                                        const v1::AddAgentRequest& request);
  absl::StatusOr<v1::UpdateAgentReply> Update(
      const OperatorIdentity& who, const v1::UpdateAgentRequest& request);
  absl::StatusOr<v1::DeleteAgentReply> Delete(
      const OperatorIdentity& who, const v1::DeleteAgentRequest& request);
  absl::StatusOr<v1::Agent> Get(const OperatorIdentity& who,
                                const v1::GetAgentRequest& request);
  absl::StatusOr<v1::ListAgentsReply> List(
      const OperatorIdentity& who, const v1::ListAgentsRequest& request);
  absl::StatusOr<v1::ListEnrolledReply> ListEnrolled(
      const OperatorIdentity& who);
  // An accepted finding is one of the agent's present ones; its digest and the
  // boot that it was found in go on record with it. kFailedPrecondition for a
  // finding that can't be accepted, and for a boot that is to be approved and
  // that the agent doesn't show (any more), or has no use for.
  absl::StatusOr<v1::ReactivateReply> Reactivate(
      const OperatorIdentity& who, const v1::ReactivateRequest& request);
  absl::StatusOr<v1::StopReply> Stop(const OperatorIdentity& who,
                                     const v1::StopRequest& request);
  // kFailedPrecondition where no stream of the agent is open here;
  // kResourceExhausted where the tenant has asked too often.
  absl::StatusOr<v1::AttestNowReply> AttestNow(
      const OperatorIdentity& who, const v1::AttestNowRequest& request);
  absl::StatusOr<v1::CreateTokenReply> CreateToken(
      const OperatorIdentity& who, const v1::CreateTokenRequest& request);

  absl::StatusOr<v1::AllowEksReply> AllowEks(
      const OperatorIdentity& who, const v1::AllowEksRequest& request);
  absl::StatusOr<v1::ListAllowedEksReply> ListAllowedEks(
      const OperatorIdentity& who, const v1::ListAllowedEksRequest& request);

  // Calls `visit` for each agent that `selector` means, until it fails; nothing
  // selected is everything only with `default_all`.
  absl::Status ForEach(const std::string& tenant, const v1::Selector& selector,
                       bool default_all,
                       absl::FunctionRef<absl::Status(AgentRecord)> visit);
  // Some of them: the next ones behind the agent `after`, or the first; empty
  // where there are no more.
  absl::StatusOr<std::vector<AgentRecord>> Page(
      const std::string& tenant, const v1::Selector& selector, bool default_all,
      const std::optional<AgentId>& after);
  v1::Agent Show(const AgentRecord& record, Detail detail = Detail::kAll);

 private:
  // What `selector` says; its page starts at the beginning.
  absl::StatusOr<AgentFilter> ParseSelector(const std::string& tenant,
                                            const v1::Selector& selector,
                                            bool default_all,
                                            std::optional<AgentId>& one);

  Store& store_;
  const absl::Duration interval_;
  const absl::Duration grace_;
  const std::function<bool(const AgentId&)> attest_now_;
  const uint32_t max_attest_now_;
  TokenBuckets attest_now_buckets_;
};

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_RPC_FLEET_COMMANDS_H_
