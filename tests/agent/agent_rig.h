// cupel-agent as its users start it, with a certified software TPM without a
// resource manager, an emulated kernel, and a verifier that checks.
#ifndef CUPEL_TESTS_AGENT_AGENT_RIG_H_
#define CUPEL_TESTS_AGENT_AGENT_RIG_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "catch2/catch.hpp"
#include "tests/agent/checking_verifier.h"
#include "tests/support/run_command.h"
#include "tests/support/swtpm.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/test_pki.h"

namespace cupel::agent {

class AgentRig {
 public:
  // Skips the test where swtpm or tpm2-tools are not installed.
  AgentRig();

  // Of the agent's configuration, beside what is there: KEY: VALUE.
  void Set(const std::string& key, const std::string& value);

  // The program's command line.
  std::vector<std::string> Command(const std::vector<std::string>& arguments);
  testing::CommandResult Run(const std::vector<std::string>& arguments);
  // Starts `run`; its output is appended to Log().
  std::unique_ptr<testing::Server> Start();
  std::string Log() const;
  bool WaitForLog(const std::string& text) const;

  // Writes a program that says `text`, and has the emulated kernel measure and
  // run it.
  void Measure(const std::string& text);
  // The command that does so.
  std::vector<std::string> MeasureCommand(const std::string& text);

  std::string Path(const std::string& name) const { return folder_ / name; }
  testing::SwTpm& tpm() { return *tpm_; }
  CheckingVerifier& verifier() { return verifier_; }
  const testing::TestCa& ca() const { return ca_; }

 private:
  void WriteConfig();

  const testing::TemporaryFolder folder_;
  const testing::TestCa ca_;
  std::unique_ptr<testing::SwTpm> tpm_;
  CheckingVerifier verifier_;
  std::map<std::string, std::string> settings_;
};

}  // namespace cupel::agent

namespace Catch {

template <>
struct StringMaker<cupel::testing::CommandResult> {
  static std::string convert(const cupel::testing::CommandResult& result) {
    return "exit code " + std::to_string(result.exit_code) + "\n--- output\n" +
           result.out + "\n--- errors\n" + result.err;
  }
};

}  // namespace Catch

#endif  // CUPEL_TESTS_AGENT_AGENT_RIG_H_
