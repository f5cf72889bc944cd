// tpm.*, pcr.*, boot.*
#include <map>
#include <string>
#include <vector>

#include "catch2/catch.hpp"
#include "tests/support/evidence_builder.h"

namespace cupel::appraisal {
namespace {

using ::cupel::crypto::Digest;
using ::cupel::crypto::HashAlgorithm;
using ::cupel::testing::FakeMachine;
using ::cupel::testing::FileDigestOf;
using ::cupel::testing::FindFinding;
using ::cupel::testing::FindingIds;
using ::cupel::testing::ValidEvidence;
using Ids = std::vector<std::string>;

using HashAlgorithm::kSha1;
using HashAlgorithm::kSha256;
using HashAlgorithm::kSha512;

TEST_CASE("SHA-1 alone vouches for nothing unless that is allowed") {
  ValidEvidence evidence = FakeMachine({kSha1}).Attest();
  const Appraisal refused = evidence.Appraise();
  // Nor for the boot.
  Ids expected(11, "boot.pcr_missing");
  expected[0] = "pcr.bank_weak";
  CHECK(FindingIds(refused) == expected);
  CHECK(refused.verdict == Verdict::kFail);
  evidence.reference.allow_sha1_bank = true;
  const Appraisal allowed = evidence.Appraise();
  CHECK(FindingIds(allowed).empty());
  CHECK(allowed.bank == kSha1);
}

TEST_CASE("Beside a stronger bank SHA-1 has to fit as well") {
  const FakeMachine machine({kSha256, kSha1, kSha512});
  ValidEvidence evidence = machine.Attest();
  const Appraisal appraisal = evidence.Appraise();
  CHECK(FindingIds(appraisal).empty());
  CHECK(appraisal.bank == kSha512);
}

TEST_CASE("Every PCR of the list needs a bank that is strong enough") {
  FakeMachine machine({kSha256, kSha1});
  machine.Run("/usr/bin/eleven", 11);
  ValidEvidence evidence = machine.Attest();
  // PCR 11 in the SHA-1 bank alone.
  testing::FakeTpm tpm = machine.tpm;
  tpm.pcrs = evidence.pcrs;
  REQUIRE(tpm.pcrs.Set(11, machine.list.Pcr(kSha1, 11)).ok());
  evidence.selection = *tpm::PcrSelection::FromString(
      "sha256:0,1,2,3,4,5,6,7,8,9,10+sha1:0,1,2,3,4,5,6,7,8,9,10,11");
  evidence.quote = tpm.Quote(*evidence.selection, evidence.nonce);
  evidence.pcrs = tpm.pcrs;
  const Appraisal refused = evidence.Appraise();
  CHECK(FindingIds(refused) == Ids{"pcr.bank_weak"});
  CHECK(refused.findings[0].pcr == 11U);
  CHECK(refused.verdict == Verdict::kFail);
  evidence.reference.allow_sha1_bank = true;
  CHECK(FindingIds(evidence.Appraise()).empty());
}

// A kernel that extends `bank` with zero-padded SHA-1 digests.
ValidEvidence PaddedEvidence(HashAlgorithm bank) {
  FakeMachine machine({bank});
  std::vector<ima::Entry> entries;
  ima::ListParser parser({});
  auto replayer = ima::Replayer::Create({{bank, ima::BankFill::kPaddedSha1}});
  REQUIRE(replayer.ok());
  REQUIRE(parser
              .Feed(machine.list.bytes(),
                    [&](std::span<const ima::Entry> batch) {
                      replayer->Extend(batch);
                      return absl::OkStatus();
                    })
              .ok());
  machine.list_pcrs = {};
  machine.pcrs[{bank, 10}] = replayer->Value(bank, 10);
  return machine.Attest();
}

TEST_CASE(
    "A bank of padded SHA-1 digests has to be known as one, and counts "
    "as SHA-1") {
  ValidEvidence evidence = PaddedEvidence(kSha512);
  const Appraisal unknown = evidence.Appraise();
  CHECK(FindingIds(unknown) == Ids{"ima.history_lost"});
  CHECK_THAT(unknown.findings[0].detail, Catch::Contains("pads SHA-1"));
  evidence.reference.padded_sha1_banks = {kSha512};
  CHECK(FindingIds(evidence.Appraise()) == Ids{"pcr.bank_weak"});
  evidence.reference.allow_sha1_bank = true;
  CHECK(FindingIds(evidence.Appraise()).empty());
  // The permission does not make the replay guess.
  evidence.reference.padded_sha1_banks = {};
  CHECK(FindingIds(evidence.Appraise()) == Ids{"ima.history_lost"});
}

TEST_CASE("A bank that no firmware ever used fails, except in the lab") {
  FakeMachine machine;
  machine.ClearBootPcrs();
  machine.StartList();
  ValidEvidence evidence = machine.Attest();
  const Appraisal refused = evidence.Appraise();
  CHECK(FindingIds(refused) == Ids{"pcr.bank_not_extended"});
  CHECK(refused.verdict == Verdict::kFail);
  evidence.reference.lab = true;
  const Appraisal lab = evidence.Appraise();
  CHECK(FindingIds(lab) == Ids{"pcr.bank_not_extended"});
  CHECK(lab.verdict == Verdict::kPass);
}

TEST_CASE(
    "A bank of which only some firmware PCRs are quoted, all zero, was "
    "not used either") {
  FakeMachine machine;
  machine.ClearBootPcrs();
  machine.StartList();
  machine.policy.digests["boot_aggregate"] = {machine.BootAggregate(kSha256)};
  machine.quoted_pcrs = 0x401;
  ValidEvidence evidence = machine.Attest();
  evidence.reference.boot_rule = policy::AnyBoot{};
  CHECK(FindingIds(evidence.Appraise()) ==
        Ids{"pcr.bank_not_extended", "boot.any"});
}

TEST_CASE("One firmware PCR that is not zero is enough") {
  FakeMachine machine;
  machine.ClearBootPcrs();
  machine.SetBootPcr(7, "secure boot");
  machine.StartList();
  CHECK(FindingIds(machine.Attest().Appraise()).empty());
}

TEST_CASE("A bank that can't be replayed is left out, with a notice") {
  FakeMachine machine;
  ValidEvidence evidence = machine.Attest();
  testing::FakeTpm tpm = machine.tpm;
  tpm.pcrs = evidence.pcrs;
  REQUIRE(tpm.pcrs
              .Set(10, FileDigestOf("x", HashAlgorithm::kSha256).bytes().empty()
                           ? Digest()
                           : Digest(HashAlgorithm::kSm3_256))
              .ok());
  evidence.selection = *tpm::PcrSelection::FromString(
      "sha256:0,1,2,3,4,5,6,7,8,9,10+sm3_256:10");
  evidence.quote = tpm.Quote(*evidence.selection, evidence.nonce);
  evidence.pcrs = tpm.pcrs;
  const Appraisal appraisal = evidence.Appraise();
  CHECK(FindingIds(appraisal) == Ids{"pcr.bank_unsupported"});
  CHECK(appraisal.verdict == Verdict::kPass);
}

TEST_CASE("A quote without PCR 10 proves no list") {
  FakeMachine machine;
  machine.quoted_pcrs = 0x3ff;
  const Appraisal appraisal = machine.Attest().Appraise();
  CHECK(FindingIds(appraisal) == Ids{"ima.pcr_not_quoted"});
  CHECK(appraisal.findings[0].pcr == 10U);
  CHECK(appraisal.verdict == Verdict::kFail);
  CHECK(appraisal.proof == Proof::kNone);
}

TEST_CASE("The boot must be the approved one") {
  FakeMachine machine;
  const ValidEvidence before = machine.Attest();
  SECTION("pinned") {
    machine.SetBootPcr(4, "another kernel");
    machine.StartList();
    ValidEvidence evidence = machine.Attest();
    evidence.reference.boot_rule = before.reference.boot_rule;
    const Appraisal appraisal = evidence.Appraise();
    CHECK(FindingIds(appraisal) == Ids{"boot.pcr_mismatch"});
    CHECK(appraisal.verdict == Verdict::kFail);
  }
  SECTION("static values") {
    ValidEvidence evidence = before;
    policy::StaticPcrs rule;
    rule.values[4] = {FileDigestOf("pcr 4")};
    rule.mask = 1 << 4;
    evidence.reference.boot_rule = rule;
    CHECK(FindingIds(evidence.Appraise()).empty());
    rule.values[4] = {FileDigestOf("pcr 4, an update")};
    evidence.reference.boot_rule = rule;
    const Appraisal appraisal = evidence.Appraise();
    CHECK(FindingIds(appraisal) == Ids{"boot.pcr_mismatch"});
    CHECK(appraisal.findings[0].pcr == 4U);
    CHECK(appraisal.findings[0].found ==
          "sha256:" + FileDigestOf("pcr 4").Hex());
  }
}

TEST_CASE(
    "A PCR that the boot rule wants and the quote lacks is a failure; "
    "without any PCR values it is undecided") {
  FakeMachine machine;
  ValidEvidence evidence = machine.Attest();
  policy::StaticPcrs rule;
  rule.values[14] = {FileDigestOf("MOK")};
  rule.mask = 1 << 14;
  evidence.reference.boot_rule = rule;
  const Appraisal quoted = evidence.Appraise();
  CHECK(FindingIds(quoted) == Ids{"boot.pcr_missing"});
  CHECK(quoted.verdict == Verdict::kFail);

  evidence.quote.reset();
  evidence.pcrs = {};
  const Appraisal bare = evidence.Appraise();
  CHECK(FindingIds(bare) ==
        Ids{"boot.pcr_missing", "ima.boot_aggregate_unproven"});
  CHECK(bare.verdict == Verdict::kUndecided);
}

TEST_CASE("A rule that allows PCRs any value accepts any boot") {
  ValidEvidence evidence = FakeMachine().Attest();
  policy::StaticPcrs rule;
  rule.mask = 1 << 4;
  evidence.reference.boot_rule = rule;
  CHECK(FindingIds(evidence.Appraise()) == Ids{"boot.any"});
}

TEST_CASE("A SHA-1 value proves no boot beside a stronger bank either") {
  ValidEvidence evidence = FakeMachine({kSha256, kSha1}).Attest();
  policy::StaticPcrs rule;
  rule.values[4] = {FileDigestOf("pcr 4", kSha1)};
  rule.mask = 1 << 4;
  evidence.reference.boot_rule = rule;
  CHECK(FindingIds(evidence.Appraise()) == Ids{"boot.pcr_missing"});
  evidence.reference.allow_sha1_bank = true;
  CHECK(FindingIds(evidence.Appraise()).empty());
}

TEST_CASE("Any boot is accepted only with a notice") {
  ValidEvidence evidence = FakeMachine().Attest();
  evidence.reference.boot_rule = policy::AnyBoot{};
  const Appraisal appraisal = evidence.Appraise();
  CHECK(FindingIds(appraisal) == Ids{"boot.any"});
  CHECK(appraisal.verdict == Verdict::kPass);
}

// Boots and clocks.

TEST_CASE("Counters that go back mean a copied or rolled-back TPM") {
  FakeMachine machine;
  machine.tpm.clock_info = {
      .clock = 5000, .reset_count = 7, .restart_count = 3, .safe = true};
  const Appraisal first = machine.Attest().Appraise();
  REQUIRE(first.verdict == Verdict::kPass);
  REQUIRE(first.progress.clock_info == machine.tpm.clock_info);
  machine.Run("/usr/bin/later");
  Ids expected{"tpm.clone_suspected"};
  SECTION("the clock") { machine.tpm.clock_info.clock = 4999; }
  SECTION("the reset count") {
    machine.tpm.clock_info.reset_count = 6;
    expected.push_back("tpm.new_boot");
  }
  SECTION("the restart count") {
    machine.tpm.clock_info.restart_count = 2;
    expected.push_back("tpm.restart");
  }
  ValidEvidence evidence = machine.Attest();
  evidence.progress = first.progress;
  const Appraisal appraisal = evidence.Appraise();
  CHECK(FindingIds(appraisal) == expected);
  CHECK(appraisal.verdict == Verdict::kFail);
  CHECK(appraisal.progress.entry_count == first.progress.entry_count);
}

TEST_CASE("PCR 0 to 9 must not change within a boot") {
  FakeMachine machine;
  const Appraisal first = machine.Attest().Appraise();
  REQUIRE(first.verdict == Verdict::kPass);
  machine.SetBootPcr(8, "extended later");
  ValidEvidence evidence = machine.Attest();
  evidence.progress = first.progress;
  const uint64_t known = first.progress.entry_count;
  evidence.first_entry = known;
  evidence.list.clear();
  Appraisal appraisal = evidence.Appraise();
  CHECK(FindingIds(appraisal) == Ids{"pcr.changed_after_boot"});
  CHECK(appraisal.verdict == Verdict::kFail);
  CHECK(appraisal.findings[0].pcr == 8U);
  CHECK(appraisal.findings[0].expected ==
        "sha256:" + FileDigestOf("pcr 8").Hex());
  CHECK(appraisal.findings[0].found ==
        "sha256:" + FileDigestOf("extended later").Hex());

  // After a reboot they may.
  machine.Reboot();
  evidence = machine.Attest();
  evidence.progress = first.progress;
  appraisal = evidence.Appraise();
  CHECK(FindingIds(appraisal) == Ids{"tpm.new_boot"});
  CHECK(appraisal.verdict == Verdict::kPass);
}

TEST_CASE("A PCR that one quote leaves out is remembered for the next") {
  FakeMachine machine;
  ValidEvidence evidence = machine.Attest();
  evidence.reference.boot_rule = policy::AnyBoot{};
  Progress progress = evidence.Appraise().progress;

  machine.quoted_pcrs &= ~(1U << 8);
  evidence = machine.Attest();
  evidence.reference.boot_rule = policy::AnyBoot{};
  evidence.progress = progress;
  evidence.first_entry = progress.entry_count;
  evidence.list.clear();
  Appraisal appraisal = evidence.Appraise();
  REQUIRE(FindingIds(appraisal) == Ids{"boot.any"});
  progress = appraisal.progress;

  machine.quoted_pcrs |= 1U << 8;
  machine.SetBootPcr(8, "extended in between");
  evidence = machine.Attest();
  evidence.reference.boot_rule = policy::AnyBoot{};
  evidence.progress = progress;
  evidence.first_entry = progress.entry_count;
  evidence.list.clear();
  CHECK(FindFinding(evidence.Appraise(), "pcr.changed_after_boot") != nullptr);
}

}  // namespace
}  // namespace cupel::appraisal
