// The list as a whole: ima.list_*, ima.history_lost, ima.pcr_*, and which
// entries are judged.
#include <algorithm>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/match.h"
#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "tests/support/evidence_builder.h"

namespace cupel::appraisal {
namespace {

using ::cupel::crypto::Digest;
using ::cupel::crypto::HashAlgorithm;
using ::cupel::testing::FakeMachine;
using ::cupel::testing::FileDigestOf;
using ::cupel::testing::FindFinding;
using ::cupel::testing::FindingIds;
using ::cupel::testing::ListBuilder;
using ::cupel::testing::ValidEvidence;
using Ids = std::vector<std::string>;

using HashAlgorithm::kSha1;
using HashAlgorithm::kSha256;

TEST_CASE(
    "A list that the PCR does not explain is lost history, and every "
    "entry is judged all the same") {
  FakeMachine machine;
  machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
  ValidEvidence evidence = machine.Attest();
  evidence.list[machine.list.offsets()[1] + 70] ^= 1;  // in template_data
  const Appraisal appraisal = evidence.Appraise();
  CHECK(FindingIds(appraisal) == Ids{"ima.template_digest",
                                     "ima.digest_mismatch", "ima.not_in_policy",
                                     "ima.history_lost"});
  for (const Finding& finding : appraisal.findings) {
    CHECK_FALSE(finding.authenticated);
  }
  CHECK(appraisal.counts.entries == 5);
  CHECK(appraisal.proof == Proof::kNone);
  const Finding& lost = appraisal.findings.back();
  CHECK(lost.pcr == 10U);
  CHECK(lost.expected == "sha256:" + machine.list.Pcr(kSha256).Hex());
  CHECK_THAT(lost.detail, Catch::Contains("kexec") &&
                              Catch::Contains("extended PCR 10 by hand"));
}

TEST_CASE("Entries left out anywhere lose the history") {
  FakeMachine machine;
  const ValidEvidence valid = machine.Attest();
  const auto& offsets = machine.list.offsets();
  for (size_t i = 0; i < machine.list.size(); ++i) {
    ValidEvidence evidence = valid;
    const size_t end =
        i + 1 < offsets.size() ? offsets[i + 1] : evidence.list.size();
    evidence.list.erase(
        evidence.list.begin() + static_cast<std::ptrdiff_t>(offsets[i]),
        evidence.list.begin() + static_cast<std::ptrdiff_t>(end));
    const Appraisal appraisal = evidence.Appraise();
    CHECK(FindFinding(appraisal, "ima.history_lost") != nullptr);
    CHECK(appraisal.verdict == Verdict::kFail);
  }
}

TEST_CASE(
    "A malformed record is undecided, and what stands before it is "
    "judged") {
  FakeMachine machine;
  machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
  const ValidEvidence valid = machine.Attest();
  SECTION("behind what the PCR explains") {
    ValidEvidence evidence = valid;
    evidence.list.push_back(0);
    const Appraisal appraisal = evidence.Appraise();
    CHECK(FindingIds(appraisal) ==
          Ids{"ima.not_in_policy", "ima.list_malformed"});
    CHECK(appraisal.findings[0].authenticated);
    CHECK(appraisal.findings[1].severity == Severity::kUndecided);
    CHECK(appraisal.verdict == Verdict::kFail);
  }
  SECTION("it alone") {
    FakeMachine good;
    ValidEvidence evidence = good.Attest();
    evidence.list.push_back(0);
    const Appraisal appraisal = evidence.Appraise();
    CHECK(FindingIds(appraisal) == Ids{"ima.list_malformed"});
    CHECK(appraisal.verdict == Verdict::kUndecided);
    CHECK_FALSE(appraisal.progress.replayer.has_value());
  }
  SECTION("before the end of what the PCR explains") {
    ValidEvidence evidence = valid;
    evidence.list.pop_back();
    const Appraisal appraisal = evidence.Appraise();
    CHECK(FindingIds(appraisal) == Ids{"ima.list_malformed"});
    CHECK(appraisal.counts.entries == 4);
    CHECK(appraisal.verdict == Verdict::kUndecided);
    CHECK(appraisal.proof == Proof::kNone);
  }
}

TEST_CASE(
    "Nothing is said of an IMA policy behind a record that makes no sense") {
  ValidEvidence evidence = FakeMachine().Attest();
  evidence.reference.ima_policies = {"/etc/ima/ima-policy"};
  REQUIRE(FindingIds(evidence.Appraise()) == Ids{"ima.policy_unproven"});
  evidence.list.pop_back();
  CHECK(FindingIds(evidence.Appraise()) == Ids{"ima.list_malformed"});
}

TEST_CASE("A template digest size that no list has is undecided") {
  ValidEvidence evidence = FakeMachine().Attest();
  evidence.template_digest_size = 21;
  const Appraisal appraisal = evidence.Appraise();
  CHECK(FindingIds(appraisal) == Ids{"ima.list_malformed"});
  CHECK(appraisal.verdict == Verdict::kUndecided);
}

TEST_CASE("Nothing measured is no valid list, though PCR 10 be zero") {
  FakeMachine machine;
  machine.list = ListBuilder();
  const ValidEvidence evidence = machine.Attest();
  const Appraisal appraisal = evidence.Appraise();
  CHECK(FindingIds(appraisal) == Ids{"ima.boot_aggregate_missing"});
  CHECK(appraisal.verdict == Verdict::kFail);
}

TEST_CASE("With PCR 10 at zero no entry is covered") {
  FakeMachine machine;
  ValidEvidence evidence = machine.Attest();
  const std::vector<uint8_t> list = evidence.list;
  machine.list = ListBuilder();
  evidence = machine.Attest();
  evidence.list = list;
  const Appraisal appraisal = evidence.Appraise();
  CHECK(FindingIds(appraisal) == Ids{"ima.boot_aggregate_missing"});
  CHECK(appraisal.counts.entries == 0);
  CHECK(appraisal.counts.pending == 4);
  CHECK(appraisal.verdict == Verdict::kFail);
}

TEST_CASE("A list must start with boot_aggregate") {
  FakeMachine machine;
  machine.list = ListBuilder();
  machine.Run("/usr/bin/init");
  Ids expected = {"ima.boot_aggregate_missing"};
  SECTION("as its first entry") {
    machine.list.AddFile("boot_aggregate", machine.BootAggregate(kSha256));
    expected.emplace_back("boot.kexec");
  }
  SECTION("at all") {}
  const Appraisal appraisal = machine.Attest().Appraise();
  CHECK(FindingIds(appraisal) == expected);
  CHECK(appraisal.findings[0].entry_index == 0U);
  CHECK(appraisal.findings[0].path == "/usr/bin/init");
}

TEST_CASE("A violation that calls itself boot_aggregate starts no list") {
  FakeMachine machine;
  machine.list = ListBuilder();
  machine.list.AddViolation("boot_aggregate");
  ValidEvidence evidence = machine.Attest();
  evidence.reference.tolerate_violations = true;
  CHECK(FindFinding(evidence.Appraise(), "ima.boot_aggregate_missing") !=
        nullptr);
}

// The first prefix that the quote explains is judged, and nothing behind it.

TEST_CASE("Entries behind the quote are pending and not judged") {
  FakeMachine machine;
  ValidEvidence evidence = machine.Attest();
  machine.list.AddFile("/tmp/evil", FileDigestOf("evil"))
      .AddFile("/tmp/worse", FileDigestOf("worse"));
  evidence.list = machine.list.bytes();
  const Appraisal appraisal = evidence.Appraise();
  CHECK(FindingIds(appraisal).empty());
  CHECK(appraisal.verdict == Verdict::kPass);
  CHECK(appraisal.counts.entries == 4);
  CHECK(appraisal.counts.pending == 2);
  CHECK(appraisal.progress.entry_count == 4);
  CHECK(appraisal.progress.byte_offset == machine.list.offsets()[4]);
  CHECK(appraisal.progress.pending_size ==
        machine.list.bytes().size() - machine.list.offsets()[4]);
}

TEST_CASE("A list of more than one batch is cut at the right entry") {
  FakeMachine machine;
  for (int i = 0; i < 600; ++i) machine.Run("/bin/" + std::to_string(i));
  ValidEvidence evidence = machine.Attest();
  for (int i = 0; i < 300; ++i) machine.list.AddFile("/x", FileDigestOf("x"));
  evidence.list = machine.list.bytes();
  const Appraisal appraisal = evidence.Appraise();
  CHECK(FindingIds(appraisal).empty());
  CHECK(appraisal.counts.entries == 604);
  CHECK(appraisal.counts.pending == 300);
  CHECK(appraisal.counts.good == 604);
}

// Lists that use other PCRs.

TEST_CASE("Entries on PCR 11 are replayed by themselves") {
  FakeMachine machine;
  machine.quoted_pcrs |= uint32_t{1} << 11;
  machine.list_pcrs = {10, 11};
  machine.Run("/usr/bin/eleven", 11)
      .Run("/usr/bin/ten")
      .Run("/usr/bin/twelve", 11);
  CHECK(FindingIds(machine.Attest().Appraise()).empty());
  SECTION("a changed one") {
    ValidEvidence evidence = machine.Attest();
    evidence.list[machine.list.offsets()[4] + 80] ^= 1;
    CHECK(FindFinding(evidence.Appraise(), "ima.history_lost") != nullptr);
  }
  SECTION("one moved to PCR 10") {
    ValidEvidence evidence = machine.Attest();
    evidence.list[machine.list.offsets()[4]] = 10;
    CHECK(FindFinding(evidence.Appraise(), "ima.history_lost") != nullptr);
  }
  SECTION("a prefix must explain both PCRs at once") {
    ValidEvidence evidence = machine.Attest();
    // The last entry is on PCR 11: PCR 10 fits one entry earlier.
    const Appraisal appraisal = evidence.Appraise();
    CHECK(appraisal.counts.entries == 7);
    CHECK(appraisal.counts.pending == 0);
  }
}

TEST_CASE("A8: a PCR's entries can't all be left out") {
  FakeMachine machine;
  machine.quoted_pcrs |= uint32_t{1} << 11;
  // What the TPM has extended, and a list without that.
  machine.list_pcrs = {10, 11};
  machine.Run("/usr/bin/ten");
  FakeMachine hiding = machine;
  machine.list.AddFile("/tmp/evil", FileDigestOf("evil"), 11);
  ValidEvidence evidence = machine.Attest();
  REQUIRE(FindFinding(evidence.Appraise(), "ima.not_in_policy") != nullptr);
  evidence.list = hiding.list.bytes();
  // Nobody can tell, unless it is known that the machine extends PCR 11.
  CHECK(evidence.Appraise().verdict == Verdict::kPass);
  SECTION("by what an operator said") {
    evidence.reference.list_pcrs.set(11);
    const Appraisal appraisal = evidence.Appraise();
    CHECK(FindingIds(appraisal) == Ids{"ima.history_lost"});
    CHECK(absl::StrContains(appraisal.findings[0].detail, "PCR 11"));
  }
  SECTION("by what it has shown in an earlier boot") {
    evidence.progress.list_pcrs.set(11);
    CHECK(FindFinding(evidence.Appraise(), "ima.history_lost") != nullptr);
  }
  SECTION("a machine that measures nothing there passes") {
    ValidEvidence honest = hiding.Attest();
    honest.reference.list_pcrs.set(11);
    CHECK(honest.Appraise().verdict == Verdict::kPass);
  }
  SECTION("what passes is remembered") {
    FakeMachine other = hiding;
    other.Run("/usr/bin/eleven", 11);
    const Appraisal appraisal = other.Attest().Appraise();
    REQUIRE(appraisal.verdict == Verdict::kPass);
    CHECK(appraisal.progress.list_pcrs == ima::PcrSet(1u << 10 | 1u << 11));
  }
  SECTION("and what fails") {
    const Appraisal appraisal = machine.Attest().Appraise();
    REQUIRE(appraisal.verdict == Verdict::kFail);
    CHECK(appraisal.progress.list_pcrs == ima::PcrSet(1u << 10 | 1u << 11));
    evidence.progress = appraisal.progress;
    CHECK(evidence.Appraise().verdict == Verdict::kFail);
  }
}

TEST_CASE("A PCR of the list that nothing is known of is undecided") {
  FakeMachine machine;
  machine.Run("/usr/bin/eleven", 11);
  machine.Run("/usr/bin/ten");
  machine.list.AddFile("/tmp/evil", FileDigestOf("evil"), 11);
  machine.Run("/usr/bin/last");
  const Appraisal appraisal = machine.Attest().Appraise();
  CHECK(FindingIds(appraisal) ==
        Ids{"ima.not_in_policy", "ima.pcr_not_quoted"});
  CHECK(appraisal.findings[0].pcr == 11U);
  CHECK_FALSE(appraisal.findings[0].authenticated);  // nothing covers it
  CHECK(appraisal.findings[1].severity == Severity::kUndecided);
  CHECK(appraisal.findings[1].pcr == 11U);
  CHECK(appraisal.verdict == Verdict::kFail);
}

TEST_CASE(
    "A PCR that only pending entries use is undecided too: they could "
    "stay pending for ever") {
  FakeMachine machine;
  ValidEvidence evidence = machine.Attest();
  machine.list.AddFile("/tmp/evil", FileDigestOf("evil"), 11);
  evidence.list = machine.list.bytes();
  const Appraisal appraisal = evidence.Appraise();
  CHECK(FindingIds(appraisal) == Ids{"ima.pcr_not_quoted"});
  CHECK(appraisal.verdict == Verdict::kUndecided);
  CHECK(appraisal.counts.pending == 1);
}

TEST_CASE(
    "Entries on PCRs of the boot or on resettable ones prove nothing, "
    "and their files are judged all the same") {
  FakeMachine machine;
  const auto pcr = GENERATE(0U, 9U, 16U, 23U);
  machine.list.AddFile("/usr/bin/sh", FileDigestOf("/usr/bin/sh"), pcr);
  machine.list.AddFile("/tmp/evil", FileDigestOf("evil"), pcr);
  machine.Run("/usr/bin/last");
  if (pcr > 9) {
    machine.quoted_pcrs |= uint32_t{1} << pcr;
    machine.list_pcrs.push_back(pcr);
  }
  const Appraisal appraisal = machine.Attest().Appraise();
  const char* id = pcr < 10 ? "ima.pcr_reserved" : "ima.pcr_resettable";
  const Finding* finding = FindFinding(appraisal, id);
  REQUIRE(finding != nullptr);
  CHECK(finding->severity == Severity::kFailure);
  CHECK(finding->pcr == pcr);
  CHECK(FindFinding(appraisal, "ima.not_in_policy") != nullptr);
  CHECK(appraisal.verdict == Verdict::kFail);
  CHECK(appraisal.counts.good == 5);  // the entry on that PCR is not
}

// Several banks.

TEST_CASE("All banks must fit at the same entry") {
  FakeMachine machine({kSha256, kSha1});
  ValidEvidence evidence = machine.Attest();
  CHECK(FindingIds(evidence.Appraise()).empty());
  // The SHA-1 bank one entry further on.
  machine.Run("/usr/bin/later");
  testing::FakeTpm tpm = machine.tpm;
  for (uint32_t pcr = 0; pcr < 11; ++pcr) {
    REQUIRE(tpm.pcrs.Set(pcr, *evidence.pcrs.Find(kSha256, pcr)).ok());
    REQUIRE(tpm.pcrs
                .Set(pcr, pcr < 10 ? *evidence.pcrs.Find(kSha1, pcr)
                                   : machine.list.Pcr(kSha1))
                .ok());
  }
  evidence.list = machine.list.bytes();
  evidence.quote = tpm.Quote(*evidence.selection, evidence.nonce);
  evidence.pcrs = tpm.pcrs;
  evidence.reference.policy = MakePolicy(machine.policy);
  CHECK(FindingIds(evidence.Appraise()) == Ids{"ima.history_lost"});
}

// Without a quote.

TEST_CASE("PCR values that nobody signed prove as much as they are worth") {
  ValidEvidence evidence = FakeMachine().Attest();
  evidence.quote.reset();
  evidence.ak.reset();
  const Appraisal appraisal = evidence.Appraise();
  CHECK(FindingIds(appraisal).empty());
  CHECK(appraisal.verdict == Verdict::kPass);
  CHECK(appraisal.proof == Proof::kPcrs);
}

TEST_CASE("Without PCR values all of the list is judged, and nothing proven") {
  FakeMachine machine;
  machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
  machine.policy.digests["boot_aggregate"] = {machine.BootAggregate(kSha256)};
  ValidEvidence evidence = machine.Attest();
  evidence.quote.reset();
  evidence.pcrs = {};
  evidence.reference.boot_rule = policy::AnyBoot{};
  const Appraisal appraisal = evidence.Appraise();
  CHECK(FindingIds(appraisal) == Ids{"boot.any", "ima.not_in_policy"});
  CHECK_FALSE(appraisal.findings[1].authenticated);
  CHECK(appraisal.proof == Proof::kNone);
  CHECK(appraisal.bank == std::nullopt);
  CHECK(appraisal.counts.entries == 5);
}

// Makes the list of ima-ng entries one whose records show, of `size` bytes,
// what `digest` gives for their data.
void ShowDigests(const FakeMachine& machine, ValidEvidence& evidence,
                 size_t size,
                 absl::FunctionRef<Digest(std::span<const uint8_t>)> digest) {
  std::vector<uint8_t> list;
  for (const size_t at : machine.list.offsets()) {
    const std::span<const uint8_t> record =
        std::span(evidence.list).subspan(at);
    const size_t data = 4 + 20 + 4 + 6;  // u32 size | template data of ima-ng
    const size_t data_size = size_t{record[data]} | size_t{record[data + 1]}
                                                        << 8;
    Append(list, record.first(4));
    Append(list, digest(record.subspan(data + 4, data_size)).bytes());
    Append(list, record.subspan(24, 10 + 4 + data_size));
  }
  evidence.list = list;
  evidence.template_digest_size = size;
}

TEST_CASE(
    "A bank's own list file is judged alike, and the other byte order is "
    "never tried") {
  FakeMachine machine;
  ValidEvidence evidence = machine.Attest();
  ShowDigests(machine, evidence, 32, [](std::span<const uint8_t> data) {
    return crypto::Hash(kSha256, data);
  });
  CHECK(FindingIds(evidence.Appraise()).empty());
  evidence.list[4 + 31] ^= 1;
  CHECK(FindingIds(evidence.Appraise()) == Ids{"ima.template_digest"});
  evidence.list[4 + 31] ^= 1;
  evidence.byte_order = ByteOrder::kBig;
  CHECK(FindingIds(evidence.Appraise()) == Ids{"ima.list_malformed"});
}

TEST_CASE("A padded bank's list shows padded digests, if that was said") {
  FakeMachine machine;
  ValidEvidence evidence = machine.Attest();
  ShowDigests(machine, evidence, 48, [](std::span<const uint8_t> data) {
    Digest padded(HashAlgorithm::kSha384);
    std::ranges::copy(crypto::Hash(kSha1, data).bytes(),
                      padded.mutable_bytes().begin());
    return padded;
  });
  const Appraisal unsaid = evidence.Appraise();
  CHECK(unsaid.counts.template_digest == machine.list.size());
  evidence.reference.padded_sha1_banks = {HashAlgorithm::kSha384};
  CHECK(FindingIds(evidence.Appraise()).empty());
  evidence.list[4 + 47] ^= 1;
  CHECK(FindingIds(evidence.Appraise()) == Ids{"ima.template_digest"});
}

}  // namespace
}  // namespace cupel::appraisal
