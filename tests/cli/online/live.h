// The three programs together: a real verifier, an agent with a software TPM
// and the emulated kernel, and cupel-tenant as their operator runs it.
#ifndef CUPEL_TESTS_CLI_ONLINE_LIVE_H_
#define CUPEL_TESTS_CLI_ONLINE_LIVE_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/cli/cli.h"
#include "tests/support/swtpm.h"
#include "tests/support/temporary_folder.h"

namespace cupel::testing {

// All of it listens on free ports of the loopback and ends with this object.
// Where there is no software TPM the test is skipped.
class LiveBench {
 public:
  // A verifier that runs, a machine whose agent does not yet, and a tenant.yaml
  // with `tenant_options` besides what leads to the verifier. The machine has
  // run `good_script.sh`; allowlist.txt and excludes.txt fit it.
  explicit LiveBench(absl::string_view tenant_options);

  // Starts the agent, with `options` in its agent.yaml besides.
  void StartAgent(absl::string_view options);
  void StopAgent() { agent_.reset(); }
  // Runs a script of the bench's folder on the machine, measured.
  void RunOnMachine(const std::string& script);
  // What the agent's last run has logged so far.
  std::string AgentLog() const;

  CommandResult Tenant(const std::vector<std::string>& arguments,
                       const CommandOptions& options = {}) const;
  // A word a blank.
  CommandResult TenantLine(absl::string_view line) const;

  std::string Path(const std::string& name) const { return folder_ / name; }

 private:
  TemporaryFolder folder_;
  std::unique_ptr<SwTpm> tpm_;
  std::unique_ptr<Server> verifier_;
  std::unique_ptr<Server> agent_;
  std::string attest_port_;
  int agent_runs_ = 0;
};

// True once `holds` is, false if it never is within a minute.
bool Await(const std::function<bool()>& holds);

}  // namespace cupel::testing

#endif  // CUPEL_TESTS_CLI_ONLINE_LIVE_H_
