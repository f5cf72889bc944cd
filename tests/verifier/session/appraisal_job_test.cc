#include "verifier/session/appraisal_job.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "catch2/catch.hpp"
#include "tests/support/evidence_builder.h"
#include "tests/support/status_matchers.h"
#include "verifier/session/accepted_findings.h"

namespace cupel::verifier {
namespace {

using ::cupel::appraisal::Appraisal;
using ::cupel::appraisal::Finding;
using ::cupel::appraisal::MakeFinding;
using ::cupel::appraisal::Proof;
using ::cupel::appraisal::Severity;
using ::cupel::appraisal::Verdict;
using ::cupel::testing::FakeMachine;
using ::cupel::testing::FileDigestOf;
using ::cupel::testing::FindFinding;
using ::cupel::testing::ValidEvidence;

AppraisalJob JobOf(const FakeMachine& machine) {
  ValidEvidence evidence = machine.Attest();
  AppraisalJob job;
  job.id = 7;
  job.list = evidence.list;
  job.attest = evidence.quote->attest;
  job.signature = evidence.quote->signature;
  job.pcrs = evidence.pcrs;
  job.ak = std::make_shared<const tpm::AttestationKey>(*evidence.ak);
  job.qualifying_data = evidence.nonce;
  job.selection = *evidence.selection;
  job.ek_name = evidence.ek_name;
  job.reference = evidence.reference;
  job.clock_info = machine.tpm.clock_info;
  return job;
}

Appraisal Run(const AppraisalJob& job) {
  const AppraisalOutcome outcome = job.Run();
  CHECK(outcome.job_id == job.id);
  REQUIRE(outcome.appraisal.ok());
  return *outcome.appraisal;
}

AcceptedFinding Accept(const Finding& finding, const AppraisalJob& job) {
  return {.id = std::string(finding.id),
          .path = finding.path,
          .found = finding.found,
          .reset_count = job.clock_info.reset_count,
          .restart_count = job.clock_info.restart_count,
          .who = "op",
          .why = "known",
          .time = {}};
}

// A machine with one bad entry, and its finding accepted.
struct Accepted {
  Accepted() {
    machine.list.AddFile("/opt/odd", FileDigestOf("odd"));
    job = JobOf(machine);
    const Appraisal failed = Run(job);
    REQUIRE(failed.verdict == Verdict::kFail);
    job.accepted = {Accept(*FindFinding(failed, "ima.not_in_policy"), job)};
  }
  FakeMachine machine;
  AppraisalJob job;
};

TEST_CASE("A job passes what Appraise passes") {
  const FakeMachine machine;
  const Appraisal appraisal = Run(JobOf(machine));
  CHECK(appraisal.verdict == Verdict::kPass);
  CHECK(appraisal.progress.entry_count == 4);
}

TEST_CASE("A17: a job that can't be made is an error and no verdict") {
  const FakeMachine machine;
  AppraisalJob job = JobOf(machine);
  job.reference.policy = nullptr;
  CHECK_THAT(job.Run().appraisal.status(),
             testing::StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_CASE("An accepted finding is a notice in that boot") {
  Accepted a;
  const Appraisal appraisal = Run(a.job);
  CHECK(appraisal.verdict == Verdict::kPass);
  const Finding* finding = FindFinding(appraisal, "ima.not_in_policy");
  REQUIRE(finding != nullptr);
  CHECK(finding->severity == Severity::kNotice);
  // What was accepted is looked at again; the clock goes on.
  CHECK(appraisal.progress.key.empty());
  CHECK(appraisal.progress.clock_info == a.machine.tpm.clock_info);
}

TEST_CASE("An accepted finding clears no other one") {
  Accepted a;
  AcceptedFinding& accepted = a.job.accepted[0];
  SECTION("another id") { accepted.id = "ima.digest_mismatch"; }
  SECTION("another path") { accepted.path = "/opt/odder"; }
  SECTION("a path that starts so") { accepted.path = "/opt/od"; }
  SECTION("no path") { accepted.path = ""; }
  SECTION("other content") { accepted.found = "sha256:00"; }
  SECTION("no content") { accepted.found = ""; }
  SECTION("another boot") { ++accepted.reset_count; }
  SECTION("before a suspend") { --a.job.clock_info.restart_count; }
  SECTION("beside it another failure") {
    FakeMachine machine = a.machine;
    machine.list.AddFile("/opt/other", FileDigestOf("other"));
    AppraisalJob job = JobOf(machine);
    job.accepted = a.job.accepted;
    a.job = job;
  }
  SECTION("beside it a failure of the same path with other content") {
    FakeMachine machine = a.machine;
    machine.list.AddFile("/opt/odd", FileDigestOf("changed"));
    AppraisalJob job = JobOf(machine);
    job.accepted = a.job.accepted;
    a.job = job;
  }
  CHECK(Run(a.job).verdict == Verdict::kFail);
}

TEST_CASE("A33: counters don't go back behind the last quote that was judged") {
  const FakeMachine machine;
  AppraisalJob job = JobOf(machine);
  job.judged_clock_info = job.clock_info;
  CHECK(Run(job).verdict == Verdict::kPass);
  tpm::ClockInfo& judged = *job.judged_clock_info;
  SECTION("the clock") { judged.clock += 400'000; }
  SECTION("the reset count") { ++judged.reset_count; }
  SECTION("the restart count") { ++judged.restart_count; }
  const Appraisal appraisal = Run(job);
  CHECK(appraisal.verdict == Verdict::kFail);
  CHECK(FindFinding(appraisal, "tpm.clone_suspected") != nullptr);
  CHECK(appraisal.progress.key == job.progress.key);
}

TEST_CASE("A43: an accepted violation is that one, whatever path others show") {
  FakeMachine machine;
  machine.list.AddViolation("/usr/bin/sh");
  AppraisalJob job = JobOf(machine);
  const Appraisal failed = Run(job);
  const Finding* const violation = FindFinding(failed, "ima.violation");
  REQUIRE(violation != nullptr);
  const std::vector<AcceptedFinding> accepted = {Accept(*violation, job)};
  job.accepted = accepted;
  CHECK(Run(job).verdict == Verdict::kPass);

  machine.list.AddViolation("/usr/bin/sh");
  AppraisalJob again = JobOf(machine);
  again.accepted = accepted;
  CHECK(Run(again).verdict == Verdict::kFail);
}

TEST_CASE("An accepted PCR is that one, whatever others hold") {
  Finding finding =
      MakeFinding("pcr.changed_after_boot", Severity::kFailure, "");
  finding.pcr = 2;
  finding.found = "sha256:00";
  finding.boot = tpm::BootCounts{7, 2};
  Finding other = finding;
  other.pcr = 3;
  CHECK(AcceptedText(finding) == "PCR 2 sha256:00");
  CHECK(AcceptanceOf(other) != AcceptanceOf(finding));
}

TEST_CASE("A finding is accepted by all that makes it this one") {
  Finding finding = MakeFinding("ima.not_in_policy", Severity::kFailure, "");
  finding.path = "/a";
  finding.found = "sha256:00";
  finding.boot = tpm::BootCounts{7, 2};
  const std::string acceptance = AcceptanceOf(finding);
  CHECK(absl::StartsWith(acceptance, "ima.not_in_policy@"));
  CHECK(acceptance.size() == std::string("ima.not_in_policy@").size() + 32);
  Finding other = finding;
  other.detail = "words";
  other.entry_index = 3;
  CHECK(AcceptanceOf(other) == acceptance);
  SECTION("id") { other.id = "ima.digest_mismatch"; }
  SECTION("path") { other.path = "/b"; }
  SECTION("content") { other.found = "sha256:01"; }
  SECTION("where one ends and the next begins") {
    other.path = "/as";
    other.found = "ha256:00";
  }
  SECTION("boot") { ++other.boot->reset_count; }
  SECTION("restart") { ++other.boot->restart_count; }
  SECTION("an id that can't be accepted") { other.id = "ima.history_lost"; }
  SECTION("no boot") { other.boot.reset(); }
  CHECK(AcceptanceOf(other) != acceptance);
}

TEST_CASE("What is about the evidence as a whole can't be accepted") {
  for (const char* id :
       {"quote.signature", "ima.history_lost", "tpm.clone_suspected",
        "ima.tail_vanished", "ima.digest_denied", "pcr.bank_weak",
        "ima.template_digest"}) {
    CAPTURE(id);
    CHECK_FALSE(appraisal::IsAcceptable(id));
    Appraisal appraisal;
    appraisal.verdict = Verdict::kFail;
    appraisal.proof = Proof::kQuote;
    appraisal.findings = {
        appraisal::MakeFinding(id, Severity::kFailure, "it is so")};
    const std::vector<AcceptedFinding> accepted = {
        {.id = id, .path = {}, .found = {}, .who = {}, .why = {}, .time = {}}};
    ApplyAccepted(accepted, {}, appraisal);
    CHECK(appraisal.verdict == Verdict::kFail);
  }
}

TEST_CASE("Nothing is accepted where not all is known") {
  Accepted a;
  AppraisalJob job = a.job;
  job.accepted.clear();
  Appraisal appraisal = Run(job);
  SECTION("findings were dropped") { appraisal.findings_dropped = 1; }
  SECTION("no quote proves the list") { appraisal.proof = Proof::kPcrs; }
  SECTION("nothing covers the entry") {
    appraisal.findings[0].authenticated = false;
  }
  SECTION("a failure without a finding") { appraisal.findings.clear(); }
  SECTION("something else is undecided") {
    appraisal.findings.push_back(
        appraisal::MakeFinding("ima.pcr_not_quoted", Severity::kUndecided, ""));
    ApplyAccepted(a.job.accepted, a.job.clock_info, appraisal);
    CHECK(appraisal.verdict == Verdict::kUndecided);
    return;
  }
  ApplyAccepted(a.job.accepted, a.job.clock_info, appraisal);
  CHECK(appraisal.verdict == Verdict::kFail);
}

TEST_CASE("A boot that nothing allows is not passed") {
  FakeMachine machine;
  AppraisalJob job = JobOf(machine);
  job.reference.boot_rule = policy::AnyBoot{};
  job.boot_problem = "boot: nothing says what boot is allowed";
  Appraisal appraisal = Run(job);
  CHECK(appraisal.verdict == Verdict::kUndecided);
  CHECK(FindFinding(appraisal, "boot.rule_missing") != nullptr);
  CHECK(FindFinding(appraisal, "boot.any") == nullptr);
  CHECK(appraisal.progress.key.empty());
}

TEST_CASE("A27: a reset that the connection outlived is a failure") {
  const FakeMachine machine;
  AppraisalJob job = JobOf(machine);
  job.reset_in_stream = true;
  const Appraisal appraisal = Run(job);
  CHECK(appraisal.verdict == Verdict::kFail);
  CHECK(FindFinding(appraisal, "tpm.reset_in_stream") != nullptr);
  CHECK(appraisal.progress.key.empty());
}

TEST_CASE("A29: a clock that has run ahead is a failure") {
  const FakeMachine machine;
  AppraisalJob job = JobOf(machine);
  job.clock_ahead = true;
  const Appraisal appraisal = Run(job);
  CHECK(appraisal.verdict == Verdict::kFail);
  CHECK(FindFinding(appraisal, "tpm.clock_ahead") != nullptr);
  CHECK(appraisal.progress.key.empty());
}

TEST_CASE("A8: a tail that no quote comes to cover is a failure") {
  FakeMachine machine;
  AppraisalJob job = JobOf(machine);
  testing::ListBuilder longer = machine.list;
  longer.AddFile("/opt/odd", FileDigestOf("/opt/odd"));
  job.list = longer.bytes();
  const Appraisal first = Run(job);
  job.progress = first.progress;
  job.judged_entry_count = first.counts.entries;
  REQUIRE(job.progress.pending_size > 0);
  SECTION("it is due, and something else was accepted") {
    job.tail_overdue = true;
    job.gap_fails = true;
    --job.progress.clock_info->reset_count;
    AcceptedFinding gap;
    gap.id = "continuity.gap";
    gap.found = FindFinding(Run(job), "continuity.gap")->found;
    gap.reset_count = job.clock_info.reset_count;
    gap.restart_count = job.clock_info.restart_count;
    job.accepted = {gap};
    const Appraisal appraisal = Run(job);
    CHECK(appraisal.verdict == Verdict::kFail);
    CHECK(FindFinding(appraisal, "ima.tail_unquoted") != nullptr);
  }
  SECTION("it is due") {
    job.tail_overdue = true;
    const Appraisal appraisal = Run(job);
    CHECK(appraisal.verdict == Verdict::kFail);
    CHECK(FindFinding(appraisal, "ima.tail_unquoted") != nullptr);
  }
  SECTION("it is not due yet") { CHECK(Run(job).verdict == Verdict::kPass); }
  SECTION("the quote has moved on, and there is a new tail") {
    const appraisal::Progress before = job.progress;
    machine.Run("/opt/odd");
    // What was pending is covered by now.
    machine.list = longer;
    job = JobOf(machine);
    job.progress = before;
    job.judged_entry_count = first.counts.entries;
    job.tail_overdue = true;
    longer.AddFile("/opt/odd", FileDigestOf("odd"));
    job.list = longer.bytes();
    const Appraisal appraisal = Run(job);
    CHECK(appraisal.counts.pending == 1);
    CHECK(appraisal.verdict == Verdict::kPass);
  }
}

// A machine that passed, rebooted twice, and shows a clean list.
AppraisalJob RebootedJob(FakeMachine& machine) {
  const Appraisal before = Run(JobOf(machine));
  machine.Reboot();
  machine.Reboot();
  AppraisalJob job = JobOf(machine);
  job.progress = before.progress;
  return job;
}

TEST_CASE("A28: a span without evidence is told, or fails by choice") {
  FakeMachine machine;
  AppraisalJob job = RebootedJob(machine);
  SECTION("told") {
    const Appraisal appraisal = Run(job);
    CHECK(appraisal.verdict == Verdict::kPass);
    const auto* finding = FindFinding(appraisal, "continuity.gap");
    REQUIRE(finding != nullptr);
    CHECK(finding->severity == Severity::kNotice);
    CHECK(finding->found == "2 resets");
    CHECK(appraisal.progress.clock_info == machine.tpm.clock_info);
  }
  SECTION("by choice") {
    job.gap_fails = true;
    Appraisal appraisal = Run(job);
    CHECK(appraisal.verdict == Verdict::kFail);
    CHECK(appraisal.progress.clock_info == job.progress.clock_info);
    REQUIRE(appraisal.findings.back().id == "continuity.gap");
    CHECK(appraisal.findings.back().severity == Severity::kFailure);

    // Until an operator accepts it, in this boot.
    AcceptedFinding accepted;
    accepted.id = "continuity.gap";
    accepted.found = "2 resets";
    accepted.reset_count = machine.tpm.clock_info.reset_count;
    job.accepted = {accepted};
    appraisal = Run(job);
    CHECK(appraisal.verdict == Verdict::kPass);
    job.accepted[0].reset_count += 1;
    CHECK(Run(job).verdict == Verdict::kFail);
    job.accepted[0] = accepted;
    job.accepted[0].found = "1 reset";
    CHECK(Run(job).verdict == Verdict::kFail);
  }
  SECTION("nothing before") {
    job.gap_fails = true;
    job.progress = {};
    const Appraisal appraisal = Run(job);
    CHECK(appraisal.verdict == Verdict::kPass);
    CHECK(FindFinding(appraisal, "continuity.gap") == nullptr);
  }
  SECTION("a suspend is none") {
    machine = FakeMachine();
    const Appraisal before = Run(JobOf(machine));
    ++machine.tpm.clock_info.restart_count;
    job = JobOf(machine);
    job.progress = before.progress;
    job.gap_fails = true;
    CHECK(Run(job).verdict == Verdict::kPass);
  }
}

}  // namespace
}  // namespace cupel::verifier
