// The verifier's services for operators, over gRPC with mutual TLS.
#ifndef CUPEL_TENANT_RPC_FLEET_CLIENT_H_
#define CUPEL_TENANT_RPC_FLEET_CLIENT_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "proto/cupel/v1/fleet.grpc.pb.h"
#include "tenant/connection.h"
#include "tenant/fleet.h"

namespace cupel::tenant {

// Trust: the verifier, once its certificate has passed: path to the CA given,
// and the name or address by which it was called. There is no option that
// leaves this check out. What it tells of machines stays raw bytes.
class FleetClient final : public Fleet {
 public:
  // Reads the credentials; the first call connects. Errors: those of
  // LoadCredentials.
  static absl::StatusOr<std::unique_ptr<Fleet>> Create(
      const Connection& connection);

  absl::StatusOr<ReportedAgent> Add(const NewAgent& agent) override;
  void AddAll(std::span<const NewAgent> agents,
              absl::FunctionRef<bool(
                  size_t index, const absl::StatusOr<ReportedAgent>& added)>
                  done) override;
  absl::StatusOr<uint64_t> Update(
      const Selector& selector, const AgentSettings& settings,
      const std::vector<std::string>& changed) override;
  absl::Status Delete(const AgentId& id) override;
  absl::StatusOr<ReportedAgent> Get(const AgentId& id) override;
  absl::Status List(
      const Selector& selector,
      absl::FunctionRef<void(const ReportedAgent&)> visit) override;
  absl::StatusOr<std::vector<ReportedAgent>> ListEnrolled() override;
  absl::StatusOr<ReportedAgent> Reactivate(
      const Reactivation& reactivation) override;
  absl::Status Stop(const AgentId& id) override;
  absl::Status AttestNow(const AgentId& id) override;
  absl::Status AllowEks(const std::vector<std::string>& ek_sha256,
                        bool remove) override;
  absl::StatusOr<std::vector<AllowedEk>> ListAllowedEks() override;
  absl::Status Watch(const Selector& selector, bool with_present,
                     absl::FunctionRef<bool(const FleetEvent&)> visit) override;
  absl::StatusOr<StoredPolicy> PutPolicy(const std::string& name, bool create,
                                         absl::string_view file) override;
  absl::StatusOr<PolicyFile> GetPolicy(const std::string& name) override;
  absl::Status DeletePolicy(const std::string& name) override;
  absl::StatusOr<std::vector<PolicyInfo>> ListPolicies() override;
  absl::StatusOr<std::string> CreateToken(
      std::optional<absl::Duration> valid_for) override;

 private:
  FleetClient(std::string address, absl::Duration timeout,
              const std::shared_ptr<grpc::Channel>& channel)
      : address_(std::move(address)),
        timeout_(timeout),
        fleet_(v1::Fleet::NewStub(channel)),
        policies_(v1::Policies::NewStub(channel)) {}

  // One call of `stub`, with the deadline.
  template <typename Stub, typename Method, typename Request, typename Reply>
  absl::Status Call(Stub& stub, Method method, const Request& request,
                    Reply& reply);

  std::string address_;
  absl::Duration timeout_;
  std::unique_ptr<v1::Fleet::Stub> fleet_;
  std::unique_ptr<v1::Policies::Stub> policies_;
};

}  // namespace cupel::tenant

#endif  // CUPEL_TENANT_RPC_FLEET_CLIENT_H_
