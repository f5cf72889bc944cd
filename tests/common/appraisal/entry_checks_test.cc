// What a policy says about each entry: ima.*
#include <cstdint>
#include <string>
#include <vector>

#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "tests/support/evidence_builder.h"

namespace cupel::appraisal {
namespace {

using ::cupel::crypto::Digest;
using ::cupel::crypto::HashAlgorithm;
using ::cupel::testing::DigestNg;
using ::cupel::testing::FakeMachine;
using ::cupel::testing::Field;
using ::cupel::testing::FileDigestOf;
using ::cupel::testing::FindFinding;
using ::cupel::testing::FindingIds;
using ::cupel::testing::ListBuilder;
using ::cupel::testing::NameNg;
using ::cupel::testing::ValidEvidence;
using Ids = std::vector<std::string>;

using HashAlgorithm::kSha1;
using HashAlgorithm::kSha256;
using HashAlgorithm::kSha512;

// Template data of these fields.
std::vector<uint8_t> Fields(std::vector<std::vector<uint8_t>> contents) {
  std::vector<uint8_t> data;
  for (const std::vector<uint8_t>& content : contents) {
    Append(data, Field(content));
  }
  return data;
}

std::vector<uint8_t> DigestNgV2(absl::string_view type, const Digest& digest) {
  std::vector<uint8_t> content = ToVector(AsBytes(type));
  content.push_back(':');
  Append(content, DigestNg(digest));
  return content;
}

// The finding about the list's last entry, and nothing else.
Finding Only(const FakeMachine& machine) {
  Appraisal appraisal = machine.Attest().Appraise();
  INFO(Catch::Detail::stringify(FindingIds(appraisal)));
  REQUIRE(appraisal.findings.size() == 1);
  Finding finding = appraisal.findings[0];
  CHECK(finding.entry_index == machine.list.size() - 1);
  if (finding.severity == Severity::kFailure) {
    CHECK(appraisal.verdict == Verdict::kFail);
    CHECK(appraisal.counts.good == machine.list.size() - 1);
  }
  return finding;
}

TEST_CASE("A file that the policy does not name") {
  FakeMachine machine;
  machine.list.AddFile("/tmp/\nevil", FileDigestOf("evil"));
  const Finding finding = Only(machine);
  CHECK(finding.id == "ima.not_in_policy");
  CHECK(finding.path == "/tmp/\nevil");
  CHECK(finding.pcr == 10U);
  CHECK(finding.found == "sha256:" + FileDigestOf("evil").Hex());
  CHECK(finding.authenticated);
  const Appraisal appraisal = machine.Attest().Appraise();
  CHECK(appraisal.counts.not_in_policy == 1);
  CHECK(appraisal.proof == Proof::kQuote);
}

TEST_CASE("A file that the policy lists with other digests") {
  FakeMachine machine;
  machine.policy.digests["/usr/bin/sh"].push_back(FileDigestOf("older"));
  machine.list.AddFile("/usr/bin/sh", FileDigestOf("evil"));
  const Finding finding = Only(machine);
  CHECK(finding.id == "ima.digest_mismatch");
  CHECK(finding.expected == "sha256:" + FileDigestOf("/usr/bin/sh").Hex() +
                                " or sha256:" + FileDigestOf("older").Hex());
  CHECK(finding.found == "sha256:" + FileDigestOf("evil").Hex());
  CHECK(machine.Attest().Appraise().counts.digest_mismatch == 1);
}

TEST_CASE("A path that is listed without a digest clears nothing") {
  FakeMachine machine;
  machine.policy.digests["/usr/bin/x"] = {};
  machine.list.AddFile("/usr/bin/x", FileDigestOf("x"));
  CHECK(Only(machine).id == "ima.not_in_policy");
}

TEST_CASE("A digest of another algorithm clears nothing") {
  FakeMachine machine;
  // The same 20 bytes as another algorithm's.
  machine.policy.digests["/usr/bin/x"] = {FileDigestOf("x", kSha1)};
  machine.list.AddFile("/usr/bin/x",
                       *Digest::Create(HashAlgorithm::kRmd160,
                                       FileDigestOf("x", kSha1).bytes()));
  CHECK(Only(machine).id == "ima.digest_mismatch");
}

TEST_CASE("A denied digest fails whatever else allows it") {
  FakeMachine machine;
  machine.Run("/usr/bin/old");
  CHECK(FindingIds(machine.Attest().Appraise()).empty());
  machine.policy.deny = {FileDigestOf("/usr/bin/old")};
  SECTION("a digest") {}
  SECTION("an exclude") {
    machine.policy.digests.erase("/usr/bin/old");
    machine.policy.excludes = {"/usr/bin/old"};
  }
  const Finding finding = Only(machine);
  CHECK(finding.id == "ima.digest_denied");
  CHECK_THAT(finding.detail, Catch::Contains("deny.json"));
  CHECK(machine.Attest().Appraise().counts.excluded == 0);
}

TEST_CASE("A denied boot_aggregate fails though the PCRs give it") {
  FakeMachine machine;
  machine.policy.deny = {machine.BootAggregate(kSha256)};
  CHECK(FindingIds(machine.Attest().Appraise()) == Ids{"ima.digest_denied"});
}

TEST_CASE("Excluded entries are counted, not judged") {
  FakeMachine machine;
  machine.policy.excludes = {"/var/cache(/.*)?$"};
  machine.list.AddFile("/var/cache/x", FileDigestOf("x"));
  const Appraisal appraisal = machine.Attest().Appraise();
  CHECK(FindingIds(appraisal).empty());
  CHECK(appraisal.counts.excluded == 1);
  CHECK(appraisal.counts.good == 4);
  CHECK(appraisal.verdict == Verdict::kPass);
}

TEST_CASE("A digest of zeros clears nothing, listed or not") {
  FakeMachine machine;
  machine.policy.digests["/usr/bin/x"] = {Digest(kSha256)};
  machine.list.AddFile("/usr/bin/x", Digest(kSha256));
  const Finding finding = Only(machine);
  CHECK(finding.id == "ima.digest_zero");
  CHECK(finding.severity == Severity::kFailure);
}

TEST_CASE("An algorithm that nobody knows clears nothing") {
  FakeMachine machine;
  std::vector<uint8_t> digest = ToVector(AsBytes("sha257:"));
  digest.push_back(0);
  Append(digest, FileDigestOf("/usr/bin/sh").bytes());
  machine.list.Add(10, "ima-ng", Fields({digest, NameNg("/usr/bin/sh")}));
  const Finding finding = Only(machine);
  CHECK(finding.id == "ima.digest_mismatch");
  CHECK_THAT(finding.detail, Catch::Contains("compared"));
}

TEST_CASE("A fs-verity digest is no file's digest") {
  FakeMachine machine;
  const Digest digest = FileDigestOf("/usr/bin/sh");
  machine.list.Add(10, "ima-ngv2",
                   Fields({DigestNgV2("ima", digest), NameNg("/usr/bin/sh")}));
  CHECK(FindingIds(machine.Attest().Appraise()).empty());
  machine.list.Add(
      10, "ima-ngv2",
      Fields({DigestNgV2("verity", digest), NameNg("/usr/bin/sh")}));
  CHECK(Only(machine).id == "ima.digest_mismatch");
}

TEST_CASE("A denied digest is denied as a fs-verity digest too") {
  FakeMachine machine;
  machine.policy.excludes = {"/usr/bin/old$"};
  machine.policy.deny = {FileDigestOf("old")};
  machine.list.Add(10, "ima-ngv2",
                   Fields({DigestNgV2("verity", FileDigestOf("old")),
                           NameNg("/usr/bin/old")}));
  CHECK(Only(machine).id == "ima.digest_denied");
}

TEST_CASE("The template ima is judged like the others") {
  FakeMachine machine;
  machine.policy.digests["/usr/bin/x"] = {FileDigestOf("x", kSha1)};
  machine.list.AddLegacy("/usr/bin/x", FileDigestOf("x", kSha1));
  CHECK(FindingIds(machine.Attest().Appraise()).empty());
  machine.list.AddLegacy("/usr/bin/x", FileDigestOf("y", kSha1));
  CHECK(Only(machine).id == "ima.digest_mismatch");
}

// Violations.

TEST_CASE("A violation fails, and its path is judged") {
  FakeMachine machine;
  SECTION("of a file that the policy knows") {
    machine.list.AddViolation("/usr/bin/sh");
    CHECK(Only(machine).id == "ima.violation");
  }
  SECTION("of an excluded file") {
    machine.policy.excludes = {"/var/log/.*"};
    machine.list.AddViolation("/var/log/x");
    CHECK(Only(machine).id == "ima.violation");
  }
  SECTION("of another one") {
    machine.list.AddViolation("/tmp/evil");
    const Appraisal appraisal = machine.Attest().Appraise();
    CHECK(FindingIds(appraisal) == Ids{"ima.violation", "ima.not_in_policy"});
    CHECK(appraisal.counts.violations == 1);
    CHECK(appraisal.counts.not_in_policy == 1);
  }
  // Whose it is, no PCR says.
  for (const Finding& finding : machine.Attest().Appraise().findings) {
    CHECK_FALSE(finding.authenticated);
  }
}

TEST_CASE("Tolerated violations are notices, and clear nothing") {
  FakeMachine machine;
  machine.list.AddViolation("/usr/bin/sh");
  ValidEvidence evidence = machine.Attest();
  evidence.reference.tolerate_violations = true;
  const Appraisal tolerated = evidence.Appraise();
  CHECK(FindingIds(tolerated) == Ids{"ima.violation"});
  CHECK(tolerated.verdict == Verdict::kPass);
  CHECK(tolerated.counts.violations == 1);
  CHECK(tolerated.counts.good == 4);

  machine.list.AddViolation("/tmp/evil");
  evidence = machine.Attest();
  evidence.reference.tolerate_violations = true;
  CHECK(evidence.Appraise().verdict == Verdict::kFail);
}

TEST_CASE("Violations of some paths are tolerated") {
  FakeMachine machine;
  machine.policy.digests["/var/log/x"] = {FileDigestOf("x")};
  machine.list.AddViolation("/var/log/x");
  ValidEvidence evidence = machine.Attest();
  evidence.reference.tolerated_violations = testing::Tolerating("/var/log/");
  const Appraisal tolerated = evidence.Appraise();
  REQUIRE(FindingIds(tolerated) == Ids{"ima.violation"});
  CHECK(tolerated.findings[0].severity == appraisal::Severity::kNotice);
  CHECK_FALSE(tolerated.findings[0].authenticated);
  CHECK(tolerated.verdict == Verdict::kPass);
  CHECK(tolerated.counts.violations == 1);

  SECTION("and of no others") {
    machine.list.AddViolation("/usr/bin/sh");
    evidence = machine.Attest();
    evidence.reference.tolerated_violations = testing::Tolerating("/var/log/");
    const Appraisal appraisal = evidence.Appraise();
    CHECK(FindingIds(appraisal) == Ids{"ima.violation", "ima.violation"});
    CHECK(appraisal.verdict == Verdict::kFail);
  }
  SECTION("which clears nothing else") {
    machine.list.AddViolation("/var/log/unlisted");
    evidence = machine.Attest();
    evidence.reference.tolerated_violations = testing::Tolerating("/var/log/");
    CHECK(FindFinding(evidence.Appraise(), "ima.not_in_policy") != nullptr);
  }
  SECTION("from their start on") {
    evidence.reference.tolerated_violations = testing::Tolerating("/log/");
    CHECK(evidence.Appraise().verdict == Verdict::kFail);
  }
  SECTION("but for a record that can't be read") {
    const size_t name_at = machine.list.offsets().back() + 4 + 20 + 4;
    evidence.list[name_at + 6 + 4] ^= 1;
    CHECK(FindingIds(evidence.Appraise()) ==
          Ids{"ima.violation", "ima.template_malformed"});
    CHECK(evidence.Appraise().findings[0].severity ==
          appraisal::Severity::kFailure);
  }
}

TEST_CASE("A violation's record that can't be read is a finding beside it") {
  FakeMachine machine;
  machine.list.AddViolation("/usr/bin/sh");
  ValidEvidence evidence = machine.Attest();
  evidence.reference.tolerate_violations = true;
  const size_t name_at = machine.list.offsets().back() + 4 + 20 + 4;
  SECTION("of a known template") {
    // ima-ng with its fields' size off by one
    evidence.list[name_at + 6 + 4] ^= 1;
    CHECK(FindingIds(evidence.Appraise()) ==
          Ids{"ima.violation", "ima.template_malformed"});
  }
  SECTION("of an unknown one") {
    evidence.list[name_at] = 'x';
    CHECK(FindingIds(evidence.Appraise()) ==
          Ids{"ima.violation", "ima.template_unknown"});
  }
  CHECK(evidence.Appraise().verdict == Verdict::kFail);
}

// Template digest and template.

TEST_CASE("A digest column that is not the data's is a finding of its own") {
  FakeMachine machine;
  machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
  ValidEvidence evidence = machine.Attest();
  evidence.list[machine.list.offsets()[1] + 4] ^= 1;
  evidence.list[machine.list.offsets()[4] + 4] ^= 1;
  const Appraisal appraisal = evidence.Appraise();
  CHECK(FindingIds(appraisal) ==
        Ids{"ima.template_digest", "ima.template_digest", "ima.not_in_policy"});
  CHECK(appraisal.counts.template_digest == 2);
  CHECK(appraisal.counts.good == 3);
  const Finding& finding = appraisal.findings[0];
  CHECK(finding.expected.size() == 40);
  CHECK(finding.found.size() == 40);
  CHECK(finding.expected.substr(2) == finding.found.substr(2));
}

TEST_CASE(
    "An unknown template replays, fails closed, and does not break what "
    "follows") {
  FakeMachine machine;
  machine.list.Add(
      10, "ima-new",
      Fields({DigestNg(FileDigestOf("/usr/bin/sh")), NameNg("/usr/bin/sh")}));
  CHECK(Only(machine).id == "ima.template_unknown");
  machine.Run("/usr/bin/next");
  const Appraisal appraisal = machine.Attest().Appraise();
  CHECK(FindingIds(appraisal) == Ids{"ima.template_unknown"});
  CHECK(appraisal.counts.good == 5);
  CHECK(appraisal.proof == Proof::kQuote);
}

TEST_CASE("Fields that do not fit the template") {
  FakeMachine machine;
  std::vector<uint8_t> data =
      Fields({DigestNg(FileDigestOf("/usr/bin/sh")), NameNg("/usr/bin/sh")});
  SECTION("left over") { data.push_back(0); }
  SECTION("cut off") { data.pop_back(); }
  SECTION("a NUL inside of the path") {
    data = Fields({DigestNg(FileDigestOf("/usr/bin/sh")),
                   NameNg(absl::string_view("/usr\0/bin/sh", 12))});
  }
  machine.list.Add(10, "ima-ng", data);
  CHECK(Only(machine).id == "ima.template_malformed");
}

TEST_CASE("A custom template must start with digest and name") {
  FakeMachine machine;
  const std::vector<uint8_t> digest = DigestNg(FileDigestOf("/usr/bin/sh"));
  const std::vector<uint8_t> name = NameNg("/usr/bin/sh");
  SECTION("it does") {
    machine.list.Add(10, "d-ng|n-ng|sig|iuid",
                     Fields({digest, name, {}, {0, 0, 0, 0}}));
    CHECK(FindingIds(machine.Attest().Appraise()).empty());
  }
  const auto refused = GENERATE(0, 1, 2, 3);
  if (refused == 0) machine.list.Add(10, "n-ng|d-ng", Fields({name, digest}));
  if (refused == 1) {
    machine.list.Add(10, "d-modsig|n-ng|d-ng", Fields({{}, name, digest}));
  }
  if (refused == 2) {
    machine.list.Add(10, "d-ng|sig|n-ng", Fields({digest, {}, name}));
  }
  if (refused == 3) machine.list.Add(10, "n-ng", Fields({name}));
  CHECK(Only(machine).id == "ima.template_unknown");
}

// boot_aggregate.

TEST_CASE("boot_aggregate must be what the PCRs give") {
  FakeMachine machine;
  machine.list = ListBuilder();
  machine.list.AddFile("boot_aggregate", FileDigestOf("another boot"));
  const Finding finding = Only(machine);
  CHECK(finding.id == "ima.boot_aggregate");
  CHECK(finding.expected == "sha256:" + machine.BootAggregate(kSha256).Hex());
}

TEST_CASE("A listed boot_aggregate does not count where it can be computed") {
  FakeMachine machine;
  machine.list = ListBuilder();
  machine.list.AddFile("boot_aggregate", FileDigestOf("another boot"));
  machine.policy.digests["boot_aggregate"] = {FileDigestOf("another boot")};
  const Appraisal appraisal = machine.Attest().Appraise();
  CHECK(FindingIds(appraisal) ==
        Ids{"ima.boot_aggregate_listed", "ima.boot_aggregate"});
  CHECK(appraisal.verdict == Verdict::kFail);

  machine.list = ListBuilder();
  machine.list.AddFile("boot_aggregate", machine.BootAggregate(kSha256));
  const Appraisal right = machine.Attest().Appraise();
  CHECK(FindingIds(right) == Ids{"ima.boot_aggregate_listed"});
  CHECK(right.verdict == Verdict::kPass);
}

TEST_CASE(
    "Without PCR 0 to 9 the policy decides about boot_aggregate, or "
    "nobody") {
  FakeMachine machine;
  machine.quoted_pcrs = 0x400;
  const auto appraise = [&] {
    ValidEvidence evidence = machine.Attest();
    evidence.reference.boot_rule = policy::AnyBoot{};
    return evidence.Appraise();
  };
  CHECK(FindingIds(appraise()) ==
        Ids{"boot.any", "ima.boot_aggregate_unproven"});
  CHECK(appraise().verdict == Verdict::kUndecided);

  machine.policy.digests["boot_aggregate"] = {machine.BootAggregate(kSha256)};
  CHECK(FindingIds(appraise()) == Ids{"boot.any"});
  CHECK(appraise().verdict == Verdict::kPass);

  machine.policy.digests["boot_aggregate"] = {FileDigestOf("another")};
  CHECK(FindingIds(appraise()) == Ids{"boot.any", "ima.digest_mismatch"});
  CHECK(appraise().verdict == Verdict::kFail);
}

TEST_CASE("boot_aggregate is computed by its own algorithm's bank") {
  FakeMachine machine({kSha256, kSha1});
  machine.list = ListBuilder();
  machine.list.AddFile("boot_aggregate", machine.BootAggregate(kSha1));
  CHECK(FindingIds(machine.Attest().Appraise()).empty());
  machine.banks = {kSha256};
  CHECK(FindingIds(machine.Attest().Appraise()) ==
        Ids{"ima.boot_aggregate_unproven"});
}

TEST_CASE("A boot_aggregate of zeros fails, except in the lab") {
  FakeMachine machine;
  machine.list = ListBuilder();
  machine.policy.digests["boot_aggregate"] = {Digest(kSha256)};
  machine.list.AddFile("boot_aggregate", Digest(kSha256));
  CHECK(Only(machine).id == "ima.boot_aggregate_zero");
  ValidEvidence evidence = machine.Attest();
  evidence.reference.lab = true;
  const Appraisal lab = evidence.Appraise();
  CHECK(FindingIds(lab) == Ids{"ima.boot_aggregate_zero"});
  CHECK(lab.verdict == Verdict::kPass);
  CHECK(lab.counts.good == 1);
}

TEST_CASE("A boot_aggregate that is no digest of a file") {
  FakeMachine machine;
  machine.list = ListBuilder();
  machine.list.Add(10, "ima-ngv2",
                   Fields({DigestNgV2("verity", machine.BootAggregate(kSha256)),
                           NameNg("boot_aggregate")}));
  CHECK(Only(machine).id == "ima.boot_aggregate");
}

TEST_CASE("boot_aggregate may recur, and is judged each time") {
  FakeMachine machine;
  machine.list.AddFile("boot_aggregate", machine.BootAggregate(kSha256))
      .AddFile("boot_aggregate_late", machine.BootAggregate(kSha256));
  Appraisal appraisal = machine.Attest().Appraise();
  CHECK(FindingIds(appraisal) == Ids{"boot.kexec", "boot.kexec"});
  CHECK(appraisal.verdict == Verdict::kFail);
  CHECK(appraisal.findings[1].found == "a kexec at entry 5");
  ValidEvidence evidence = machine.Attest();
  evidence.reference.boot_rule = policy::AnyBoot{};
  appraisal = evidence.Appraise();
  CHECK(FindingIds(appraisal) == Ids{"boot.any", "boot.kexec", "boot.kexec"});
  CHECK(appraisal.verdict == Verdict::kPass);
  CHECK(appraisal.counts.good == 6);
}

TEST_CASE("Whatever is called boot_aggregate begins a kernel") {
  FakeMachine machine;
  machine.Run("/etc/ima/ima-policy");
  machine.list.AddFile("boot_aggregate", FileDigestOf("somebody's"));
  ValidEvidence evidence = machine.Attest();
  evidence.reference.ima_policies = {"/etc/ima/ima-policy"};
  const Appraisal appraisal = evidence.Appraise();
  CHECK(FindingIds(appraisal) ==
        Ids{"boot.kexec", "ima.boot_aggregate", "ima.policy_unproven"});
  CHECK(appraisal.counts.other_failures == 1);
}

TEST_CASE(
    "No exclude is about boot_aggregate unless it names it, nor then "
    "where the PCRs decide") {
  FakeMachine machine;
  machine.policy.excludes = {"/.*", "boot_aggregate"};
  machine.list.AddFile("boot_aggregate", FileDigestOf("another"));
  CHECK(FindFinding(machine.Attest().Appraise(), "ima.boot_aggregate") !=
        nullptr);
}

TEST_CASE("Without PCR 0 to 9 an exclude that names boot_aggregate covers it") {
  FakeMachine machine;
  machine.quoted_pcrs = 0x400;
  const auto appraise = [&] {
    ValidEvidence evidence = machine.Attest();
    evidence.reference.boot_rule = policy::AnyBoot{};
    return evidence.Appraise();
  };
  machine.policy.excludes = {"/.*", "/boot_aggregate", "boot_"};
  CHECK(FindingIds(appraise()) ==
        Ids{"boot.any", "ima.boot_aggregate_unproven"});
  machine.policy.excludes = {"boot_aggregate"};
  CHECK(FindingIds(appraise()) == Ids{"boot.any"});
  CHECK(appraise().verdict == Verdict::kPass);
  CHECK(appraise().counts.excluded == 1);
  machine.policy.digests["boot_aggregate"] = {FileDigestOf("another")};
  CHECK(FindingIds(appraise()) == Ids{"boot.any"});
  machine.policy.digests["boot_aggregate"] = {machine.BootAggregate(kSha256)};
  CHECK(appraise().counts.excluded == 0);
}

// Buffers.

TEST_CASE("A buffer must be listed as one") {
  FakeMachine machine;
  const auto buffer = AsBytes("root=/dev/sda ro");
  machine.list.AddBuffer("kexec-cmdline", buffer);
  CHECK(Only(machine).id == "ima.buffer_not_in_policy");
  machine.policy.buffers["kexec-cmdline"] = {FileDigestOf("another line")};
  CHECK(Only(machine).id == "ima.buffer_mismatch");
  machine.policy.buffers["kexec-cmdline"].push_back(
      crypto::Hash(kSha256, buffer));
  CHECK(FindingIds(machine.Attest().Appraise()).empty());
  machine.policy.deny = {crypto::Hash(kSha256, buffer)};
  CHECK(Only(machine).id == "ima.digest_denied");
}

TEST_CASE("A buffer's digest is checked, not believed") {
  FakeMachine machine;
  const Digest listed = FileDigestOf("what is listed");
  machine.policy.buffers["kexec-cmdline"] = {listed};
  machine.list.AddBuffer("kexec-cmdline", AsBytes("init=/tmp/evil"), listed);
  CHECK(Only(machine).id == "ima.buffer_digest");
}

TEST_CASE("A buffer without a digest that can be computed") {
  FakeMachine machine;
  std::vector<uint8_t> digest = DigestNg(Digest(HashAlgorithm::kSm3_256));
  digest.back() = 1;
  machine.list.Add(
      10, "ima-buf",
      Fields({digest, NameNg("kexec-cmdline"), ToVector(AsBytes("x"))}));
  CHECK(Only(machine).id == "ima.buffer_digest");
}

TEST_CASE(
    "What clears a file of a buffer's name and digest clears the buffer: "
    "renaming the template gains nothing") {
  FakeMachine machine;
  const auto buffer = AsBytes("\x30\x82 a key");
  machine.list.AddBuffer(".ima", buffer);
  CHECK(Only(machine).id == "ima.buffer_not_in_policy");
  SECTION("a list of files") {
    machine.policy.digests[".ima"] = {crypto::Hash(kSha256, buffer)};
    CHECK(machine.Attest().Appraise().counts.good == 5);
  }
  SECTION("an exclude") {
    machine.policy.excludes = {"\\.ima$"};
    CHECK(machine.Attest().Appraise().counts.excluded == 1);
  }
  CHECK(FindingIds(machine.Attest().Appraise()).empty());
}

TEST_CASE(
    "A file measured with ima-buf has an empty buffer, and is judged as "
    "a file") {
  FakeMachine machine;
  machine.list.AddBuffer("/usr/bin/sh", {}, FileDigestOf("/usr/bin/sh"));
  CHECK(FindingIds(machine.Attest().Appraise()).empty());
  machine.list.AddBuffer("/tmp/evil", {}, FileDigestOf("evil"));
  CHECK(Only(machine).id == "ima.not_in_policy");
}

// Several at once.

TEST_CASE("One finding never hides the next") {
  FakeMachine machine;
  machine.policy.deny = {FileDigestOf("denied")};
  machine.list.AddFile("/a", FileDigestOf("a"))
      .AddFile("/usr/bin/sh", FileDigestOf("b"))
      .AddFile("/usr/bin/sh", FileDigestOf("denied"))
      .AddFile("/c", Digest(kSha512))
      .AddViolation("/usr/bin/sh")
      .AddBuffer("x", AsBytes("x"))
      .Add(10, "new", AsBytes("x"))
      .Add(10, "ima-ng", AsBytes("x"));
  ValidEvidence evidence = machine.Attest();
  evidence.nonce.push_back(0);
  const Appraisal appraisal = evidence.Appraise();
  CHECK(FindingIds(appraisal) ==
        Ids{"quote.nonce", "ima.not_in_policy", "ima.digest_mismatch",
            "ima.digest_denied", "ima.digest_zero", "ima.violation",
            "ima.buffer_not_in_policy", "ima.template_unknown",
            "ima.template_malformed"});
  for (size_t i = 1; i < appraisal.findings.size(); ++i) {
    CHECK(appraisal.findings[i].entry_index == i + 3);
    CHECK_FALSE(appraisal.findings[i].authenticated);
  }
  const EntryCounts& counts = appraisal.counts;
  CHECK(counts.entries == 12);
  CHECK(counts.good == 4);
  CHECK(counts.excluded == 0);
  CHECK(counts.not_in_policy == 1);
  CHECK(counts.digest_mismatch == 1);
  CHECK(counts.violations == 1);
  CHECK(counts.template_digest == 0);
  CHECK(counts.other_failures == 5);
  CHECK(counts.pending == 0);
}

}  // namespace
}  // namespace cupel::appraisal
