// The walk-through that Keylime's users know, on a real kernel.
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "catch2/catch.hpp"
#include "tests/support/status_matchers.h"
#include "tests/vm/lab.h"

namespace cupel::vm {
namespace {

using ::cupel::testing::IsOk;
using ::cupel::testing::Require;

TEST_CASE("An evil script on a real kernel fails the machine that ran it") {
  const auto lab = Require(Lab::Create());
  Lab& guide = *lab;
  REQUIRE_THAT(guide.AddScript("/root/good_script.sh", "hello world"), IsOk());
  const std::string policy = Require(guide.MakePolicy());
  REQUIRE_THAT(guide.Boot("ima_hash=sha256 ima_template=ima-ng"), IsOk());
  REQUIRE_THAT(guide.LoadImaPolicy("guide.policy"), IsOk());
  REQUIRE_THAT(guide.Add({"--allowlist", policy}), IsOk());
  REQUIRE_THAT(guide.StartAgent(), IsOk());
  REQUIRE_THAT(guide.AwaitState("TRUSTED"), IsOk());
  REQUIRE_THAT(guide.machine().Do("/root/good_script.sh").status(), IsOk());
  CHECK(guide.Tenant({"attest", kAgentId})->exit_code == 0);
  REQUIRE_THAT(guide.AwaitState("TRUSTED"), IsOk());

  REQUIRE_THAT(
      guide.machine()
          .Do("printf '#!/bin/sh\\necho evil\\n' > /root/evil_script.sh; "
              "chmod +x /root/evil_script.sh; /root/evil_script.sh")
          .status(),
      IsOk());

  REQUIRE_THAT(guide.AwaitState("FAILED"), IsOk());
  CHECK(Require(guide.Findings()) ==
        std::vector<std::string>{"ima.not_in_policy"});
  const std::string list = Require(guide.machine().Read(
      "/sys/kernel/security/ima/ascii_runtime_measurements"));
  CHECK(absl::StrContains(list, " /root/good_script.sh\n"));
  CHECK(absl::StrContains(list, " /root/evil_script.sh\n"));
  const std::string log = guide.VerifierLog();
  CHECK(absl::StrContains(log, "Checking IMA measurement list..."));
  CHECK(absl::StrContains(log,
                          "File not found in allowlist: /root/evil_script.sh"));
  CHECK(absl::StrContains(log, "IMA ERRORS: template-hash 0 fnf 1 hash 0"));
  CHECK(absl::StrContains(log, absl::StrCat("agent ", kAgentId)));
}

}  // namespace
}  // namespace cupel::vm
