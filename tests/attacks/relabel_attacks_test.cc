// Attacks on what no hash covers: template names, the digest column, the
// record of a violation. And the proof that all else is covered, byte by byte,
// on lists that kernels wrote.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "catch2/catch.hpp"
#include "common/appraisal/reference_values.h"
#include "common/ima/template.h"
#include "common/util/bytes.h"
#include "tests/support/evidence_builder.h"
#include "tests/support/real_lists.h"
#include "tests/support/status_matchers.h"

namespace cupel {
namespace {

using ::cupel::appraisal::Appraisal;
using ::cupel::appraisal::Finding;
using ::cupel::appraisal::Severity;
using ::cupel::appraisal::Verdict;
using ::cupel::crypto::Digest;
using ::cupel::crypto::HashAlgorithm;
using ::cupel::testing::DigestNg;
using ::cupel::testing::FakeMachine;
using ::cupel::testing::Field;
using ::cupel::testing::FileDigestOf;
using ::cupel::testing::FindFinding;
using ::cupel::testing::FindingIds;
using ::cupel::testing::IsOk;
using ::cupel::testing::NameNg;
using ::cupel::testing::RealList;
using ::cupel::testing::StatusOf;
using ::cupel::testing::ValidEvidence;
using Ids = std::vector<std::string>;

using HashAlgorithm::kSha256;
constexpr HashAlgorithm kBanks[] = {HashAlgorithm::kSha1, kSha256,
                                    HashAlgorithm::kSha384,
                                    HashAlgorithm::kSha512};

// A real list with its PCR values, judged by a policy that was made from it.
ValidEvidence Evidence(const RealList& list) {
  ValidEvidence evidence;
  evidence.list = list.binary;
  for (const HashAlgorithm bank : kBanks) {
    for (uint32_t pcr = 0; pcr < 24; ++pcr) {
      if (const auto value = list.Pcr(bank, pcr)) {
        REQUIRE(evidence.pcrs.Set(pcr, *value).ok());
      }
    }
  }
  auto made = appraisal::MakePolicyFromList(list.binary, {}, {});
  REQUIRE_THAT(StatusOf(made), IsOk());
  for (const ima::Entry& entry : testing::ParseWhole(list.binary)) {
    const auto fields = ima::ParseFields(entry);
    if (fields.ok() && fields->digest.has_value() &&
        fields->buffer.has_value() && !fields->buffer->empty()) {
      made->buffers[std::string(fields->path)].push_back(
          *Digest::Create(*fields->digest->algorithm, fields->digest->bytes));
    }
  }
  evidence.reference.policy =
      policy::CompiledPolicy::Create(
          {{std::make_shared<policy::RuntimePolicy>(*std::move(made)), true}})
          .value();
  // These machines were emulated, most of them without firmware.
  evidence.reference.lab = true;
  evidence.reference.allow_sha1_bank = true;
  evidence.reference.tolerate_violations = true;
  evidence.reference.padded_sha1_banks = {HashAlgorithm::kSha384,
                                          HashAlgorithm::kSha512};
  return evidence;
}

// What the findings say, texts apart.
using Summary = std::vector<std::tuple<std::string, Severity, uint64_t>>;
Summary Summarize(const Appraisal& appraisal) {
  Summary summary;
  for (const Finding& finding : appraisal.findings) {
    summary.emplace_back(std::string(finding.id), finding.severity,
                         finding.entry_index.value_or(0));
  }
  return summary;
}

// Where a byte of a record stands.
enum class Part { kPcr, kDigest, kNameSize, kName, kDataSize, kData };
Part PartOf(const ima::Entry& entry, size_t at) {
  if (at < 4) return Part::kPcr;
  at -= 4;
  if (at < entry.template_digest.size()) return Part::kDigest;
  at -= entry.template_digest.size();
  if (at < 4) return Part::kNameSize;
  at -= 4;
  if (at < entry.template_name.size()) return Part::kName;
  at -= entry.template_name.size();
  if (!entry.IsLegacy()) return at < 4 ? Part::kDataSize : Part::kData;
  // "ima": the file's digest, the size of its name, the name.
  return at >= 20 && at < 24 ? Part::kDataSize : Part::kData;
}

void CheckByte(const ValidEvidence& valid, const Appraisal& base,
               const ima::Entry& entry, size_t at) {
  const size_t place = static_cast<size_t>(entry.offset) + at;
  ValidEvidence evidence = valid;
  evidence.list[place] ^= static_cast<uint8_t>(1U << place % 8);
  const Appraisal appraisal = evidence.Appraise();
  const Part part = PartOf(entry, at);
  const bool lost = FindFinding(appraisal, "ima.history_lost") != nullptr ||
                    FindFinding(appraisal, "ima.list_malformed") != nullptr;
  bool right = appraisal.verdict != Verdict::kPass;
  if (part == Part::kData && entry.IsViolation()) {
    // No PCR covers it: it may add to the findings, and must keep them.
    right = std::ranges::includes(Summarize(appraisal), Summarize(base));
    right &= appraisal.counts.violations == base.counts.violations;
  } else if (part == Part::kData) {
    right &= lost;
  } else {
    right &= Summarize(appraisal) != Summarize(base);
  }
  if (!right) {
    INFO("byte " << place << ", " << at << " of entry " << entry.index << " ("
                 << entry.template_name << ")");
    INFO(Catch::Detail::stringify(FindingIds(appraisal)));
    CHECK(right);
  }
}

TEST_CASE("A43: every byte of every real list counts") {
  size_t lists = 0;
  for (const RealList& list : testing::RealLists()) {
    if (list.pcrs.empty() || list.IsAfterKexec()) continue;
    ++lists;
    INFO(list.name);
    const ValidEvidence valid = Evidence(list);
    const Appraisal base = valid.Appraise();
    INFO(Catch::Detail::stringify(FindingIds(base)));
    CHECK(FindFinding(base, "ima.history_lost") == nullptr);
    // One has fs-verity digests, which no policy can list.
    CHECK(
        (base.verdict == Verdict::kPass || list.name == "custom-policy-keys"));
    for (const ima::Entry& entry : testing::ParseWhole(list.binary)) {
      for (size_t at = 0; at < entry.record_size; ++at) {
        CheckByte(valid, base, entry, at);
      }
    }
  }
  CHECK(lists == 30);
}

// `list` with entry `index` under another template's name.
std::vector<uint8_t> Renamed(std::vector<uint8_t> list, size_t index,
                             absl::string_view name) {
  const std::vector<uint8_t> whole = list;
  const ima::Entry entry = testing::ParseWhole(whole)[index];
  const auto at = list.begin() + static_cast<std::ptrdiff_t>(entry.offset + 24);
  const auto end =
      at + static_cast<std::ptrdiff_t>(4 + entry.template_name.size());
  const std::vector<uint8_t> field = Field(AsBytes(name));
  list.insert(list.erase(at, end), field.begin(), field.end());
  return list;
}

const char* const kTemplates[] = {"ima-ng",
                                  "ima-sig",
                                  "ima-buf",
                                  "ima-ngv2",
                                  "ima-sigv2",
                                  "ima-modsig",
                                  "evm-sig",
                                  "d-ng|n-ng",
                                  "d-ng|n-ng|sig",
                                  "d-ng|n-ng|buf",
                                  "d-ng|n-ng|evmsig",
                                  "d-ng|n-ng|modsig",
                                  "d-ng|n-ng|xattrvalues",
                                  "n-ng|d-ng",
                                  "d|n",
                                  "unknown"};

TEST_CASE(
    "A43: no entry of a real list passes under a name that it would not "
    "pass under as it is") {
  for (const char* name :
       {"sig-signed", "buf-for-files", "modsig", "ngv2", "evmsig-signed",
        "critical-data-selinux", "custom-policy-keys", "legacy-ima-template"}) {
    const RealList& list = testing::RealListNamed(name);
    ValidEvidence evidence = Evidence(list);
    // Nothing is listed: whatever passes now, passes by its name.
    evidence.reference.policy = testing::MakePolicy({});
    const appraisal::EntryCounts base = evidence.Appraise().counts;
    const size_t count = testing::ParseWhole(list.binary).size();
    for (size_t index = 0; index < count; ++index) {
      for (const char* renamed : kTemplates) {
        evidence.list = Renamed(list.binary, index, renamed);
        const Appraisal appraisal = evidence.Appraise();
        INFO(list.name << " entry " << index << " as " << renamed);
        CHECK(appraisal.counts.good <= base.good);
        CHECK(appraisal.counts.excluded == 0);
        CHECK(appraisal.verdict != Verdict::kPass);
      }
    }
  }
}

TEST_CASE(
    "A43: a signature called a buffer, and a template that nobody "
    "knows") {
  FakeMachine machine;
  machine.policy.digests["/usr/bin/signed"] = {FileDigestOf("signed")};
  machine.list.AddSigned("/usr/bin/signed", FileDigestOf("signed"),
                         AsBytes("\x03\x02 a signature"));
  ValidEvidence evidence = machine.Attest();
  CHECK(FindingIds(evidence.Appraise()).empty());
  evidence.list = Renamed(machine.list.bytes(), 4, "ima-buf");
  CHECK(FindingIds(evidence.Appraise()) == Ids{"ima.buffer_digest"});
  evidence.list = Renamed(machine.list.bytes(), 4, "ima-ng");
  CHECK(FindingIds(evidence.Appraise()) == Ids{"ima.template_malformed"});
  evidence.list = Renamed(machine.list.bytes(), 4, "ima-new");
  CHECK(FindingIds(evidence.Appraise()) == Ids{"ima.template_unknown"});
}

TEST_CASE("A43: a buffer called a file") {
  FakeMachine machine;
  const auto line = AsBytes("root=/dev/sda init=/tmp/evil");
  machine.list.AddBuffer("kexec-cmdline", line);
  machine.policy.excludes = {"/.*"};
  ValidEvidence evidence = machine.Attest();
  CHECK(FindingIds(evidence.Appraise()) == Ids{"ima.buffer_not_in_policy"});
  evidence.list = Renamed(machine.list.bytes(), 4, "ima-sig");
  CHECK(FindingIds(evidence.Appraise()) == Ids{"ima.not_in_policy"});
}

TEST_CASE("A43: the digest without an appended signature called the file's") {
  // What is listed is the file as it was before somebody appended to it.
  FakeMachine machine;
  machine.policy.digests["/usr/bin/script"] = {FileDigestOf("the script")};
  std::vector<uint8_t> data =
      Field(DigestNg(FileDigestOf("the script, and more")));
  Append(data, Field(NameNg("/usr/bin/script")));
  Append(data, Field({}));
  Append(data, Field(DigestNg(FileDigestOf("the script"))));
  Append(data, Field(AsBytes("PKCS#7 with a surprise")));
  machine.list.Add(10, "ima-modsig", data);
  ValidEvidence evidence = machine.Attest();
  CHECK(FindingIds(evidence.Appraise()) == Ids{"ima.digest_mismatch"});
  for (const char* name :
       {"d-modsig|n-ng|sig|d-ng|modsig", "modsig|n-ng|sig|d-ng|evmsig",
        "buf|n-ng|sig|d-ng|modsig", "sig|n-ng|evmsig|d-ng|modsig"}) {
    evidence.list = Renamed(machine.list.bytes(), 4, name);
    INFO(name);
    CHECK(FindingIds(evidence.Appraise()) == Ids{"ima.template_unknown"});
  }
}

TEST_CASE("A43: bytes that the machine's owner chose called digest or path") {
  // An extended attribute holds what d-ng or n-ng would.
  FakeMachine machine;
  machine.policy.digests["/usr/bin/sh"] = {FileDigestOf("/usr/bin/sh")};
  machine.policy.excludes = {"/var/cache/.*"};
  const bool as_digest = GENERATE(true, false);
  const std::vector<uint8_t> chosen =
      as_digest ? DigestNg(FileDigestOf("/usr/bin/sh"))
                : NameNg("/var/cache/x");
  std::vector<uint8_t> lengths(4);
  lengths[0] = static_cast<uint8_t>(chosen.size());
  std::vector<uint8_t> data = Field(DigestNg(FileDigestOf("evil")));
  Append(data, Field(NameNg("/usr/bin/sh")));
  Append(data, Field({}));
  Append(data, Field(NameNg("security.selinux")));
  Append(data, Field(lengths));
  Append(data, Field(chosen));
  Append(data, Field(std::vector<uint8_t>(4)));
  Append(data, Field(std::vector<uint8_t>(4)));
  Append(data, Field(std::vector<uint8_t>(2)));
  machine.list.Add(10, "evm-sig", data);
  ValidEvidence evidence = machine.Attest();
  CHECK(FindingIds(evidence.Appraise()) == Ids{"ima.digest_mismatch"});
  evidence.list =
      Renamed(machine.list.bytes(), 4,
              as_digest ? "evmsig|n-ng|sig|modsig|buf|d-ng|iuid|igid|imode"
                        : "d-ng|evmsig|sig|modsig|buf|n-ng|iuid|igid|imode");
  CHECK(FindingIds(evidence.Appraise()) == Ids{"ima.template_unknown"});
}

TEST_CASE("A43: a fs-verity digest called a file's") {
  FakeMachine machine;
  std::vector<uint8_t> digest = ToVector(AsBytes("verity:"));
  Append(digest, DigestNg(FileDigestOf("/usr/bin/sh")));
  std::vector<uint8_t> data = Field(digest);
  Append(data, Field(NameNg("/usr/bin/sh")));
  machine.list.Add(10, "ima-ngv2", data);
  ValidEvidence evidence = machine.Attest();
  CHECK(FindingIds(evidence.Appraise()) == Ids{"ima.digest_mismatch"});
  for (const char* name : kTemplates) {
    evidence.list = Renamed(machine.list.bytes(), 4, name);
    INFO(name);
    CHECK(evidence.Appraise().verdict == Verdict::kFail);
  }
}

TEST_CASE("A43: the path of a violation rewritten") {
  FakeMachine machine;
  machine.policy.excludes = {"/var/cache/.*"};
  machine.list.AddViolation("/tmp/ev");
  ValidEvidence evidence = machine.Attest();
  CHECK(FindingIds(evidence.Appraise()) ==
        Ids{"ima.violation", "ima.not_in_policy"});
  FakeMachine innocent;
  innocent.policy = machine.policy;
  const auto path =
      GENERATE("/usr/bin/sh", "/var/cache/x", "boot_aggregate", "/tmp/another");
  innocent.list.AddViolation(path);
  evidence.list = innocent.list.bytes();
  const Appraisal appraisal = evidence.Appraise();
  INFO(path);
  const Finding* violation = FindFinding(appraisal, "ima.violation");
  REQUIRE(violation != nullptr);
  CHECK(violation->severity == Severity::kFailure);
  CHECK(violation->path == path);
  for (const Finding& finding : appraisal.findings) {
    CHECK_FALSE(finding.authenticated);
  }
  CHECK(appraisal.verdict == Verdict::kFail);
}

TEST_CASE("A43: entries of one PCR put under another's number") {
  FakeMachine machine;
  machine.quoted_pcrs |= uint32_t{1} << 11;
  machine.list_pcrs = {10, 11};
  machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
  machine.Run("/usr/bin/eleven", 11);
  for (const uint8_t pcr : {uint8_t{0}, uint8_t{11}, uint8_t{12}, uint8_t{16},
                            uint8_t{24}, uint8_t{255}}) {
    ValidEvidence evidence = machine.Attest();
    evidence.list[machine.list.offsets()[4]] = pcr;
    const Appraisal appraisal = evidence.Appraise();
    INFO(int{pcr});
    CHECK(appraisal.verdict != Verdict::kPass);
    CHECK(appraisal.proof == appraisal::Proof::kNone);
  }
}

}  // namespace
}  // namespace cupel
