// cupel-verifier as a user runs it: the real program, with certificates, a
// configuration and a store in a folder of the test's own.
#ifndef CUPEL_TESTS_INTEGRATION_VERIFIER_PROGRAM_H_
#define CUPEL_TESTS_INTEGRATION_VERIFIER_PROGRAM_H_

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "grpcpp/channel.h"
#include "tests/support/run_command.h"
#include "tests/support/temporary_folder.h"
#include "verifier/store/sql_store.h"

namespace cupel::verifier {

// All functions fail the test where what they are for doesn't happen.
class VerifierProgram {
 public:
  // Makes certificates by `init`. Starts nothing.
  VerifierProgram();
  ~VerifierProgram();

  // Runs `cupel-verifier ARGUMENTS` to its end, with the configuration.
  testing::CommandResult Run(const std::vector<std::string>& arguments) const;

  // Starts `run`, with further options of the configuration as KEY=VALUE, and
  // waits until it listens.
  void Start(const std::vector<std::string>& settings = {});
  // The same, without waiting. Each one begins with a new log.
  void Launch(const std::vector<std::string>& settings = {});
  // True once it listens; false if it has ended instead.
  bool AwaitListening();
  // kill -9, and waits for the end.
  void Kill();
  // SIGTERM. Its exit code; fails the test if it takes longer.
  int Terminate(std::chrono::milliseconds at_most);
  pid_t pid() const { return server_->pid(); }

  std::shared_ptr<grpc::Channel> Attest() const;
  // As the operator in pki/`name`.
  std::shared_ptr<grpc::Channel> Fleet(const std::string& name) const;

  // The store's file, opened by this process while nobody else writes.
  std::unique_ptr<SqlStore> OpenStore() const;
  std::string store_path() const { return folder / "state/verifier.db"; }
  // "127.0.0.1:PORT" of "attest", "fleet" or "metrics"; empty where there is
  // none.
  std::string AddressOf(const std::string& listener) const;
  std::string config_path() const { return folder / "verifier.yaml"; }

  // What it has written since the last Launch.
  std::string Log() const;
  void AwaitLog(const std::string& text) const;

  testing::TemporaryFolder folder;

 private:
  int launches_ = 0;
  std::string listening_;
  std::unique_ptr<testing::Server> server_;
};

}  // namespace cupel::verifier

#endif  // CUPEL_TESTS_INTEGRATION_VERIFIER_PROGRAM_H_
