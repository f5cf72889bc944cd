// Attacks on what a policy says: paths, excludes, violations, rollback.
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "common/policy/exclude_lint.h"
#include "common/policy/exclude_list.h"
#include "common/util/bytes.h"
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

constexpr HashAlgorithm kMd5 = HashAlgorithm::kMd5;
using HashAlgorithm::kSha1;
using HashAlgorithm::kSha256;

Appraisal Appraise(const FakeMachine& machine) {
  return machine.Attest().Appraise();
}

TEST_CASE("A11: a bad file under a good path, and the reverse") {
  FakeMachine machine;
  SECTION("a bind mount, a chroot, a container's own /usr/bin/sh") {
    machine.list.AddFile("/usr/bin/sh", FileDigestOf("evil"));
    CHECK(FindingIds(Appraise(machine)) == Ids{"ima.digest_mismatch"});
  }
  SECTION("a copy elsewhere") {
    machine.list.AddFile("/tmp/sh", FileDigestOf("/usr/bin/sh"));
    CHECK(FindingIds(Appraise(machine)) == Ids{"ima.not_in_policy"});
  }
  SECTION("another listed file's content") {
    machine.list.AddFile("/usr/bin/init", FileDigestOf("/usr/bin/sh"));
    CHECK(FindingIds(Appraise(machine)) == Ids{"ima.digest_mismatch"});
  }
  SECTION("memory") {
    machine.policy.excludes = {"/.*", ".+", "[a-z]+"};
    machine.list.AddFile("memfd:sh", FileDigestOf("evil"));
    CHECK(FindingIds(Appraise(machine)) == Ids{"ima.not_in_policy"});
  }
}

TEST_CASE("A12: patterns that backtrack without end elsewhere") {
  FakeMachine machine;
  machine.policy.excludes = {"/(a+)+$", "/(a|a)*b$", "/(.*a){20}$",
                             "/(x+x+)+y"};
  machine.list.AddFile("/" + std::string(4000, 'a') + "!",
                       FileDigestOf("evil"));
  machine.list.AddFile("/" + std::string(4000, 'x'), FileDigestOf("evil"));
  CHECK(FindingIds(Appraise(machine)) ==
        Ids{"ima.not_in_policy", "ima.not_in_policy"});
}

TEST_CASE("A12: empty patterns, and those that match nothing, are refused") {
  for (const char* pattern : {"", "|/tmp", "/tmp|", "()", "a*", "(?:)"}) {
    INFO(pattern);
    CHECK_FALSE(policy::ExcludeSet::Create({{pattern, "x"}}).ok());
  }
}

TEST_CASE("A12: a pattern that excludes more than it seems to is warned of") {
  for (const char* pattern : {"/.*", "/usr.*", "/tmp"}) {
    INFO(pattern);
    const std::vector<policy::ExcludePattern> patterns = {{pattern, "x"}};
    CHECK_FALSE(policy::LintExcludes(patterns, "x").empty());
  }
}

TEST_CASE("A13: a violation forced, so that a bad file is skipped") {
  FakeMachine machine;
  machine.list.AddViolation("/usr/bin/sh");
  SECTION("the violation itself") {
    CHECK(FindingIds(Appraise(machine)) == Ids{"ima.violation"});
  }
  SECTION("the file measured beside it") {
    machine.list.AddFile("/usr/bin/sh", FileDigestOf("evil"));
    CHECK(FindingIds(Appraise(machine)) ==
          Ids{"ima.violation", "ima.digest_mismatch"});
  }
  SECTION("of a file that no policy names") {
    machine.list.AddViolation("/tmp/evil");
    CHECK(FindingIds(Appraise(machine)) ==
          Ids{"ima.violation", "ima.violation", "ima.not_in_policy"});
  }
  SECTION("where they are tolerated") {
    machine.list.AddViolation("/tmp/evil");
    machine.list.AddFile("/usr/bin/sh", FileDigestOf("evil"));
    ValidEvidence evidence = machine.Attest();
    evidence.reference.tolerate_violations = true;
    const Appraisal appraisal = evidence.Appraise();
    CHECK(FindFinding(appraisal, "ima.not_in_policy") != nullptr);
    CHECK(FindFinding(appraisal, "ima.digest_mismatch") != nullptr);
    CHECK(appraisal.verdict == Verdict::kFail);
  }
  CHECK(Appraise(machine).verdict == Verdict::kFail);
}

