// A kernel that is entered by kexec: the TPM remembers, the list doesn't.
#include <string>
#include <vector>

#include "catch2/catch.hpp"
#include "tests/support/status_matchers.h"
#include "tests/vm/keep.h"
#include "tests/vm/lab.h"

namespace cupel::vm {
namespace {

using ::cupel::testing::IsOk;
using ::cupel::testing::Require;

TEST_CASE("History lost by kexec is no trust, and a reboot is its cure",
          "[beside]") {
  const auto lab = Require(Lab::Create());
  for (const char* name : {"vmlinuz", "initramfs"}) {
    const std::string from =
        name == std::string("vmlinuz") ? "kernel/vmlinuz" : "initramfs";
    REQUIRE(Require(testing::RunCommand({"install", "-D", ImagePath(from),
                                         lab->RootPath("/boot/") + name}))
                .exit_code == 0);
  }
  const std::string policy = Require(lab->MakePolicy());
  REQUIRE_THAT(
      lab->Boot("ima_hash=sha256 ima_template=ima-ng", {.reboots = true}),
      IsOk());
  REQUIRE_THAT(lab->LoadImaPolicy("guide.policy"), IsOk());
  REQUIRE_THAT(lab->Add({"--allowlist", policy}), IsOk());
  REQUIRE_THAT(lab->StartAgent(), IsOk());
  REQUIRE_THAT(lab->AwaitTrustedAgain(), IsOk());

  REQUIRE_THAT(lab->machine()
                   .Do("kexec -s -l /boot/vmlinuz --initrd=/boot/initramfs "
                       "--command-line=\"$(cat /proc/cmdline)\"")
                   .status(),
               IsOk());
  REQUIRE_THAT(lab->machine().Send("sync; kexec -e"), IsOk());
  REQUIRE_THAT(lab->machine().WaitUntilReady(), IsOk());
  REQUIRE_THAT(lab->LoadImaPolicy("guide.policy"), IsOk());
  REQUIRE_THAT(lab->StartAgent(), IsOk());
  REQUIRE_THAT(lab->AwaitState("FAILED"), IsOk());
  CHECK(Require(lab->Findings()) ==
        std::vector<std::string>{"ima.history_lost"});
  REQUIRE_THAT(Keep(*lab, "vm-kexec"), IsOk());

  // Without the reboot, another chance is none.
  REQUIRE(Require(lab->Tenant({"reactivate", kAgentId})).exit_code == 0);
  REQUIRE_THAT(lab->AwaitState("FAILED"), IsOk());

  REQUIRE_THAT(lab->machine().Send("sync; reboot -f"), IsOk());
  REQUIRE_THAT(lab->machine().WaitUntilReady(), IsOk());
  REQUIRE_THAT(lab->LoadImaPolicy("guide.policy"), IsOk());
  REQUIRE_THAT(lab->StartAgent(), IsOk());
  REQUIRE(Require(lab->Tenant({"reactivate", kAgentId})).exit_code == 0);
  REQUIRE_THAT(lab->AwaitState("TRUSTED"), IsOk());
}

}  // namespace
}  // namespace cupel::vm
