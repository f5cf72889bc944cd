// Attacks on the measurement list as bytes: cutting, padding, names, sizes.
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "common/util/escape.h"
#include "tests/support/evidence_builder.h"

namespace cupel {
namespace {

using ::cupel::appraisal::Appraisal;
using ::cupel::appraisal::Progress;
using ::cupel::appraisal::Verdict;
using ::cupel::crypto::Digest;
using ::cupel::crypto::HashAlgorithm;
using ::cupel::testing::DigestNg;
using ::cupel::testing::FakeMachine;
using ::cupel::testing::Field;
using ::cupel::testing::FileDigestOf;
using ::cupel::testing::FindFinding;
using ::cupel::testing::FindingIds;
using ::cupel::testing::NameNg;
using ::cupel::testing::ValidEvidence;
using Ids = std::vector<std::string>;

void SetU32(std::vector<uint8_t>& bytes, size_t at, uint32_t value) {
  for (size_t i = 0; i < 4; ++i) {
    bytes[at + i] = static_cast<uint8_t>(value >> 8 * i);
  }
}

TEST_CASE("A8: a list cut off anywhere") {
  const FakeMachine machine;
  const ValidEvidence valid = machine.Attest();
  for (size_t size = 0; size < valid.list.size(); ++size) {
    ValidEvidence evidence = valid;
    evidence.list.resize(size);
    const Appraisal appraisal = evidence.Appraise();
    INFO(size);
    CHECK(appraisal.verdict != Verdict::kPass);
    CHECK(appraisal.proof == appraisal::Proof::kNone);
    CHECK_FALSE(appraisal.progress.replayer.has_value());
  }
}

TEST_CASE("A8: an offset that is a lie") {
  FakeMachine machine;
  const Progress progress = machine.Attest().Appraise().progress;
  machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
  machine.Run("/usr/bin/last");
  for (uint64_t first = 0; first < 8; ++first) {
    for (size_t from = 0; from < machine.list.size(); ++from) {
      ValidEvidence evidence = machine.Attest();
      evidence.progress = progress;
      evidence.first_entry = first;
      evidence.list.erase(
          evidence.list.begin(),
          evidence.list.begin() +
              static_cast<std::ptrdiff_t>(machine.list.offsets()[from]));
      const Appraisal appraisal = evidence.Appraise();
      INFO(first << " claimed, " << from << " sent");
      CHECK(appraisal.verdict != Verdict::kPass);
      CHECK(appraisal.progress.entry_count == progress.entry_count);
      if (from == first && (first == 0 || first == progress.entry_count)) {
        CHECK(FindingIds(appraisal) == Ids{"ima.not_in_policy"});
      }
    }
  }
}

TEST_CASE("A8: the same chunk twice") {
  FakeMachine machine;
  const Progress progress = machine.Attest().Appraise().progress;
  const size_t known = machine.list.bytes().size();
  machine.Run("/usr/bin/five");
  ValidEvidence evidence = machine.Attest();
  evidence.progress = progress;
  evidence.first_entry = progress.entry_count;
  evidence.list.erase(
      evidence.list.begin(),
      evidence.list.begin() + static_cast<std::ptrdiff_t>(known));
  const Appraisal once = evidence.Appraise();
  REQUIRE(once.verdict == Verdict::kPass);
  SECTION("in one answer") {
    Append(evidence.list, std::vector<uint8_t>(evidence.list));
    const Appraisal twice = evidence.Appraise();
    // The quote covers it once. The rest is no part of the verdict.
    CHECK(twice.counts.entries == once.counts.entries);
    CHECK(twice.counts.pending == 1);
    CHECK(twice.progress.entry_count == 5);
  }
  SECTION("in the next one") {
    evidence.progress = once.progress;
    evidence.first_entry = once.progress.entry_count;
    const Appraisal again = evidence.Appraise();
    CHECK(again.counts.entries == once.counts.entries);
    CHECK(again.counts.pending == 1);
    CHECK(again.progress.entry_count == 5);
  }
}

TEST_CASE("A9: entries beyond the quote raise no alarm and hide none") {
  FakeMachine machine;
  SECTION("to raise one") {
    ValidEvidence evidence = machine.Attest();
    machine.list.AddFile("/tmp/evil", FileDigestOf("evil"))
        .AddViolation("/usr/bin/sh")
        .Add(10, "unknown", AsBytes("x"));
    evidence.list = machine.list.bytes();
    const Appraisal appraisal = evidence.Appraise();
    CHECK(FindingIds(appraisal).empty());
    CHECK(appraisal.counts.pending == 3);
  }
  SECTION("to hide one") {
    machine.list.AddFile("/usr/bin/sh", FileDigestOf("evil"));
    ValidEvidence evidence = machine.Attest();
    machine.Run("/usr/bin/sh");
    evidence.list = machine.list.bytes();
    const Appraisal appraisal = evidence.Appraise();
    CHECK(FindingIds(appraisal) == Ids{"ima.digest_mismatch"});
    CHECK(appraisal.findings[0].authenticated);
  }
}

TEST_CASE("A9: a tail that was shown and is gone when it should be quoted") {
  FakeMachine machine;
  const FakeMachine before = machine;
  ValidEvidence evidence = machine.Attest();
  machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
  evidence.list = machine.list.bytes();
  const Progress progress = evidence.Appraise().progress;
  FakeMachine after = before;
  after.Run("/usr/bin/harmless");
  ValidEvidence next = after.Attest();
  next.progress = progress;
  CHECK(FindFinding(next.Appraise(), "ima.tail_vanished") != nullptr);
}

TEST_CASE("A10: names that try to be something else") {
  FakeMachine machine;
  const std::string record = absl::StrCat(
      "/tmp/x\n10 ", std::string(40, 'a'),
      " ima-ng sha256:", FileDigestOf("/usr/bin/sh").Hex(), " /usr/bin/sh");
  const std::vector<std::string> names = {
      "/usr/bin/sh\n",
      record,
      "/usr/bin/\xff\xfe",
      "/usr/bin/sh ",
      "/usr//bin/sh",
      "/usr/bin/../bin/sh",
      "usr/bin/sh",
      "/usr/bin/sh/",
      "/USR/BIN/SH",
      "\x1b[2J\x1b[1m",
      "/usr/bin/s\xcc\x88h",
      "/" + std::string(4095, 'a'),
      "/" + std::string(8191, 'b'),
  };
  for (const std::string& name : names) {
    FakeMachine attacked = machine;
    attacked.list.AddFile(name, FileDigestOf("/usr/bin/sh"));
    const Appraisal appraisal = attacked.Attest().Appraise();
    INFO(EscapeForDisplay(name).substr(0, 80));
    CHECK(FindingIds(appraisal) == Ids{"ima.not_in_policy"});
    CHECK(appraisal.findings[0].path == name);
    CHECK(appraisal.counts.entries == 5);
  }
}

TEST_CASE("A10: a name that is longer than the kernel writes") {
  FakeMachine machine;
  machine.policy.excludes = {"/tmp/.*"};
  machine.list.AddFile("/tmp/" + std::string(8188, 'b'), FileDigestOf("evil"));
  CHECK(FindingIds(machine.Attest().Appraise()) ==
        Ids{"ima.template_malformed"});
}

TEST_CASE("A10: a name with a NUL inside") {
  FakeMachine machine;
  std::vector<uint8_t> data = Field(DigestNg(FileDigestOf("/usr/bin/sh")));
  const absl::string_view name("/usr/bin/sh\0/tmp/evil", 21);
  Append(data, Field(NameNg(name)));
  machine.list.Add(10, "ima-ng", data);
  CHECK(FindingIds(machine.Attest().Appraise()) ==
        Ids{"ima.template_malformed"});
}

TEST_CASE(
    "A10: `_` where a space may have been names one file, whose digest "
    "has to be right") {
  FakeMachine machine;
  machine.Run("/opt/a_b");
  machine.list.AddFile("/opt/a_b", FileDigestOf("that of '/opt/a b'"));
  CHECK(FindingIds(machine.Attest().Appraise()) == Ids{"ima.digest_mismatch"});
}

TEST_CASE("A15: sizes that are not there") {
  const FakeMachine machine;
  const ValidEvidence valid = machine.Attest();
  const size_t record = machine.list.offsets()[2];
  // The sizes of template name and data, and of the two fields.
  for (const size_t at : {size_t{24}, size_t{34}, size_t{38}, size_t{82}}) {
    for (const uint32_t size :
         {0xffffffffU, 0x80000000U, 0x7fffffffU, 0x40000000U, 0x00100001U,
          0xfffffffcU, 0x00010000U}) {
      ValidEvidence evidence = valid;
      SetU32(evidence.list, record + at, size);
      const Appraisal appraisal = evidence.Appraise();
      CHECK(appraisal.verdict != Verdict::kPass);
      CHECK(appraisal.proof == appraisal::Proof::kNone);
    }
  }
}

TEST_CASE("A15: a very long list of bad entries") {
  FakeMachine machine;
  constexpr int kCount = 100'000;
  for (int i = 0; i < kCount; ++i) {
    machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
  }
  const ValidEvidence evidence = machine.Attest();
  const Appraisal appraisal = evidence.Appraise();
  CHECK(appraisal.counts.not_in_policy == kCount);
  CHECK(appraisal.findings.size() == evidence.options.max_findings);
  CHECK(appraisal.findings_dropped == kCount - appraisal.findings.size());
  CHECK(appraisal.verdict == Verdict::kFail);
}

TEST_CASE(
    "A15: a list whose every entry is on another PCR than the one before") {
  FakeMachine machine;
  machine.quoted_pcrs = 0xffffff;
  machine.list_pcrs = {10, 11, 12, 13, 14, 15};
  for (uint32_t i = 0; i < 10'000; ++i) {
    machine.list.AddFile("/usr/bin/sh", FileDigestOf("/usr/bin/sh"),
                         10 + i % 6);
  }
  const Appraisal appraisal = machine.Attest().Appraise();
  CHECK(FindingIds(appraisal).empty());
  CHECK(appraisal.counts.good == 10'004);
}

}  // namespace
}  // namespace cupel
