// The agents' streams: moves messages between gRPC and sessions.
#ifndef CUPEL_VERIFIER_RPC_ATTESTATION_SERVICE_H_
#define CUPEL_VERIFIER_RPC_ATTESTATION_SERVICE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/crypto/digest.h"
#include "common/util/agent_id.h"
#include "common/util/log.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/server_callback.h"
#include "proto/cupel/v1/attestation.grpc.pb.h"
#include "verifier/pki/served_certificate.h"
#include "verifier/rpc/metrics.h"
#include "verifier/rpc/refusal_log.h"
#include "verifier/rpc/scheduler.h"
#include "verifier/session/policy_cache.h"
#include "verifier/session/session.h"
#include "verifier/session/session_table.h"
#include "verifier/session/verdict_writer.h"
#include "verifier/session/worker_pool.h"
#include "verifier/store/store.h"

namespace cupel::verifier {

class AttestationStream;

// Thread-safe. What it refers to must outlive it, and the service the server.
class AttestationService final : public v1::Attestation::CallbackService {
 public:
  struct Surroundings {
    Store& store;
    PolicyCache& policies;
    SessionTable& table;
    WorkerPool& pool;            // of messages and timers
    WorkerPool& appraisal_pool;  // of lists that take their time
    WorkerPool& policy_pool;     // of policies that have to be loaded
    Scheduler& scheduler;
    Metrics& metrics;
    Logger& log;
    RefusalLog& refusals;
    const ServedCertificate& certificate;
  };

  AttestationService(const Surroundings& surroundings, SessionOptions options,
                     size_t max_streams);
  ~AttestationService() override;

  grpc::ServerBidiReactor<v1::AgentMessage, v1::VerifierMessage>* Attest(
      grpc::CallbackServerContext* context) override;

  // For Store::OnChange: tells the sessions of that agent, or all of them. From
  // any thread, never blocks.
  void OnStoreChange(const std::optional<AgentId>& agent);
  // The listener shows this one from now on: the streams that are open take
  // quotes for it too. Call it once the certificate of the surroundings is it.
  void OnCertificate(const crypto::Digest& sha256);
  // Asks the agent for a quote at once. False if it has no proven stream here.
  bool AttestNow(const AgentId& agent);
  // Ends every stream, and refuses those that come.
  void RefuseAll(absl::string_view reason, absl::Duration retry_after);

  size_t stream_count() const;

 private:
  friend class AttestationStream;
  using Stream = std::shared_ptr<AttestationStream>;

  grpc::ServerBidiReactor<v1::AgentMessage, v1::VerifierMessage>* Begin(
      grpc::CallbackServerContext* context);
  void Register(const AgentId& agent, const Stream& stream);
  void Forget(const std::optional<AgentId>& agent, const Stream& stream);
  std::vector<Stream> StreamsOf(const std::optional<AgentId>& agent) const;

  const Surroundings surroundings_;
  const SessionOptions options_;
  const size_t max_streams_;
  VerdictWriter writer_;

  std::atomic<uint64_t> last_number_ = 0;
  mutable std::mutex mutex_;  // guards all below
  bool ending_ = false;
  absl::flat_hash_set<Stream> streams_;
  absl::flat_hash_map<AgentId, std::vector<Stream>> by_agent_;
};

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_RPC_ATTESTATION_SERVICE_H_
