// A whole verifier in this process, over TLS on loopback and a store on disk.
#ifndef CUPEL_TESTS_VERIFIER_RPC_SERVER_RIG_H_
#define CUPEL_TESTS_VERIFIER_RPC_SERVER_RIG_H_

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "common/config/verifier_config.h"
#include "common/util/agent_id.h"
#include "common/util/log.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "proto/cupel/v1/fleet.grpc.pb.h"
#include "tests/support/evidence_builder.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/text_of.h"
#include "verifier/rpc/server.h"
#include "verifier/store/sql_store.h"

namespace cupel::verifier {

inline constexpr char kAgent[] = "d432fbb3-d2f1-4a97-9ef7-75bd81c00000";

using testing::TextOf;

struct Context : grpc::ClientContext {
  Context() {
    set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
  }
};

// In its folder: pki/ with operator (admin of "default"), viewer (of the same)
// and other (admin of "other"); denied, the deny list; store.db.
class ServerRig {
  // Before all that logs.
  mutable std::mutex log_mutex_;
  std::string log_text_;  // guarded by log_mutex_

 public:
  using Change = std::function<void(config::VerifierConfig&)>;

  // Starts a verifier whose configuration `change` has changed.
  explicit ServerRig(const Change& change = {},
                     const SqlStoreOptions& store_options = {});

  // A further PKI in `name`.
  void MakePki(const std::string& name);

  // To the fleet listener, as the operator in `from`; empty: nobody.
  std::shared_ptr<grpc::Channel> Fleet(const std::string& from) const;
  std::unique_ptr<v1::Fleet::Stub> FleetStub(const std::string& from) const;
  std::unique_ptr<v1::Policies::Stub> PoliciesStub(
      const std::string& from) const;
  std::shared_ptr<grpc::Channel> Attest() const;

  // The call's status, for the operator in `from`.
  grpc::Status Add(const std::string& from, const std::string& id,
                   bool trust = true) const;
  std::vector<std::string> List(const std::string& from) const;
  grpc::Status PutPolicy(const std::string& from, const std::string& name,
                         const std::string& file, v1::PutPolicyReply& reply,
                         size_t missing_size = 0) const;
  v1::Agent Get(const std::string& id = kAgent) const;
  // Makes the operator in `from` one whose key is denied.
  void Deny(const std::string& from) const;

  // Enrols the machine, and adds it with the policy of what it may run.
  void Provision(const testing::FakeMachine& machine);

  std::string log_text() const;
  // Waits until the log has `text`: it is what a step that nobody is told of
  // leaves behind. Fails the test if it never comes.
  void AwaitLog(const std::string& text) const;

  testing::TemporaryFolder folder;
  config::VerifierConfig config;
  std::unique_ptr<SqlStore> store;
  Logger log;
  std::unique_ptr<Server> server;
};

}  // namespace cupel::verifier

#endif  // CUPEL_TESTS_VERIFIER_RPC_SERVER_RIG_H_
