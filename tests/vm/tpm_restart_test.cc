// A TPM that is restarted while its machine runs on: the PCRs are zero again
// and can be extended to anything, and resetCount is what it was.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "common/crypto/digest.h"
#include "common/ima/entry.h"
#include "common/ima/list_parser.h"
#include "common/uefi/event_log.h"
#include "common/util/bytes.h"
#include "tests/support/status_matchers.h"
#include "tests/vm/lab.h"

namespace cupel::vm {
namespace {

using ::cupel::testing::IsOk;
using ::cupel::testing::Require;

constexpr auto kSha256 = crypto::HashAlgorithm::kSha256;
constexpr char kList[] = "/sys/kernel/security/ima/binary_runtime_measurements";
constexpr char kEventLog[] =
    "/sys/kernel/security/tpm0/binary_bios_measurements";

std::unique_ptr<Lab> TrustedLab() {
  auto lab = Require(Lab::Create());
  const std::string policy = Require(lab->MakePolicy());
  REQUIRE_THAT(
      lab->Boot("ima_hash=sha256 ima_template=ima-ng", {.tpm_power = true}),
      IsOk());
  REQUIRE_THAT(lab->LoadImaPolicy("guide.policy"), IsOk());
  REQUIRE_THAT(lab->Add({"--allowlist", policy}), IsOk());
  REQUIRE_THAT(lab->StartAgent(), IsOk());
  REQUIRE_THAT(lab->AwaitTrustedAgain(), IsOk());
  return lab;
}

// TPM2_Shutdown(STATE), power off and on, TPM2_Startup(CLEAR).
void RestartTpm(Lab& lab) {
  REQUIRE_THAT(lab.SendToTpm({{0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x45, 0, 1}}),
               IsOk());
  REQUIRE_THAT(lab.machine().PowerCycleTpm(), IsOk());
  REQUIRE_THAT(lab.SendToTpm({{0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0}}),
               IsOk());
}

// Extends PCR 0 to 9 by the firmware's event log.
void ExtendAsFirmware(Lab& lab) {
  const std::string bytes = Require(lab.machine().Read(kEventLog));
  const uefi::EventLog log = Require(uefi::ParseEventLog(AsBytes(bytes)));
  std::vector<std::vector<uint8_t>> commands;
  for (const uefi::Event& event : log.events) {
    const crypto::Digest* const digest = event.FindDigest(kSha256);
    if (event.type == uefi::EventType::kNoAction || digest == nullptr) continue;
    commands.push_back(PcrExtendCommand(event.pcr, *digest));
  }
  REQUIRE_THAT(lab.SendToTpm(commands), IsOk());
}

// Extends PCR 10 by a list.
void ExtendAsKernel(Lab& lab, const std::string& list) {
  std::vector<std::vector<uint8_t>> commands;
  ima::ListParser parser({});
  REQUIRE_THAT(parser.Feed(AsBytes(list),
                           [&](std::span<const ima::Entry> entries) {
                             for (const ima::Entry& entry : entries) {
                               commands.push_back(PcrExtendCommand(
                                   entry.pcr,
                                   crypto::Hash(kSha256, entry.template_data)));
                             }
                             return absl::OkStatus();
                           }),
               IsOk());
  REQUIRE_THAT(lab.SendToTpm(commands), IsOk());
}

// `list` without its record number `index`.
std::string Without(const std::string& list, uint64_t index) {
  std::string rest;
  ima::ListParser parser({});
  REQUIRE_THAT(parser.Feed(AsBytes(list),
                           [&](std::span<const ima::Entry> entries) {
                             for (const ima::Entry& entry : entries) {
                               if (entry.index == index) continue;
                               rest +=
                                   list.substr(entry.offset, entry.record_size);
                             }
                             return absl::OkStatus();
                           }),
               IsOk());
  return rest;
}

TEST_CASE("A TPM that is restarted without its machine is found out") {
  const auto lab = TrustedLab();
  RestartTpm(*lab);
  REQUIRE_THAT(lab->AwaitState("FAILED"), IsOk());
  const std::vector<std::string> findings = Require(lab->Findings());
  CHECK(findings == std::vector<std::string>{"pcr.bank_not_extended",
                                             "ima.boot_aggregate_missing",
                                             "tpm.restart_unexplained"});
}

TEST_CASE("What a restarted TPM is extended to must be what was judged") {
  const auto lab = TrustedLab();
  const nlohmann::json before = Require(lab->Status());

  // As it was: no different from a suspend.
  REQUIRE_THAT(lab->KillAgent(), IsOk());
  const std::string list = Require(lab->machine().Read(kList));
  RestartTpm(*lab);
  ExtendAsFirmware(*lab);
  ExtendAsKernel(*lab, list);
  REQUIRE(Require(lab->machine().Read(kList)) == list);
  REQUIRE_THAT(lab->StartAgent(), IsOk());
  REQUIRE_THAT(lab->AwaitTrustedAgain(), IsOk());
  const nlohmann::json after = Require(lab->Status());
  CHECK(after["reset_count"] == before["reset_count"]);
  CHECK(after["restart_count"] ==
        before.value("restart_count", uint64_t{0}) + 1);

  // Without an entry, in the TPM and in the list.
  REQUIRE_THAT(lab->KillAgent(), IsOk());
  const std::string forged = Without(list, 20);
  RestartTpm(*lab);
  ExtendAsFirmware(*lab);
  ExtendAsKernel(*lab, forged);
  REQUIRE_THAT(
      lab->machine()
          .Do(absl::StrCat("echo ", absl::Base64Escape(forged),
                           " | base64 -d >/run/list; printf 'ima_list: "
                           "/run/list\nima_count: \"\"\n' "
                           ">>/etc/cupel/agent.yaml"))
          .status(),
      IsOk());
  REQUIRE_THAT(lab->StartAgent(), IsOk());
  REQUIRE_THAT(lab->AwaitState("FAILED"), IsOk());
  CHECK(Require(lab->Findings()) ==
        std::vector<std::string>{"tpm.restart_unexplained"});
}

}  // namespace
}  // namespace cupel::vm
