#include "agent/tpm/return_code.h"

#include <tss2/tss2_common.h>
#include <tss2/tss2_tpm2_types.h>

#include "catch2/catch.hpp"
#include "tests/support/status_matchers.h"

namespace cupel::agent {
namespace {

using ::cupel::testing::IsOk;
using ::cupel::testing::StatusIs;

TEST_CASE("return codes become statuses that say what to do") {
  struct Case {
    uint32_t code;
    absl::StatusCode status;
    const char* text;
  };
  for (const Case& c :
       {Case{0x902, absl::StatusCode::kResourceExhausted, "/dev/tpmrm0"},
        Case{0x903, absl::StatusCode::kResourceExhausted, "flushcontext"},
        Case{0x921, absl::StatusCode::kFailedPrecondition, "dictionarylockout"},
        Case{0x922, absl::StatusCode::kUnavailable, "busy"},
        Case{0x100, absl::StatusCode::kFailedPrecondition, "tpm2_startup"},
        // Format one, with and without the number of a session, a parameter.
        Case{0x9a2, absl::StatusCode::kPermissionDenied, "password"},
        Case{0x0a2, absl::StatusCode::kPermissionDenied, "password"},
        Case{0x1df, absl::StatusCode::kPermissionDenied, "another TPM"},
        Case{0x18b, absl::StatusCode::kNotFound, "no such"},
        Case{0x2c3, absl::StatusCode::kUnimplemented, "lacks"},
        // The same by way of a resource manager.
        Case{0xc0902, absl::StatusCode::kResourceExhausted, "0xc0902"},
        Case{TSS2_TCTI_RC_IO_ERROR, absl::StatusCode::kUnavailable,
             "group tss"},
        Case{0x70007, absl::StatusCode::kUnavailable, "0x70007"},
        Case{TSS2_ESYS_RC_BAD_VALUE, absl::StatusCode::kInternal, "0x7000b"},
        Case{0x1c4, absl::StatusCode::kInternal, "0x1c4"}}) {
    CAPTURE(c.code);
    CHECK_THAT(StatusFromReturnCode(c.code, "TPM2_Quote"),
               StatusIs(c.status, c.text));
    CHECK_THAT(StatusFromReturnCode(c.code, "TPM2_Quote"),
               StatusIs(c.status, "TPM2_Quote: "));
  }
  CHECK_THAT(StatusFromReturnCode(0, "TPM2_Quote"), IsOk());
}

TEST_CASE("only a TPM that asks for it is tried again") {
  for (const uint32_t code :
       {0x922u, 0x908u, 0x90au, 0x920u, 0x923u, 0xc0922u}) {
    CAPTURE(code);
    CHECK(IsBusy(code));
    CHECK_FALSE(BreaksContext(code));
  }
  for (const uint32_t code : {0u, 0x902u, 0x921u, 0x9a2u, 0x70007u, 0xa000au,
                              // 0x922's bits in another layer.
                              0x70922u}) {
    CAPTURE(code);
    CHECK_FALSE(IsBusy(code));
  }
}

TEST_CASE("only a lost connection makes a new one necessary") {
  for (const uint32_t code :
       {0xa000au, 0xa0008u, 0x70007u, 0x7000au, 0x80007u}) {
    CAPTURE(code);
    CHECK(BreaksContext(code));
  }
  for (const uint32_t code : {0u, 0x902u, 0x18bu, 0x7000bu, 0x9000bu}) {
    CAPTURE(code);
    CHECK_FALSE(BreaksContext(code));
  }
}

}  // namespace
}  // namespace cupel::agent
