// A way to a software TPM that breaks when a test wants it to.
#ifndef CUPEL_TESTS_AGENT_TPM_CUTTING_PROXY_H_
#define CUPEL_TESTS_AGENT_TPM_CUTTING_PROXY_H_

#include <atomic>
#include <string>
#include <thread>

#include "tests/support/temporary_folder.h"

namespace cupel::agent {

// Passes commands to the TPM at the Unix socket `tpm_path` and its answers
// back, one after another. Ends with this object; clients must be gone by then.
class CuttingProxy {
 public:
  explicit CuttingProxy(const std::string& tpm_path);
  ~CuttingProxy();
  CuttingProxy(const CuttingProxy&) = delete;
  CuttingProxy& operator=(const CuttingProxy&) = delete;

  // As tss2's TCTI loader takes it.
  std::string Tcti() const { return "swtpm:path=" + folder_ / "tpm"; }

  // Once `count` more commands have been answered, the TPM executes the next,
  // and its answer is lost with the connection. Once.
  void CutAfter(int count) { until_cut_ = count; }
  // True if that is still to come.
  bool armed() const { return until_cut_ >= 0; }

 private:
  void Serve();
  void ServeClient(int client);

  const std::string tpm_path_;
  const testing::TemporaryFolder folder_;
  const int listener_;
  std::atomic<int> until_cut_ = -1;
  std::atomic<bool> ending_ = false;
  std::thread thread_;  // last: it uses the others
};

}  // namespace cupel::agent

#endif  // CUPEL_TESTS_AGENT_TPM_CUTTING_PROXY_H_
