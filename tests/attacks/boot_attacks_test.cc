// Attacks on boots, clocks and histories.
#include <cstdint>
#include <string>
#include <vector>

#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "tests/support/evidence_builder.h"
#include "tests/support/real_lists.h"

namespace cupel {
namespace {

using ::cupel::appraisal::Appraisal;
using ::cupel::appraisal::Progress;
using ::cupel::appraisal::Verdict;
using ::cupel::crypto::Digest;
using ::cupel::crypto::HashAlgorithm;
using ::cupel::testing::FakeMachine;
using ::cupel::testing::FileDigestOf;
using ::cupel::testing::FindFinding;
using ::cupel::testing::FindingIds;
using ::cupel::testing::ListBuilder;
using ::cupel::testing::ValidEvidence;
using Ids = std::vector<std::string>;

using HashAlgorithm::kSha256;

Progress Pass(const ValidEvidence& evidence) {
  const Appraisal appraisal = evidence.Appraise();
  REQUIRE(appraisal.verdict == Verdict::kPass);
  return appraisal.progress;
}

TEST_CASE("A5: counters or clock that go back") {
  FakeMachine machine;
  machine.tpm.clock_info = {
      .clock = 1'000'000, .reset_count = 41, .restart_count = 5, .safe = true};
  const Progress progress = Pass(machine.Attest());
  tpm::ClockInfo& clock = machine.tpm.clock_info;
  SECTION("clock") { clock.clock -= 1; }
  SECTION("resets") { clock.reset_count -= 1; }
  SECTION("resets, to zero") { clock.reset_count = 0; }
  SECTION("restarts") { clock.restart_count -= 1; }
  SECTION("clock, with a restart") {
    clock.clock -= 1;
    clock.restart_count += 1;
  }
  ValidEvidence evidence = machine.Attest();
  evidence.progress = progress;
  const Appraisal appraisal = evidence.Appraise();
  CHECK(FindFinding(appraisal, "tpm.clone_suspected") != nullptr);
  CHECK(appraisal.verdict == Verdict::kFail);
  CHECK(appraisal.progress.clock_info == progress.clock_info);
}

TEST_CASE("A5: an old boot's evidence in a new one") {
  FakeMachine machine;
  machine.Run("/usr/bin/before");
  const ValidEvidence old_boot = machine.Attest();
  machine.Reboot();
  machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
  ValidEvidence evidence = machine.Attest();
  evidence.progress = Pass(old_boot);
  SECTION("its list") {
    evidence.list = old_boot.list;
    CHECK(FindFinding(evidence.Appraise(), "ima.history_lost") != nullptr);
  }
  SECTION("its list and values") {
    evidence.list = old_boot.list;
    evidence.pcrs = old_boot.pcrs;
    CHECK(FindFinding(evidence.Appraise(), "quote.pcr_digest") != nullptr);
  }
  SECTION("its quote") {
    evidence.list = old_boot.list;
    evidence.pcrs = old_boot.pcrs;
    evidence.quote = old_boot.quote;
    evidence.nonce.back() ^= 1;  // each challenge has its own
    CHECK(FindFinding(evidence.Appraise(), "quote.nonce") != nullptr);
  }
  SECTION("its list's rest, as if there had been no boot") {
    evidence.first_entry = evidence.progress.entry_count;
    evidence.list.clear();
    CHECK(FindFinding(evidence.Appraise(), "ima.list_start") != nullptr);
  }
  CHECK(evidence.Appraise().verdict != Verdict::kPass);
}

TEST_CASE("A26: another kernel, command line or boot loader") {
  FakeMachine machine;
  const policy::BootRule approved = machine.Attest().reference.boot_rule;
  for (uint32_t pcr = 0; pcr < 10; ++pcr) {
    FakeMachine other = machine;
    other.SetBootPcr(pcr, "something else");
    other.StartList();
    ValidEvidence evidence = other.Attest();
    evidence.reference.boot_rule = approved;
    CHECK(FindingIds(evidence.Appraise()) == Ids{"boot.pcr_mismatch"});
    // The list of the approved boot does not fit.
    evidence.list = machine.list.bytes();
    CHECK(FindFinding(evidence.Appraise(), "ima.history_lost") != nullptr);
  }
}

TEST_CASE("A26: IMA switched off") {
  FakeMachine machine;
  const std::vector<uint8_t> list = machine.list.bytes();
  machine.list = ListBuilder();
  ValidEvidence evidence = machine.Attest();
  SECTION("and nothing shown") {}
  SECTION("and an old list shown") { evidence.list = list; }
  const Appraisal appraisal = evidence.Appraise();
  CHECK(FindingIds(appraisal) == Ids{"ima.boot_aggregate_missing"});
  CHECK(appraisal.counts.good == 0);
  CHECK(appraisal.verdict == Verdict::kFail);
}

TEST_CASE("A26: IMA that started without a TPM") {
  FakeMachine machine;
  machine.list = ListBuilder();
  machine.list.AddFile("boot_aggregate", Digest(kSha256));
  machine.policy.digests["boot_aggregate"] = {Digest(kSha256)};
  CHECK(FindingIds(machine.Attest().Appraise()) ==
        Ids{"ima.boot_aggregate_zero"});
}

TEST_CASE(
    "A26: a machine whose IMA policy is not the one that it should load") {
  const std::string path = "/etc/ima/ima-policy";
  FakeMachine machine;
  FakeMachine loaded = machine;
  loaded.Run(path).Run("/usr/bin/later");
  const policy::BootRule boot = loaded.Attest().reference.boot_rule;
  const auto appraise = [&](const FakeMachine& shown) {
    ValidEvidence evidence = shown.Attest();
    evidence.reference.ima_policies = {"/etc/ima/other", path};
    evidence.reference.tolerate_violations = true;
    return evidence.Appraise();
  };
  REQUIRE(FindingIds(appraise(loaded)).empty());

  machine.policy = loaded.policy;
  Ids expected = {"ima.policy_unproven"};
  Verdict verdict = Verdict::kUndecided;
  SECTION("none at all") {}
  SECTION("another one in its place") {
    machine.list.AddFile(path, FileDigestOf("dont_measure"));
    expected.insert(expected.begin(), "ima.digest_mismatch");
    verdict = Verdict::kFail;
  }
  SECTION("one that only an exclude clears") {
    machine.policy.excludes = {"/etc/ima/.*"};
    machine.list.AddFile("/etc/ima/other", FileDigestOf("dont_measure"));
  }
  SECTION("its digest, under another name") {
    machine.list.AddFile("/etc/ima/ima-policy.old",
                         machine.policy.digests[path].front());
    machine.policy.digests["/etc/ima/ima-policy.old"] =
        machine.policy.digests[path];
  }
  SECTION("a violation of its name") {
    machine.list.AddViolation(path);
    expected.insert(expected.begin(), "ima.violation");
  }
  SECTION("a buffer of its name") {
    machine.policy.buffers[path] = {
        crypto::Hash(kSha256, AsBytes("dont_measure"))};
    machine.list.AddBuffer(path, AsBytes("dont_measure"));
  }
  SECTION("before a kexec, whose kernel has loaded none") {
    machine.Run(path);
    machine.list.AddFile("boot_aggregate", machine.BootAggregate(kSha256));
    expected.insert(expected.begin(), "boot.kexec");
    verdict = Verdict::kFail;
  }
  SECTION("on a PCR that anybody can reset") {
    machine.quoted_pcrs |= uint32_t{1} << 16;
    machine.list_pcrs = {10, 16};
    machine.Run(path, 16);
    expected.insert(expected.begin(), "ima.pcr_resettable");
    verdict = Verdict::kFail;
  }
  const Appraisal appraisal = appraise(machine);
  CHECK(FindingIds(appraisal) == expected);
  CHECK(appraisal.verdict == verdict);
  CHECK_FALSE(appraisal::IsAcceptable("ima.policy_unproven"));
}

TEST_CASE("A26: an IMA policy in a record that was touched") {
  FakeMachine machine;
  machine.Run("/etc/ima/ima-policy");
  ValidEvidence evidence = machine.Attest();
  evidence.reference.ima_policies = {"/etc/ima/ima-policy"};
  // Its digest column, which no PCR covers.
  evidence.list[machine.list.offsets().back() + 4] ^= 1;
  CHECK(FindingIds(evidence.Appraise()) ==
        Ids{"ima.template_digest", "ima.policy_unproven"});
}

TEST_CASE("A26: an IMA policy that no quote covers yet") {
  FakeMachine machine;
  machine.policy.digests["/etc/ima/ima-policy"] = {FileDigestOf("measure")};
  ValidEvidence evidence = machine.Attest();
  evidence.reference.ima_policies = {"/etc/ima/ima-policy"};
  machine.list.AddFile("/etc/ima/ima-policy", FileDigestOf("measure"));
  evidence.list = machine.list.bytes();
  CHECK(FindingIds(evidence.Appraise()) == Ids{"ima.policy_unproven"});
}

TEST_CASE(
    "A26: any boot is accepted only where that was said, and the verdict "
    "names it") {
  FakeMachine machine;
  ValidEvidence evidence = machine.Attest();
  evidence.reference.boot_rule = policy::AnyBoot{};
  CHECK(FindFinding(evidence.Appraise(), "boot.any") != nullptr);
}

TEST_CASE("A26: kexec into another kernel, which goes on with the list") {
  FakeMachine machine;
  machine.Run("/etc/ima/ima-policy");
  const policy::BootRule approved = machine.Attest().reference.boot_rule;
  const auto judge = [&](const policy::BootRule& rule,
                         const Progress& progress) {
    ValidEvidence evidence = machine.Attest();
    evidence.reference.ima_policies = {"/etc/ima/ima-policy"};
    evidence.reference.boot_rule = rule;
    evidence.progress = progress;
    evidence.first_entry = progress.entry_count;
    evidence.list.erase(evidence.list.begin(),
                        evidence.list.begin() +
                            static_cast<std::ptrdiff_t>(progress.byte_offset));
    return evidence.Appraise();
  };
  const Progress approved_before = judge(approved, {}).progress;
  const Progress any_before = judge(policy::AnyBoot{}, {}).progress;
  REQUIRE(approved_before.entry_count == 5);
  REQUIRE(any_before.entry_count == 5);

  machine.list.AddFile("boot_aggregate", machine.BootAggregate(kSha256));
  const Appraisal whole = judge(approved, {});
  CHECK(FindingIds(whole) == Ids{"boot.kexec", "ima.policy_unproven"});
  CHECK(whole.verdict == Verdict::kFail);
  CHECK(whole.findings[0].entry_index == 5U);
  CHECK(FindingIds(judge(approved, approved_before)) == FindingIds(whole));
  CHECK(appraisal::IsAcceptable("boot.kexec"));

  // Where any kernel may run, this one has to load its policy all the same.
  const Appraisal unproven = judge(policy::AnyBoot{}, any_before);
  CHECK(FindingIds(unproven) ==
        Ids{"boot.any", "boot.kexec", "ima.policy_unproven"});
  CHECK(unproven.verdict == Verdict::kUndecided);
  machine.Run("/etc/ima/ima-policy");
  const Appraisal any = judge(policy::AnyBoot{}, any_before);
  CHECK(FindingIds(any) == Ids{"boot.any", "boot.kexec"});
  REQUIRE(any.verdict == Verdict::kPass);
  // What passed so is of no use where the boot is judged.
  CHECK(FindingIds(judge(approved, any.progress)) == Ids{"ima.list_start"});
}

TEST_CASE("A26: kexec into another kernel, which starts a new list") {
  const testing::RealList& list = testing::RealListNamed("kexec-second-kernel");
  ValidEvidence evidence;
  evidence.list = list.binary;
  for (uint32_t pcr = 0; pcr < 24; ++pcr) {
    REQUIRE(evidence.pcrs.Set(pcr, *list.Pcr(kSha256, pcr)).ok());
  }
  evidence.reference.policy = testing::MakePolicy({.excludes = {"/.*"}});
  evidence.reference.lab = true;
  const Appraisal appraisal = evidence.Appraise();
  CHECK(FindFinding(appraisal, "ima.history_lost") != nullptr);
  CHECK(appraisal.verdict == Verdict::kFail);
}

TEST_CASE("A27: the TPM was restarted, and another history put in") {
  FakeMachine machine;
  machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
  machine.policy.digests["/tmp/evil"] = {FileDigestOf("evil")};
  const Progress progress = Pass(machine.Attest());
  ++machine.tpm.clock_info.restart_count;
  machine.StartList();
  machine.policy.digests.erase("/tmp/evil");
  for (int i = 0; i < 4; ++i) machine.Run("/usr/bin/clean");
  ValidEvidence evidence = machine.Attest();
  evidence.progress = progress;
  const Appraisal appraisal = evidence.Appraise();
  CHECK(FindingIds(appraisal) == Ids{"tpm.restart", "tpm.restart_unexplained"});
  CHECK(appraisal.verdict == Verdict::kFail);
}

TEST_CASE("A27: a reset is seen, however it is dressed up") {
  FakeMachine machine;
  const Progress progress = Pass(machine.Attest());
  machine.tpm.clock_info.reset_count += 3;
  ValidEvidence evidence = machine.Attest();
  evidence.progress = progress;
  const Appraisal appraisal = evidence.Appraise();
  REQUIRE(FindingIds(appraisal) == Ids{"tpm.new_boot"});
  CHECK_THAT(appraisal.findings[0].detail, Catch::Contains("3 times"));
}

TEST_CASE("A30: PCR 10 extended by hand is no excuse") {
  FakeMachine machine;
  machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
  ValidEvidence before = FakeMachine().Attest();
  const Progress progress = Pass(before);
  Digest pcr = machine.list.Pcr(kSha256);
  crypto::ExtendPcr(pcr, FileDigestOf("noise").bytes());
  machine.list_pcrs.clear();
  machine.pcrs[{kSha256, 10}] = pcr;
  ValidEvidence evidence = machine.Attest();
  evidence.progress = progress;
  for (int attempt = 0; attempt < 2; ++attempt) {
    const Appraisal appraisal = evidence.Appraise();
    CHECK(FindFinding(appraisal, "ima.history_lost") != nullptr);
    // What is known to be bad is still shown.
    CHECK(FindFinding(appraisal, "ima.not_in_policy") != nullptr);
    CHECK(appraisal.verdict == Verdict::kFail);
    CHECK(appraisal.progress.entry_count == progress.entry_count);
    evidence.progress = appraisal.progress;
  }
}

TEST_CASE("A33: two machines that share one virtual TPM's state") {
  FakeMachine machine;
  FakeMachine clone = machine;
  machine.Run("/usr/bin/mine");
  const Progress progress = Pass(machine.Attest());
  clone.Run("/usr/bin/theirs");
  ValidEvidence evidence = clone.Attest();
  evidence.progress = progress;
  CHECK(FindFinding(evidence.Appraise(), "tpm.clone_suspected") != nullptr);
  // Or its rest alone, as if it were the first one's.
  evidence.first_entry = progress.entry_count;
  evidence.list.clear();
  CHECK(FindFinding(evidence.Appraise(), "ima.history_lost") != nullptr);
}

TEST_CASE("A33: a snapshot from before something happened") {
  FakeMachine machine;
  const FakeMachine snapshot = machine;
  machine.tpm.clock_info.clock += 5000;
  machine.Run("/usr/bin/later");
  const Progress progress = Pass(machine.Attest());
  ValidEvidence evidence = snapshot.Attest();
  evidence.progress = progress;
  const Appraisal appraisal = evidence.Appraise();
  CHECK(FindingIds(appraisal) == Ids{"tpm.clone_suspected", "ima.list_shrank"});
  CHECK(appraisal.verdict == Verdict::kFail);
}

TEST_CASE("A33: a change of policy hides no clone") {
  FakeMachine machine;
  FakeMachine clone = machine;
  machine.Run("/usr/bin/mine");
  const Progress progress = Pass(machine.Attest());
  clone.Run("/usr/bin/theirs");
  clone.policy.content_id = "policy-2";
  ValidEvidence evidence = clone.Attest();
  evidence.progress = progress;
  CHECK(FindFinding(evidence.Appraise(), "tpm.clone_suspected") != nullptr);
}

TEST_CASE(
    "A36: entries on PCRs that anybody can reset, or that belong to the "
    "boot") {
  for (const uint32_t pcr : {0U, 7U, 9U, 16U, 17U, 22U, 23U}) {
    FakeMachine machine;
    machine.Run("/usr/bin/elsewhere", pcr);
    machine.Run("/usr/bin/last");
    if (pcr > 10) {
      machine.quoted_pcrs |= uint32_t{1} << pcr;
      machine.list_pcrs.push_back(pcr);
    }
    const Appraisal appraisal = machine.Attest().Appraise();
    INFO(pcr);
    CHECK(FindFinding(appraisal, pcr < 10 ? "ima.pcr_reserved"
                                          : "ima.pcr_resettable") != nullptr);
    CHECK(appraisal.verdict == Verdict::kFail);
  }
}

TEST_CASE("A36: a PCR of the boot extended after it") {
  for (uint32_t pcr = 0; pcr < 10; ++pcr) {
    FakeMachine machine;
    const Progress progress = Pass(machine.Attest());
    machine.SetBootPcr(pcr, "extended at run time");
    ValidEvidence evidence = machine.Attest();
    evidence.reference.boot_rule = policy::AnyBoot{};
    evidence.progress = progress;
    for (const bool whole_list : {true, false}) {
      if (!whole_list) {
        evidence.first_entry = progress.entry_count;
        evidence.list.clear();
      }
      const Appraisal appraisal = evidence.Appraise();
      CHECK(FindFinding(appraisal, "pcr.changed_after_boot") != nullptr);
      CHECK(appraisal.verdict == Verdict::kFail);
    }
  }
}

}  // namespace
}  // namespace cupel
