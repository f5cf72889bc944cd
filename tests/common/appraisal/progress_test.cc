// Resumption: where an appraisal may go on from, and what it holds against what
// it saw before.
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

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

Progress ProgressOf(const FakeMachine& machine) {
  const Appraisal appraisal = machine.Attest().Appraise();
  REQUIRE(appraisal.verdict == Verdict::kPass);
  return appraisal.progress;
}

// What the machine hands over when it is asked for what `progress` lacks.
ValidEvidence Resumed(const FakeMachine& machine, const Progress& progress) {
  ValidEvidence evidence = machine.Attest();
  evidence.progress = progress;
  evidence.first_entry = progress.entry_count;
  evidence.list.erase(
      evidence.list.begin(),
      evidence.list.begin() +
          static_cast<std::ptrdiff_t>(
              machine.list.offsets().size() > progress.entry_count
                  ? machine.list
                        .offsets()[static_cast<size_t>(progress.entry_count)]
                  : evidence.list.size()));
  return evidence;
}

// All of the list once more.
ValidEvidence Again(const FakeMachine& machine, const Progress& progress) {
  ValidEvidence evidence = machine.Attest();
  evidence.progress = progress;
  return evidence;
}

bool SameProgress(const Progress& a, const Progress& b) {
  return a.key == b.key && a.entry_count == b.entry_count &&
         a.byte_offset == b.byte_offset && a.clock_info == b.clock_info &&
         a.pending_size == b.pending_size &&
         a.pending_digest == b.pending_digest && a.boot_pcrs == b.boot_pcrs &&
         a.counts == b.counts &&
         a.replayer.has_value() == b.replayer.has_value() &&
         (!a.replayer.has_value() ||
          a.replayer->Value(kSha256, 10) == b.replayer->Value(kSha256, 10));
}

TEST_CASE("An appraisal goes on where the last one ended") {
  FakeMachine machine;
  const Progress first = ProgressOf(machine);
  CHECK(first.entry_count == 4);
  CHECK(first.byte_offset == machine.list.bytes().size());
  CHECK(first.key.size() == 64);

  machine.Run("/usr/bin/five").Run("/usr/bin/six");
  ++machine.tpm.clock_info.clock;
  const Appraisal second = Resumed(machine, first).Appraise();
  CHECK(FindingIds(second).empty());
  CHECK(second.counts.entries == 6);
  CHECK(second.counts.good == 6);
  CHECK(second.progress.entry_count == 6);
  CHECK(second.progress.byte_offset == machine.list.bytes().size());
  CHECK(second.progress.clock_info == machine.tpm.clock_info);
  CHECK(second.progress.key == first.key);
  CHECK(SameProgress(second.progress, ProgressOf(machine)));

  // Nothing new.
  const Appraisal third = Resumed(machine, second.progress).Appraise();
  CHECK(FindingIds(third).empty());
  CHECK(third.counts == second.counts);
  CHECK(third.verdict == Verdict::kPass);
  CHECK(third.proof == Proof::kQuote);
  CHECK(SameProgress(third.progress, second.progress));
}

TEST_CASE("Entry numbers go on in a resumed list") {
  FakeMachine machine;
  const Progress progress = ProgressOf(machine);
  machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
  const Appraisal appraisal = Resumed(machine, progress).Appraise();
  CHECK(FindingIds(appraisal) == Ids{"ima.not_in_policy"});
  CHECK(appraisal.findings[0].entry_index == 4U);
  // And so do the counts, while the prefix's stay what they were.
  CHECK(appraisal.counts.entries == 5);
  CHECK(appraisal.counts.good == 4);
  CHECK(appraisal.counts.not_in_policy == 1);
  CHECK(SameProgress(appraisal.progress, progress));
  CHECK(progress.counts.entries == 4);
}

