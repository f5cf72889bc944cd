#include "agent/tpm/esys_context.h"

#include "agent/tpm/esys_tpm.h"
#include "catch2/catch.hpp"
#include "tests/support/status_matchers.h"

namespace cupel::agent {
namespace {

using ::cupel::testing::StatusIs;
using ::cupel::testing::StatusOf;

TEST_CASE("a busy TPM is asked again, with growing pauses") {
  int calls = 0;
  absl::Duration slept;
  const auto sleep = [&](absl::Duration pause) { slept += pause; };
  CHECK(RetryWhileBusy([&] { return ++calls < 4 ? 0x922u : 0u; }, sleep) == 0);
  CHECK(calls == 4);
  CHECK(slept == absl::Milliseconds(10 + 20 + 40));
}

TEST_CASE("a TPM that stays busy is given up on") {
  int calls = 0;
  absl::Duration slept;
  const auto sleep = [&](absl::Duration pause) { slept += pause; };
  CHECK(RetryWhileBusy([&] { return ++calls, 0x922u; }, sleep) == 0x922);
  CHECK(calls == 9);
  CHECK(slept < absl::Seconds(3));
}

TEST_CASE("any other error is not tried again") {
  int calls = 0;
  const auto sleep = [](absl::Duration) { FAIL("slept"); };
  CHECK(RetryWhileBusy([&] { return ++calls, 0x902u; }, sleep) == 0x902);
  CHECK(calls == 1);
}

TEST_CASE("a TPM that is not there is unavailable, and the cure is said") {
  SilenceTssLog();
  for (const char* tcti : {"swtpm:path=/nonexistent/socket",
                           "device:/nonexistent", "no-such-tcti:x"}) {
    CAPTURE(tcti);
    CHECK_THAT(StatusOf(EsysTpm::Open({.tcti = tcti})),
               StatusIs(absl::StatusCode::kUnavailable, tcti));
  }
}

}  // namespace
}  // namespace cupel::agent
