// The fleet over gRPC, for operators.
#ifndef CUPEL_VERIFIER_RPC_FLEET_SERVICE_H_
#define CUPEL_VERIFIER_RPC_FLEET_SERVICE_H_

#include <cstddef>
#include <memory>
#include <mutex>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "common/util/log.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/server_callback.h"
#include "proto/cupel/v1/fleet.grpc.pb.h"
#include "verifier/rpc/fleet_commands.h"
#include "verifier/rpc/operator_gate.h"
#include "verifier/rpc/scheduler.h"
#include "verifier/session/worker_pool.h"
#include "verifier/store/store.h"

namespace cupel::verifier {

class Watcher;

// Thread-safe. What it refers to must outlive it, and the service the server.
class FleetService final : public v1::Fleet::CallbackService {
 public:
  struct Surroundings {
    Store& store;
    FleetCommands& commands;
    OperatorGate& gate;
    WorkerPool& pool;
    Scheduler& scheduler;
    Logger& log;
    // At a time.
    size_t max_watches_per_tenant;
  };

  explicit FleetService(const Surroundings& surroundings);
  ~FleetService() override;

  // For Store::OnChange: there may be events. Never blocks.
  void OnStoreChange();
  // Ends every Watch, for a verifier that shuts down.
  void EndWatches();

  grpc::ServerUnaryReactor* AddAgent(grpc::CallbackServerContext* context,
                                     const v1::AddAgentRequest* request,
                                     v1::AddAgentReply* reply) override;
  grpc::ServerUnaryReactor* UpdateAgents(grpc::CallbackServerContext* context,
                                         const v1::UpdateAgentRequest* request,
                                         v1::UpdateAgentReply* reply) override;
  grpc::ServerUnaryReactor* DeleteAgent(grpc::CallbackServerContext* context,
                                        const v1::DeleteAgentRequest* request,
                                        v1::DeleteAgentReply* reply) override;
  grpc::ServerUnaryReactor* GetAgent(grpc::CallbackServerContext* context,
                                     const v1::GetAgentRequest* request,
                                     v1::Agent* reply) override;
  grpc::ServerUnaryReactor* ListAgents(grpc::CallbackServerContext* context,
                                       const v1::ListAgentsRequest* request,
                                       v1::ListAgentsReply* reply) override;
  grpc::ServerUnaryReactor* ListEnrolled(grpc::CallbackServerContext* context,
                                         const v1::ListEnrolledRequest* request,
                                         v1::ListEnrolledReply* reply) override;
  grpc::ServerUnaryReactor* Reactivate(grpc::CallbackServerContext* context,
                                       const v1::ReactivateRequest* request,
                                       v1::ReactivateReply* reply) override;
  grpc::ServerUnaryReactor* Stop(grpc::CallbackServerContext* context,
                                 const v1::StopRequest* request,
                                 v1::StopReply* reply) override;
  grpc::ServerUnaryReactor* AttestNow(grpc::CallbackServerContext* context,
                                      const v1::AttestNowRequest* request,
                                      v1::AttestNowReply* reply) override;
  grpc::ServerUnaryReactor* CreateToken(grpc::CallbackServerContext* context,
                                        const v1::CreateTokenRequest* request,
                                        v1::CreateTokenReply* reply) override;
  grpc::ServerUnaryReactor* AllowEks(grpc::CallbackServerContext* context,
                                     const v1::AllowEksRequest* request,
                                     v1::AllowEksReply* reply) override;
  grpc::ServerUnaryReactor* ListAllowedEks(
      grpc::CallbackServerContext* context,
      const v1::ListAllowedEksRequest* request,
      v1::ListAllowedEksReply* reply) override;
  grpc::ServerWriteReactor<v1::Event>* Watch(
      grpc::CallbackServerContext* context,
      const v1::WatchRequest* request) override;

 private:
  friend class Watcher;

  // Admits the caller, then runs `command` on the pool.
  template <typename Request, typename Reply, typename Command>
  grpc::ServerUnaryReactor* Run(grpc::CallbackServerContext* context,
                                const Request* request, Reply* reply,
                                absl::string_view call, Access access,
                                Command command);
  void Forget(const std::shared_ptr<Watcher>& watcher);

  const Surroundings surroundings_;
  std::mutex mutex_;  // guards all below
  bool ending_ = false;
  absl::flat_hash_set<std::shared_ptr<Watcher>> watchers_;
  absl::flat_hash_map<std::string, size_t> watchers_by_tenant_;
};

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_RPC_FLEET_SERVICE_H_