// What tolerance by path comes to, and where it ends: no PCR covers the path.
TEST_CASE("A13: a violation is given a path that is tolerated") {
  FakeMachine machine;
  machine.policy.digests["/var/log/x"] = {FileDigestOf("x")};
  machine.list.AddViolation("/var/log/x");
  machine.list.AddFile("/usr/bin/sh", FileDigestOf("evil"));
  ValidEvidence evidence = machine.Attest();
  evidence.reference.tolerated_violations = testing::Tolerating("/var/log/");
  const Appraisal appraisal = evidence.Appraise();
  CHECK(appraisal.verdict == Verdict::kFail);
  // It shows that nobody vouches for the path, and what ran is judged.
  const appraisal::Finding* violation = FindFinding(appraisal, "ima.violation");
  REQUIRE(violation != nullptr);
  CHECK_FALSE(violation->authenticated);
  CHECK(FindFinding(appraisal, "ima.digest_mismatch") != nullptr);
}

TEST_CASE("A13: an entry that was none is dressed up as a violation") {
  FakeMachine machine;
  machine.list.AddFile("/usr/bin/sh", FileDigestOf("evil"));
  ValidEvidence evidence = machine.Attest();
  evidence.reference.tolerate_violations = true;
  const size_t digest = machine.list.offsets().back() + 4;
  for (size_t i = 0; i < 20; ++i) evidence.list[digest + i] = 0;
  const Appraisal appraisal = evidence.Appraise();
  CHECK(FindFinding(appraisal, "ima.history_lost") != nullptr);
  CHECK(appraisal.verdict == Verdict::kFail);
}

TEST_CASE("A13: a digest of zeros, listed and tolerated") {
  FakeMachine machine;
  machine.policy.digests["/usr/bin/x"] = {Digest(kSha256)};
  machine.list.AddFile("/usr/bin/x", Digest(kSha256));
  ValidEvidence evidence = machine.Attest();
  evidence.reference.tolerate_violations = true;
  evidence.reference.lab = true;
  CHECK(FindingIds(evidence.Appraise()) == Ids{"ima.digest_zero"});
}