TEST_CASE("All of the list may come again within a boot, and is judged again") {
  FakeMachine machine;
  const Progress progress = ProgressOf(machine);
  machine.Run("/usr/bin/five");
  const Appraisal appraisal = Again(machine, progress).Appraise();
  CHECK(FindingIds(appraisal).empty());
  CHECK(appraisal.counts.entries == 5);
  CHECK(appraisal.progress.entry_count == 5);
}

TEST_CASE("A resumed list must be the rest") {
  FakeMachine machine;
  const Progress progress = ProgressOf(machine);
  machine.Run("/usr/bin/five").Run("/usr/bin/six");
  SECTION("it starts somewhere else") {
    ValidEvidence evidence = Resumed(machine, progress);
    evidence.first_entry = 3;
    const Appraisal appraisal = evidence.Appraise();
    CHECK(FindingIds(appraisal) == Ids{"ima.list_start"});
    CHECK(appraisal.verdict == Verdict::kUndecided);
    CHECK(appraisal.counts.entries == 0);
  }
  SECTION("an entry is left out") {
    ValidEvidence evidence = Resumed(machine, progress);
    evidence.list.erase(evidence.list.begin(),
                        evidence.list.begin() + static_cast<std::ptrdiff_t>(
                                                    machine.list.offsets()[5] -
                                                    machine.list.offsets()[4]));
    CHECK(FindingIds(evidence.Appraise()) == Ids{"ima.history_lost"});
  }
  SECTION("entries that were judged come again") {
    ValidEvidence evidence = Resumed(machine, progress);
    evidence.list = machine.list.bytes();
    CHECK(FindFinding(evidence.Appraise(), "ima.history_lost") != nullptr);
  }
  SECTION("nothing is known of the machine") {
    ValidEvidence evidence = Resumed(machine, progress);
    evidence.progress = {};
    CHECK(FindingIds(evidence.Appraise()) == Ids{"ima.list_start"});
  }
}

TEST_CASE("A new boot starts from nothing") {
  FakeMachine machine;
  const Progress progress = ProgressOf(machine);
  machine.Reboot();
  machine.Run("/usr/bin/other");
  const Appraisal whole = Again(machine, progress).Appraise();
  CHECK(FindingIds(whole) == Ids{"tpm.new_boot"});
  CHECK(whole.verdict == Verdict::kPass);
  CHECK(whole.progress.clock_info == machine.tpm.clock_info);
  CHECK(whole.progress.entry_count == 5);

  const Appraisal resumed = Resumed(machine, progress).Appraise();
  CHECK(FindingIds(resumed) == Ids{"tpm.new_boot", "ima.list_start"});
  CHECK(resumed.verdict == Verdict::kUndecided);
  CHECK(SameProgress(resumed.progress, progress));
}

TEST_CASE("A new boot may be shorter, and owes no pending tail") {
  FakeMachine machine;
  machine.Run("/usr/bin/five");
  ValidEvidence evidence = machine.Attest();
  machine.Run("/usr/bin/six");
  evidence.list = machine.list.bytes();
  const Progress progress = evidence.Appraise().progress;
  REQUIRE(progress.pending_size > 0);
  machine.Reboot();
  CHECK(FindingIds(Again(machine, progress).Appraise()) == Ids{"tpm.new_boot"});
}

