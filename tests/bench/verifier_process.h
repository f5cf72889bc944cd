// A cupel-verifier of a benchmark's own, started as a user would start it.
#ifndef CUPEL_TESTS_BENCH_VERIFIER_PROCESS_H_
#define CUPEL_TESTS_BENCH_VERIFIER_PROCESS_H_

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "tenant/fleet.h"
#include "tests/bench/process_usage.h"
#include "tests/support/run_command.h"

namespace cupel::bench {

// Listens on free ports of the loopback, with certificates and a store on disk
// in a folder that the caller has. Ends with this object, and with this
// process.
class VerifierProcess {
 public:
  // Makes the certificates and starts `program`. `settings` are lines of its
  // configuration, beside those that say where things are. kUnavailable, with
  // the end of what it wrote, if it does not come up.
  static absl::StatusOr<std::unique_ptr<VerifierProcess>> Start(
      const std::string& program, const std::string& folder,
      const std::vector<std::string>& settings);

  // kill -9.
  void Kill() { server_.reset(); }
  // Starts it again, on the same ports. Errors as Start's.
  absl::Status Restart();

  // "127.0.0.1:PORT", and the PEM file of what its certificate leads to.
  const std::string& attest_address() const { return attest_; }
  std::string ca_file() const;
  // An operator who may do everything.
  absl::StatusOr<std::unique_ptr<tenant::Fleet>> ConnectOperator() const;

  absl::StatusOr<ProcessUsage> Usage() const { return UsageOf(server_->pid()); }
  // The last lines of its log.
  std::string LogEnd() const;

 private:
  VerifierProcess(std::string program, std::string folder)
      : program_(std::move(program)), folder_(std::move(folder)) {}

  absl::Status Launch(const std::vector<std::string>& options);
  std::string PathOf(const std::string& name) const;

  const std::string program_;
  const std::string folder_;
  std::string attest_;
  std::string fleet_;
  std::unique_ptr<testing::Server> server_;
};

// The program `name` ("verifier/cupel-verifier") of the build that this
// program is of.
std::string ProgramBesideThis(const std::string& name);

}  // namespace cupel::bench

#endif  // CUPEL_TESTS_BENCH_VERIFIER_PROCESS_H_
