// Verifiers that run in this process, over TLS on loopback and a store on disk,
// with operators and a TPM vendor around them.
#ifndef CUPEL_TESTS_SUPPORT_LIVE_VERIFIER_H_
#define CUPEL_TESTS_SUPPORT_LIVE_VERIFIER_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/config/verifier_config.h"
#include "common/util/agent_id.h"
#include "common/util/log.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "proto/cupel/v1/fleet.grpc.pb.h"
#include "tests/support/enrollment_bench.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/watched_store.h"
#include "verifier/pki/operator_identity.h"
#include "verifier/rpc/server.h"
#include "verifier/store/sql_store.h"

namespace cupel::testing {

// A call that no fault of the verifier's keeps waiting for ever.
struct CallContext : grpc::ClientContext {
  CallContext() {
    set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
  }
};

// An operator, at a verifier's port for operators.
class Operator {
 public:
  explicit Operator(const std::shared_ptr<grpc::Channel>& channel)
      : fleet(v1::Fleet::NewStub(channel)),
        policies(v1::Policies::NewStub(channel)) {}

  // One call of either service: Call(&v1::Fleet::Stub::Stop, request).
  template <typename Stub, typename Request, typename Reply>
  grpc::Status Call(grpc::Status (Stub::*method)(grpc::ClientContext*,
                                                 const Request&, Reply*),
                    const Request& request, Reply* reply = nullptr) {
    CallContext context;
    Reply unused;
    return (StubOf(static_cast<Stub*>(nullptr)).*method)(
        &context, request, reply == nullptr ? &unused : reply);
  }
  grpc::Status PutPolicy(const std::string& name, absl::string_view file,
                         bool create);
  // The policy's file, empty where there is none.
  grpc::Status GetPolicy(const std::string& name, std::string& file);
  grpc::Status GetAgent(const AgentId& id, v1::Agent& agent);

  std::unique_ptr<v1::Fleet::Stub> fleet;
  std::unique_ptr<v1::Policies::Stub> policies;

 private:
  v1::Fleet::Stub& StubOf(v1::Fleet::Stub*) { return *fleet; }
  v1::Policies::Stub& StubOf(v1::Policies::Stub*) { return *policies; }
};

// What the verifiers of a test share: certificates, the store's file, its
// clock, and a TPM vendor whose root they pin. Ends the test where something
// can't be made.
class Deployment {
 public:
  // The operators pki/operator and pki/viewer of the tenant "default", and
  // pki/other, an admin of the tenant "other". `prepare` is called last.
  explicit Deployment(
      const std::function<void(const Deployment&)>& prepare = {});

  // The store's time goes on by `by` at once; sessions go by another clock.
  void Advance(absl::Duration by) {
    offset_ns_ += absl::ToInt64Nanoseconds(by);
  }
  absl::Time Now() const;

  // What a verifier of this deployment is configured with.
  config::VerifierConfig Config() const;
  // Another operator, in pki/`name`.
  void IssueOperator(const std::string& name, absl::string_view tenant,
                     verifier::OperatorRole role,
                     absl::Duration lifetime = absl::Hours(24)) const;
  // Puts the operator in `from` on the deny list.
  void Revoke(const std::string& from) const;
  std::string Read(const std::string& name) const;

  // As an operator, or with whatever certificate and key are in `from`; empty:
  // with none.
  std::shared_ptr<grpc::Channel> FleetChannel(const std::string& address,
                                              const std::string& from) const;
  std::shared_ptr<grpc::Channel> AttestChannel(
      const std::string& address) const;

  TemporaryFolder folder;
  Vendor vendor{.time = absl::Now()};

 private:
  std::atomic<int64_t> offset_ns_ = 0;
};

class LiveVerifier {
 public:
  using Configure = std::function<void(config::VerifierConfig&)>;

  // `before_store_call` as for WatchedStore, of the server's calls alone.
  explicit LiveVerifier(const Deployment& deployment,
                        const Configure& configure = {},
                        WatchedStore::Before before_store_call = {});
  // Stops.
  ~LiveVerifier();

  // Ends the process's part, as a crash would but for the streams' refusals,
  // and starts it anew over the same file.
  void Restart();
  void Stop();

  std::shared_ptr<grpc::Channel> Attest() const;
  Operator As(const std::string& from = "pki/operator") const;

  // The store's own connection to the file, which the server does not share.
  verifier::SqlStore& store() { return *store_; }
  verifier::AgentRecord Record(const AgentId& id);
  std::string log() const;
  const verifier::ListenAddresses& addresses() const {
    return server_->addresses();
  }

 private:
  void Start();

  const Deployment& deployment_;
  const config::VerifierConfig config_;
  const WatchedStore::Before before_;
  mutable std::mutex log_mutex_;  // guards log_text_
  std::string log_text_;
  Logger logger_;
  std::unique_ptr<verifier::SqlStore> store_;
  std::unique_ptr<WatchedStore> watched_;
  std::unique_ptr<verifier::Server> server_;
};

// All of a record, a line each, times included: to be compared with what it was
// before.
std::string Describe(const verifier::AgentRecord& record);

}  // namespace cupel::testing

#endif  // CUPEL_TESTS_SUPPORT_LIVE_VERIFIER_H_