TEST_CASE("After a suspend the list has to begin as it did") {
  FakeMachine machine;
  const Progress progress = ProgressOf(machine);
  ++machine.tpm.clock_info.restart_count;
  SECTION("the same prefix") {
    machine.Run("/usr/bin/later");
    const Appraisal appraisal = Again(machine, progress).Appraise();
    CHECK(FindingIds(appraisal) == Ids{"tpm.restart"});
    CHECK(appraisal.verdict == Verdict::kPass);
    CHECK(appraisal.progress.clock_info == machine.tpm.clock_info);
  }
  SECTION("another prefix") {
    machine.list = ListBuilder();
    machine.list.AddFile("boot_aggregate", machine.BootAggregate(kSha256));
    for (int i = 0; i < 6; ++i) machine.Run("/bin/" + std::to_string(i));
    const Appraisal appraisal = Again(machine, progress).Appraise();
    CHECK(FindingIds(appraisal) ==
          Ids{"tpm.restart", "tpm.restart_unexplained"});
    CHECK(appraisal.findings[1].pcr == 10U);
    CHECK(appraisal.verdict == Verdict::kFail);
    CHECK(SameProgress(appraisal.progress, progress));
  }
  SECTION("a shorter one") {
    machine.list = ListBuilder();
    machine.list.AddFile("boot_aggregate", machine.BootAggregate(kSha256));
    CHECK(FindingIds(Again(machine, progress).Appraise()) ==
          Ids{"tpm.restart", "tpm.restart_unexplained"});
  }
  SECTION("the rest alone") {
    machine.Run("/usr/bin/later");
    CHECK(FindingIds(Resumed(machine, progress).Appraise()) ==
          Ids{"tpm.restart", "ima.list_start"});
  }
}

TEST_CASE("Two histories of one boot mean two machines") {
  FakeMachine machine;
  FakeMachine clone = machine;
  machine.Run("/usr/bin/mine");
  const Progress progress = ProgressOf(machine);
  clone.Run("/usr/bin/theirs").Run("/usr/bin/more");
  const Appraisal appraisal = Again(clone, progress).Appraise();
  CHECK(FindingIds(appraisal) == Ids{"tpm.clone_suspected"});
  CHECK(appraisal.verdict == Verdict::kFail);
  CHECK(SameProgress(appraisal.progress, progress));
}

TEST_CASE("Two histories are told apart across a change of banks") {
  FakeMachine machine({kSha256, kSha1});
  FakeMachine clone = machine;
  machine.Run("/usr/bin/mine");
  const Progress progress = ProgressOf(machine);
  clone.Run("/usr/bin/theirs").Run("/usr/bin/more");
  clone.banks = {kSha1};
  ValidEvidence evidence = Again(clone, progress);
  evidence.reference.allow_sha1_bank = true;
  evidence.reference.boot_rule = policy::AnyBoot{};
  CHECK(FindFinding(evidence.Appraise(), "tpm.clone_suspected") != nullptr);

  const Progress sha256_only = [] {
    FakeMachine other;
    other.Run("/usr/bin/mine");
    return ProgressOf(other);
  }();
  evidence.progress = sha256_only;
  CHECK(FindFinding(evidence.Appraise(), "tpm.clone_suspected") != nullptr);
}

TEST_CASE("A list that got shorter within a boot") {
  FakeMachine machine;
  const FakeMachine before = machine;
  machine.Run("/usr/bin/five");
  const Progress progress = ProgressOf(machine);
  SECTION("with a quote that agrees: the TPM went back") {
    CHECK(FindingIds(Again(before, progress).Appraise()) ==
          Ids{"ima.list_shrank"});
  }
  SECTION("against the PCR") {
    ValidEvidence evidence = Again(machine, progress);
    evidence.list = before.list.bytes();
    // A list that starts anew is what a kexec leaves.
    const Appraisal appraisal = evidence.Appraise();
    CHECK(FindingIds(appraisal) == Ids{"ima.history_lost"});
    CHECK(appraisal.verdict == Verdict::kFail);
  }
  SECTION("to nothing") {
    ValidEvidence evidence = Again(machine, progress);
    evidence.list.clear();
    CHECK(FindingIds(evidence.Appraise()) == Ids{"ima.boot_aggregate_missing",
                                                 "ima.list_shrank",
                                                 "ima.history_lost"});
  }
}

// The pending tail.

// A machine of which one entry has been seen that no quote covers yet.
struct Pending {
  FakeMachine machine;
  Progress progress;

