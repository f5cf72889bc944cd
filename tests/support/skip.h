// How a test ends that can't be run here.
#ifndef CUPEL_TESTS_SUPPORT_SKIP_H_
#define CUPEL_TESTS_SUPPORT_SKIP_H_

#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <string>

#include "tests/support/run_command.h"

namespace cupel::testing {

// What ctest takes for a test that was not run (SKIP_RETURN_CODE).
inline constexpr int kSkipped = 77;

// Ends the process as skipped, since Catch2 2 knows no other way: ctest runs
// each case in one of its own. No destructor is called.
[[noreturn]] inline void Skip(const std::string& why) {
  std::printf("skipped: %s\n", why.c_str());
  std::fflush(stdout);
  std::_Exit(kSkipped);
}

// packaging/install-deps.sh has their packages.
inline void SkipUnlessInPath(std::initializer_list<const char*> programs) {
  for (const char* const program : programs) {
    if (!IsInPath(program)) Skip(std::string(program) + " is not installed");
  }
}

}  // namespace cupel::testing

#endif  // CUPEL_TESTS_SUPPORT_SKIP_H_
