#ifndef CUPEL_TESTS_SUPPORT_TPM_RELAY_H_
#define CUPEL_TESTS_SUPPORT_TPM_RELAY_H_

#include <atomic>
#include <mutex>
#include <string>
#include <thread>

#include "absl/status/status.h"

namespace cupel::testing {

// Stands between QEMU and swtpm on swtpm's control channel, which takes one
// client alone, and has a word there itself.
class TpmRelay {
 public:
  // Listens at `front` until it is destroyed, and passes one client on to
  // `back`. Ends the process where it can't listen.
  TpmRelay(const std::string& front, std::string back);
  ~TpmRelay();
  TpmRelay(const TpmRelay&) = delete;
  TpmRelay& operator=(const TpmRelay&) = delete;

  // Takes the TPM's power away and gives it back, without the machine's: it
  // waits for TPM2_Startup then. kUnavailable without a TPM, kInternal if swtpm
  // refuses.
  absl::Status PowerCycle();

 private:
  void Serve();
  // Passes on what there is; false at the end.
  bool PassOn(int from, int to);

  const std::string back_path_;
  const int listener_;
  std::atomic<bool> ending_ = false;
  std::mutex mutex_;  // guards what follows
  int front_ = -1;
  int back_ = -1;
  std::thread serving_;
};

}  // namespace cupel::testing

#endif  // CUPEL_TESTS_SUPPORT_TPM_RELAY_H_