  Pending() {
    ValidEvidence evidence = machine.Attest();
    machine.Run("/usr/bin/pending");
    evidence.list = machine.list.bytes();
    progress = evidence.Appraise().progress;
    REQUIRE(progress.pending_size > 0);
    REQUIRE(progress.entry_count == 4);
  }
};

TEST_CASE("A pending tail has to be met again") {
  Pending pending;
  FakeMachine& machine = pending.machine;
  SECTION("it is, and no longer pending") {
    const Appraisal appraisal = Resumed(machine, pending.progress).Appraise();
    CHECK(FindingIds(appraisal).empty());
    CHECK(appraisal.progress.pending_size == 0);
    CHECK_FALSE(appraisal.progress.pending_digest.has_value());
    CHECK(FindingIds(Again(machine, pending.progress).Appraise()).empty());
  }
  SECTION("it is, with more behind it") {
    machine.Run("/usr/bin/more");
    CHECK(FindingIds(Resumed(machine, pending.progress).Appraise()).empty());
  }
  SECTION("it is gone") {
    machine.list = FakeMachine().list;
    CHECK(FindingIds(Resumed(machine, pending.progress).Appraise()) ==
          Ids{"ima.tail_vanished"});
    const Appraisal whole = Again(machine, pending.progress).Appraise();
    CHECK(FindingIds(whole) == Ids{"ima.tail_vanished"});
    CHECK(whole.verdict == Verdict::kFail);
    CHECK(SameProgress(whole.progress, pending.progress));
  }
  SECTION("another one is in its place") {
    machine.list = FakeMachine().list;
    machine.Run("/usr/bin/another");
    CHECK(FindingIds(Resumed(machine, pending.progress).Appraise()) ==
          Ids{"ima.tail_vanished"});
    CHECK(FindingIds(Again(machine, pending.progress).Appraise()) ==
          Ids{"ima.tail_vanished"});
  }
}

// The key.

TEST_CASE("The key knows the paths whose violations are tolerated") {
  const FakeMachine machine;
  appraisal::Reference reference = machine.Attest().reference;
  const auto key = [&](std::shared_ptr<const policy::ExcludeSet> tolerated) {
    reference.tolerated_violations = std::move(tolerated);
    return ProgressKey({}, reference, {});
  };
  const std::string none = key(nullptr);
  CHECK_FALSE(none.empty());
  CHECK(key(std::make_shared<const policy::ExcludeSet>()) == none);
  CHECK(key(testing::Tolerating("/a")) != none);
  CHECK(key(testing::Tolerating("/a")) == key(testing::Tolerating("/a")));
  CHECK(key(testing::Tolerating("/a")) != key(testing::Tolerating("/b")));
}

TEST_CASE("The key knows where the IMA policy is loaded from") {
  const FakeMachine machine;
  appraisal::Reference reference = machine.Attest().reference;
  const auto key = [&](std::vector<std::string> paths) {
    reference.ima_policies = std::move(paths);
    return ProgressKey({}, reference, {});
  };
  const std::string none = key({});
  CHECK(key({"/a"}) != none);
  CHECK(key({"/a"}) == key({"/a"}));
  CHECK(key({"/a"}) != key({"/b"}));
  CHECK(key({"/a", "/b"}) != key({"/a/b"}));
  const std::string path = key({"/a"});
  reference.tolerated_violations = testing::Tolerating("/a");
  CHECK(key({}) != path);
  CHECK(key({"/a"}) != path);
}

TEST_CASE("The key knows whether any boot is allowed") {
  const FakeMachine machine;
  appraisal::Reference reference = machine.Attest().reference;
  const std::string pinned = ProgressKey({}, reference, {});
  reference.boot_rule = policy::AnyBoot{};
  CHECK(ProgressKey({}, reference, {}) != pinned);
}

