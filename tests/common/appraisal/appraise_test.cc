#include "common/appraisal/appraise.h"

#include <stdexcept>
#include <string>
#include <vector>

#include "catch2/catch.hpp"
#include "common/appraisal/finding_log.h"
#include "tests/support/evidence_builder.h"
#include "tests/support/status_matchers.h"

namespace cupel::appraisal {
namespace {

using ::cupel::crypto::HashAlgorithm;
using ::cupel::testing::FakeMachine;
using ::cupel::testing::FileDigestOf;
using ::cupel::testing::FindFinding;
using ::cupel::testing::FindingIds;
using ::cupel::testing::StatusIs;
using ::cupel::testing::StatusOf;
using ::cupel::testing::ValidEvidence;

TEST_CASE("Severities have names") {
  CHECK(SeverityName(Severity::kNotice) == "notice");
  CHECK(SeverityName(Severity::kUndecided) == "undecided");
  CHECK(SeverityName(Severity::kFailure) == "failure");
}

TEST_CASE("A missing policy or key is an error, never a pass") {
  ValidEvidence evidence = FakeMachine().Attest();
  SECTION("policy") {
    evidence.reference.policy = nullptr;
    CHECK_THAT(StatusOf(evidence.TryAppraise()),
               StatusIs(absl::StatusCode::kInvalidArgument, "policy"));
  }
  SECTION("key") {
    evidence.ak.reset();
    CHECK_THAT(StatusOf(evidence.TryAppraise()),
               StatusIs(absl::StatusCode::kInvalidArgument, "key"));
  }
}

TEST_CASE("The worst finding gives the verdict") {
  FakeMachine machine;
  ValidEvidence evidence = machine.Attest();
  // A notice.
  evidence.ek_name.clear();
  CHECK(evidence.Appraise().verdict == Verdict::kPass);
  // And something undecided.
  evidence.list.push_back(0);
  CHECK(evidence.Appraise().verdict == Verdict::kUndecided);
  // And a failure, whatever comes after it.
  evidence.nonce.push_back(0);
  const Appraisal appraisal = evidence.Appraise();
  CHECK(appraisal.findings.back().severity == Severity::kUndecided);
  CHECK(appraisal.verdict == Verdict::kFail);
}

TEST_CASE("The verdict does not depend on how many findings are kept") {
  FakeMachine machine;
  for (int i = 0; i < 50; ++i) {
    machine.list.AddFile("/tmp/" + std::to_string(i), FileDigestOf("evil"));
  }
  ValidEvidence evidence = machine.Attest();
  for (const size_t kept : {size_t{0}, size_t{1}, size_t{10}}) {
    evidence.options.max_findings = kept;
    const Appraisal appraisal = evidence.Appraise();
    CHECK(appraisal.verdict == Verdict::kFail);
    CHECK(appraisal.findings.size() == kept);
    CHECK(appraisal.findings_dropped == 50 - kept);
    CHECK(appraisal.counts.not_in_policy == 50);
    CHECK(appraisal.counts.entries == 54);
  }
}

TEST_CASE("Notices don't crowd out what fails") {
  FakeMachine machine;
  for (int i = 0; i < 50; ++i) machine.list.AddViolation("/usr/bin/sh");
  machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
  ValidEvidence evidence = machine.Attest();
  evidence.reference.tolerate_violations = true;
  evidence.options.max_findings = 10;
  const Appraisal appraisal = evidence.Appraise();
  CHECK(FindFinding(appraisal, "ima.not_in_policy") != nullptr);
  CHECK(appraisal.findings.size() == 6);
  CHECK(appraisal.findings_dropped == 45);
  CHECK(appraisal.verdict == Verdict::kFail);
}

TEST_CASE("Dropped findings are not taken for later ones") {
  FindingLog log(2);
  Finding about_entry;
  about_entry.entry_index = 5;
  for (int i = 0; i < 3; ++i) log.Add(about_entry);
  CHECK(log.size() == 2);
  CHECK(log.dropped() == 1);
  CHECK(log.worst() == Severity::kFailure);
  log.MarkUnauthenticated(1);
  const std::vector<Finding> findings = log.Take();
  CHECK(findings[0].authenticated);
  CHECK_FALSE(findings[1].authenticated);
}

TEST_CASE("Bad entries don't crowd out what is wrong with the whole") {
  FakeMachine machine;
  for (int i = 0; i < 50; ++i) machine.Run("/tmp/" + std::to_string(i));
  ValidEvidence evidence = machine.Attest();
  evidence.options.max_findings = 10;
  evidence.list.pop_back();
  const Appraisal appraisal = evidence.Appraise();
  CHECK(FindFinding(appraisal, "ima.list_malformed") != nullptr);
}

TEST_CASE("Progress is reported while a list is worked off") {
  FakeMachine machine;
  for (int i = 0; i < 1000; ++i) machine.Run("/bin/" + std::to_string(i));
  ValidEvidence evidence = machine.Attest();
  std::vector<uint64_t> seen;
  evidence.options.on_progress = [&](uint64_t count) { seen.push_back(count); };
  CHECK(evidence.Appraise().verdict == Verdict::kPass);
  REQUIRE(seen.size() > 2);
  CHECK(std::is_sorted(seen.begin(), seen.end()));
  CHECK(seen.back() <= 1004);
}

TEST_CASE("What throws in the middle of a check is no verdict") {
  ValidEvidence evidence = FakeMachine().Attest();
  evidence.options.on_progress = [](uint64_t) {
    throw std::runtime_error("out of luck");
  };
  CHECK_THAT(StatusOf(evidence.TryAppraise()),
             StatusIs(absl::StatusCode::kInternal, "out of luck"));
}

}  // namespace
}  // namespace cupel::appraisal
