// A machine with UEFI firmware: its event log, its PCRs, and boot_aggregate.
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "catch2/catch.hpp"
#include "common/uefi/event_log.h"
#include "common/util/bytes.h"
#include "common/util/hex.h"
#include "tests/support/status_matchers.h"
#include "tests/vm/keep.h"
#include "tests/vm/lab.h"

namespace cupel::vm {
namespace {

using ::cupel::testing::IsOk;
using ::cupel::testing::Require;

TEST_CASE("The event log of UEFI firmware explains PCR 0 to 9", "[beside]") {
  const auto lab = Require(Lab::Create());
  const std::string policy = Require(lab->MakePolicy());
  REQUIRE_THAT(lab->Boot("ima_hash=sha256 ima_template=ima-ng", {.uefi = true}),
               IsOk());
  REQUIRE_THAT(lab->LoadImaPolicy("guide.policy"), IsOk());

  const std::string bytes = Require(lab->machine().Read(
      "/sys/kernel/security/tpm0/binary_bios_measurements"));
  const auto log = uefi::ParseEventLog(AsBytes(bytes));
  REQUIRE_THAT(log.status(), IsOk());
  CHECK(log->events.size() > 10);
  const auto pcrs =
      Require(uefi::ReplayEventLog(*log, crypto::HashAlgorithm::kSha256));
  for (uint32_t pcr = 0; pcr < 10; ++pcr) {
    const std::string shown =
        Require(lab->machine().Do("read v < /sys/class/tpm/tpm0/pcr-sha256/" +
                                  std::to_string(pcr) + "; printf %s $v"));
    INFO(pcr);
    const crypto::Digest replayed =
        pcrs[pcr].value_or(crypto::Digest(crypto::HashAlgorithm::kSha256));
    CHECK(HexEncode(replayed.bytes()) == absl::AsciiStrToLower(shown));
  }

  // boot_aggregate stands in no policy: it is computed from what was quoted.
  REQUIRE_THAT(lab->Add({"--allowlist", policy}), IsOk());
  REQUIRE_THAT(lab->StartAgent(), IsOk());
  REQUIRE_THAT(lab->AwaitTrustedAgain(), IsOk());
  REQUIRE_THAT(Keep(*lab, "vm-uefi"), IsOk());
}

}  // namespace
}  // namespace cupel::vm