TEST_CASE("An IMA policy that was shown counts for its boot alone") {
  FakeMachine machine;
  machine.Run("/etc/ima/ima-policy");
  const auto judge = [](ValidEvidence evidence) {
    evidence.reference.ima_policies = {"/etc/ima/ima-policy"};
    return evidence.Appraise();
  };
  const Appraisal first = judge(machine.Attest());
  REQUIRE(first.verdict == Verdict::kPass);
  machine.Run("/usr/bin/six");
  CHECK(FindingIds(judge(Resumed(machine, first.progress))).empty());
  machine.Reboot();
  CHECK(FindingIds(judge(Again(machine, first.progress))) ==
        Ids{"tpm.new_boot", "ima.policy_unproven"});
}

TEST_CASE("Progress that was made with anything else is of no use") {
  FakeMachine machine;
  const Progress progress = ProgressOf(machine);
  machine.Run("/usr/bin/five");
  FakeMachine other = machine;
  std::function<void(ValidEvidence&)> change = [](ValidEvidence&) {};
  Ids expected{"ima.list_start"};
  bool passes = true;
  SECTION("the policy") { other.policy.content_id = "policy-2"; }
  SECTION("a policy without an id") { other.policy.content_id = ""; }
  SECTION("the AK") {
    other.tpm = testing::FakeTpm({.key_index = 1});
    other.tpm.clock_info = machine.tpm.clock_info;
  }
  SECTION("the lab") {
    change = [](ValidEvidence& evidence) { evidence.reference.lab = true; };
  }
  SECTION("tolerance") {
    change = [](ValidEvidence& evidence) {
      evidence.reference.tolerate_violations = true;
    };
  }
  SECTION("tolerance of some paths") {
    change = [](ValidEvidence& evidence) {
      evidence.reference.tolerated_violations = testing::Tolerating("/a/");
    };
  }
  SECTION("the IMA policy") {
    change = [](ValidEvidence& evidence) {
      evidence.reference.ima_policies = {"/usr/bin/five"};
    };
  }
  SECTION("the padding") {
    change = [](ValidEvidence& evidence) {
      evidence.reference.padded_sha1_banks = {kSha256};
      evidence.reference.allow_sha1_bank = true;
    };
    passes = false;
  }
  SECTION("Cupel itself") {
    change = [](ValidEvidence& evidence) { evidence.progress.key[0] ^= 1; };
  }
  SECTION("nobody knows what") {
    change = [](ValidEvidence& evidence) { evidence.progress.key.clear(); };
  }
  ValidEvidence rest = Resumed(other, progress);
  change(rest);
  const Appraisal refused = rest.Appraise();
  CHECK(FindingIds(refused) == expected);
  CHECK(refused.verdict == Verdict::kUndecided);
  CHECK(SameProgress(refused.progress, rest.progress));

  ValidEvidence whole = Again(other, progress);
  change(whole);
  if (!passes) return;
  const Appraisal appraisal = whole.Appraise();
  CHECK(FindingIds(appraisal).empty());
  CHECK(appraisal.counts.entries == 5);
  CHECK(appraisal.progress.key != whole.progress.key);
}

TEST_CASE("A policy without a content id leaves no progress behind") {
  FakeMachine machine;
  machine.policy.content_id = "";
  const Progress progress = ProgressOf(machine);
  CHECK(progress.key.empty());
  CHECK(FindingIds(Resumed(machine, progress).Appraise()) ==
        Ids{"ima.list_start"});
}

TEST_CASE("Nor does an AK without a Name") {
  FakeMachine machine;
  ValidEvidence evidence = machine.Attest();
  evidence.ak = tpm::AttestationKey::FromPublicKey(evidence.ak->key());
  evidence.accept_unknown_ak_attributes = true;
  evidence.ek_name.clear();
  const Appraisal appraisal = evidence.Appraise();
  REQUIRE(appraisal.verdict == Verdict::kPass);
  CHECK(appraisal.progress.key.empty());
}

