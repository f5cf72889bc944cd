#ifndef CUPEL_TESTS_ORACLE_EVMCTL_H_
#define CUPEL_TESTS_ORACLE_EVMCTL_H_

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "tests/support/temporary_folder.h"

namespace cupel::testing {

// `evmctl ima_measurement` of ima-evm-utils, which replays lists on its own.
class Evmctl {
 public:
  // Ends the process with 77, "skipped", if there is no evmctl.
  Evmctl();

  // The PCR files to compare with, from now on: bank to PCR to hex.
  void SetPcrs(
      const std::map<std::string, std::map<uint32_t, std::string>>& pcrs);

  struct Answer {
    // It says that the list gives the PCRs.
    bool matched = false;
    // It says that a template digest is not that of its data.
    bool bad_template_digest = false;
    int exit_code = 0;
    std::string output;
  };
  Answer Measure(std::span<const uint8_t> list, bool ignore_violations);

 private:
  TemporaryFolder folder_;
  std::vector<std::string> pcr_options_;
};

}  // namespace cupel::testing

#endif  // CUPEL_TESTS_ORACLE_EVMCTL_H_
