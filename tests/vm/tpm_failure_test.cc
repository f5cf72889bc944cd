// A TPM that stalls, and one that dies under the running kernel.
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "catch2/catch.hpp"
#include "tests/support/status_matchers.h"
#include "tests/vm/lab.h"

namespace cupel::vm {
namespace {

using ::cupel::testing::IsOk;
using ::cupel::testing::Require;

std::unique_ptr<Lab> TrustedLab() {
  auto lab = Require(Lab::Create());
  const std::string policy = Require(lab->MakePolicy());
  REQUIRE_THAT(lab->Boot("ima_hash=sha256 ima_template=ima-ng"), IsOk());
  REQUIRE_THAT(lab->LoadImaPolicy("guide.policy"), IsOk());
  REQUIRE_THAT(lab->Add({"--allowlist", policy}), IsOk());
  REQUIRE_THAT(lab->StartAgent(), IsOk());
  REQUIRE_THAT(lab->AwaitTrustedAgain(), IsOk());
  return lab;
}

TEST_CASE("A TPM that stalls delays attestation and loses nothing") {
  const auto lab = TrustedLab();
  REQUIRE_THAT(lab->machine().StallTpm(true), IsOk());
  // The kernel waits for the TPM within execve: so does this command.
  REQUIRE_THAT(
      lab->machine().Send("printf '#!/bin/sh\\n' > /root/late.sh; chmod +x "
                          "/root/late.sh; /root/late.sh"),
      IsOk());
  std::this_thread::sleep_for(std::chrono::seconds(6));
  const std::string stalled = Require(lab->Status()).value("state", "");
  CHECK((stalled == "TRUSTED" || stalled == "PENDING"));
  REQUIRE_THAT(lab->machine().StallTpm(false), IsOk());
  REQUIRE_THAT(lab->AwaitState("FAILED"), IsOk());
  CHECK(Require(lab->Findings()) ==
        std::vector<std::string>{"ima.not_in_policy"});
}

TEST_CASE("A machine whose TPM dies is trusted no longer, and not failed") {
  const auto lab = TrustedLab();
  REQUIRE_THAT(lab->machine().KillTpm(), IsOk());
  REQUIRE_THAT(lab->AwaitState("PENDING"), IsOk());
  CHECK(Require(lab->Findings()).empty());
}

}  // namespace
}  // namespace cupel::vm