TEST_CASE("A new bank needs the whole list, and does not end the process") {
  FakeMachine machine({kSha256, kSha1});
  FakeMachine before = machine;
  before.banks = {kSha256};
  const Progress progress = ProgressOf(before);
  machine.Run("/usr/bin/five");
  CHECK(FindingIds(Resumed(machine, progress).Appraise()) ==
        Ids{"ima.list_start"});
  // Nor where the key does not tell.
  ValidEvidence evidence = Resumed(machine, progress);
  evidence.progress.key = Again(machine, {}).Appraise().progress.key;
  CHECK(FindingIds(evidence.Appraise()) == Ids{"ima.list_start"});
  CHECK(FindingIds(Again(machine, progress).Appraise()).empty());
}

TEST_CASE("The key does not depend on the order of the banks' values") {
  const Reference reference = FakeMachine().Attest().reference;
  const std::vector<uint8_t> ak = {0, 11, 1};
  const std::string key = ProgressKey(ak, reference, {{kSha1}, {kSha256}});
  CHECK(key.size() == 64);
  CHECK(key == ProgressKey(ak, reference, {{kSha256}, {kSha1}}));
  CHECK(key != ProgressKey(ak, reference, {{kSha256}}));
  CHECK(key != ProgressKey({}, reference, {{kSha256}, {kSha1}}));
}

TEST_CASE(
    "A list that uses a second PCR is gone through to its end whatever "
    "count is held against it") {
  FakeMachine machine;
  machine.quoted_pcrs |= uint32_t{1} << 11;
  machine.list_pcrs = {10, 11};
  Progress progress = ProgressOf(machine);
  // As many entries as a list may have at most.
  progress.entry_count = ima::ListLimits().max_entries - 1;
  machine.Run("/usr/bin/ten").Run("/usr/bin/eleven", 11);
  CHECK(FindingIds(Again(machine, progress).Appraise()) ==
        Ids{"ima.list_shrank"});
}

// What is kept.

TEST_CASE("Progress moves only with a pass") {
  FakeMachine machine;
  const Progress progress = ProgressOf(machine);
  machine.Run("/usr/bin/five");
  SECTION("a failure") {
    machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
    const Appraisal appraisal = Resumed(machine, progress).Appraise();
    REQUIRE(appraisal.verdict == Verdict::kFail);
    CHECK(SameProgress(appraisal.progress, progress));
  }
  SECTION("undecided") {
    ValidEvidence evidence = Resumed(machine, progress);
    evidence.list.push_back(1);
    const Appraisal appraisal = evidence.Appraise();
    REQUIRE(appraisal.verdict == Verdict::kUndecided);
    CHECK(SameProgress(appraisal.progress, progress));
  }
  SECTION("nothing that a PCR explains") {
    ValidEvidence evidence = Again(machine, progress);
    evidence.quote.reset();
    evidence.pcrs = {};
    evidence.reference.boot_rule = policy::AnyBoot{};
    machine.policy.digests["boot_aggregate"] = {machine.BootAggregate(kSha256)};
    evidence.reference.policy = MakePolicy(machine.policy);
    const Appraisal appraisal = evidence.Appraise();
    REQUIRE(appraisal.verdict == Verdict::kPass);
    CHECK(SameProgress(appraisal.progress, progress));
  }
}

TEST_CASE("Evidence without a quote does not wash away what quotes have told") {
  FakeMachine machine;
  const Progress progress = ProgressOf(machine);
  ValidEvidence evidence = Again(machine, progress);
  evidence.quote.reset();
  const Appraisal unquoted = evidence.Appraise();
  REQUIRE(unquoted.verdict == Verdict::kPass);
  CHECK(unquoted.progress.clock_info == progress.clock_info);

  machine.tpm.clock_info.clock -= 1;
  CHECK(FindFinding(Again(machine, unquoted.progress).Appraise(),
                    "tpm.clone_suspected") != nullptr);
}

}  // namespace
}  // namespace cupel::appraisal