TEST_CASE("A13: violations by the thousand drown no finding") {
  FakeMachine machine;
  for (int i = 0; i < 30'000; ++i) machine.list.AddViolation("/usr/bin/sh");
  machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
  ValidEvidence evidence = machine.Attest();
  evidence.reference.tolerate_violations = true;
  const Appraisal appraisal = evidence.Appraise();
  CHECK(FindFinding(appraisal, "ima.not_in_policy") != nullptr);
  CHECK(appraisal.verdict == Verdict::kFail);
}

TEST_CASE("A14: an old, vulnerable file that some policy still lists") {
  FakeMachine machine;
  machine.Run("/usr/bin/old");
  machine.policy.deny = {FileDigestOf("/usr/bin/old")};
  machine.policy.excludes = {"/usr/bin/.*"};
  CHECK(FindingIds(Appraise(machine)) == Ids{"ima.digest_denied"});
  // Wherever it is moved.
  machine.list.AddFile("/usr/bin/new_name", FileDigestOf("/usr/bin/old"));
  CHECK(FindingIds(Appraise(machine)) ==
        Ids{"ima.digest_denied", "ima.digest_denied"});
}

TEST_CASE("A14: a digest of a weaker algorithm stands for no other") {
  FakeMachine machine;
  // Listed by SHA-256; measured by what collides.
  for (const HashAlgorithm weak : {kMd5, kSha1}) {
    FakeMachine attacked = machine;
    Digest digest(weak);
    digest.mutable_bytes()[0] = 1;
    attacked.list.AddFile("/usr/bin/sh", digest);
    CHECK(FindingIds(Appraise(attacked)) == Ids{"ima.digest_mismatch"});
  }
}

TEST_CASE("A14: an algorithm's name over another one's digest") {
  FakeMachine machine;
  const Digest listed = FileDigestOf("x", kSha1);
  machine.policy.digests["/usr/bin/x"] = {listed};
  std::vector<uint8_t> content = ToVector(AsBytes("sha256:"));
  SECTION("cut") {
    content.push_back(0);
    Append(content, listed.bytes());
    std::vector<uint8_t> data = Field(content);
    Append(data, Field(NameNg("/usr/bin/x")));
    machine.list.Add(10, "ima-ng", data);
    CHECK(FindingIds(Appraise(machine)) == Ids{"ima.template_malformed"});
  }
  SECTION("padded") {
    content.push_back(0);
    Append(content, listed.bytes());
    content.resize(content.size() + 12);
    std::vector<uint8_t> data = Field(content);
    Append(data, Field(NameNg("/usr/bin/x")));
    machine.list.Add(10, "ima-ng", data);
    CHECK(FindingIds(Appraise(machine)) == Ids{"ima.digest_mismatch"});
  }
}

TEST_CASE("A32: progress made with another policy is no pass for this one") {
  FakeMachine machine;
  machine.Run("/usr/bin/old");
  const Progress progress = Appraise(machine).progress;
  // The list stays as it is; the deny list grows.
  machine.policy.deny = {FileDigestOf("/usr/bin/old")};
  machine.policy.content_id = "policy-2";
  ValidEvidence evidence = machine.Attest();
  evidence.progress = progress;
  evidence.first_entry = progress.entry_count;
  evidence.list.clear();
  const Appraisal rest = evidence.Appraise();
  CHECK(FindingIds(rest) == Ids{"ima.list_start"});
  CHECK(rest.verdict == Verdict::kUndecided);

  evidence.first_entry = 0;
  evidence.list = machine.list.bytes();
  const Appraisal whole = evidence.Appraise();
  CHECK(FindingIds(whole) == Ids{"ima.digest_denied"});
  CHECK(whole.verdict == Verdict::kFail);
}

TEST_CASE(
    "A32: the order of policies, and whose excludes count, are part of "
    "the policy") {
  const auto make = [](const char* id) {
    auto policy = std::make_shared<policy::RuntimePolicy>();
    policy->content_id = id;
    return policy;
  };
  const auto key = [](std::vector<policy::PolicyAssignment> policies) {
    appraisal::Reference reference;
    reference.policy =
        policy::CompiledPolicy::Create(std::move(policies)).value();
    return appraisal::ProgressKey({}, reference, {{kSha256}});
  };
  const auto a = make("a");
  const auto b = make("b");
  CHECK(key({{a}, {b}}) == key({{a}, {b}}));
  CHECK(key({{a}, {b}}) != key({{b}, {a}}));
  CHECK(key({{a}, {b}}) != key({{a}}));
  CHECK(key({{a}}) != key({{a, false}}));
}

TEST_CASE("A37: a path spoofed by its last part") {
  FakeMachine machine;
  machine.policy.excludes = {"cache", "var/cache/.*", "/var/cache/.*"};
  for (const char* path : {"/tmp/cache", "/srv/u/var/cache/x", "/var/cachex",
                           "memfd:/var/cache/x", "/tmp/var/cache/x"}) {
    FakeMachine attacked = machine;
    attacked.list.AddFile(path, FileDigestOf("evil"));
    INFO(path);
    CHECK(FindingIds(Appraise(attacked)) == Ids{"ima.not_in_policy"});
  }
}

TEST_CASE("A37: what excludes let through is counted, entry by entry") {
  FakeMachine machine;
  machine.policy.excludes = {"/var/cache/.*"};
  // A mount in a user's own namespace shows this path to the kernel.
  for (int i = 0; i < 7; ++i) {
    machine.list.AddFile("/var/cache/x", FileDigestOf("evil"));
  }
  const Appraisal appraisal = Appraise(machine);
  CHECK(appraisal.verdict == Verdict::kPass);
  CHECK(appraisal.counts.excluded == 7);
  CHECK(appraisal.counts.good == 4);
  // An exclude beats no deny.
  machine.policy.deny = {FileDigestOf("evil")};
  CHECK(Appraise(machine).counts.excluded == 0);
  CHECK(Appraise(machine).verdict == Verdict::kFail);
}

}  // namespace
}  // namespace cupel
