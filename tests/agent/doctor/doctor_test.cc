#include "agent/doctor/doctor.h"

#include <set>
#include <stdexcept>

#include "absl/strings/match.h"
#include "catch2/catch.hpp"
#include "nlohmann/json.hpp"
#include "tests/agent/doctor/doctor_rig.h"

namespace cupel::agent {
namespace {

TEST_CASE("nothing is wrong with a machine that is well") {
  const DoctorRig rig;
  const Report report = Examine(rig.machine);
  CAPTURE(report.Text());
  CHECK(report.ExitCode() == 0);
  CHECK(report.Count(Outcome::kOk) == report.all().size());
  std::set<std::string> said;
  for (const Observation& one : report.all()) said.insert(one.check);
  CHECK(said.size() == DoctorChecks().size());
  for (const Check& check : DoctorChecks()) {
    CHECK(said.contains(std::string(check.id)));
  }
  CHECK(absl::EndsWith(report.Text(),
                       "0 to be improved, 0 failed, 0 could not be checked\n"));
}

TEST_CASE("a machine of which nothing is known is not well") {
  Machine machine;
  const testing::TemporaryFolder empty;
  machine.root = empty.path();
  machine.may_open = [](const std::string&, const std::string&, bool) {
    return absl::UnavailableError("nobody knows");
  };
  machine.config.user = "cupel";
  const Report report = Examine(machine);
  CHECK(report.ExitCode() == 1);
  // The command line can't even be read, the clock says 1970.
  for (const Observation& one : report.all()) {
    CAPTURE(one.check, one.text);
    CHECK(one.outcome != Outcome::kOk);
    CHECK_FALSE(one.cure.empty());
  }
}

TEST_CASE("what throws could not be decided") {
  DoctorRig rig;
  rig.tpm().before_read = [] { throw std::runtime_error("at\x1b once"); };
  CHECK(Says(rig.Check("tpm.banks"), Outcome::kUndecided, "at\\x1b once"));
  CHECK(Examine(rig.machine).ExitCode() == 2);
}

TEST_CASE("exit codes: a skip is no pass, and no failure is hidden by one") {
  const auto report = [](std::initializer_list<Outcome> outcomes) {
    Report made;
    for (const Outcome outcome : outcomes) {
      Observations found;
      if (outcome == Outcome::kOk) found.Ok("text");
      if (outcome == Outcome::kWarning) found.Warn("text", "cure");
      if (outcome == Outcome::kFailure) found.Fail("text", "cure");
      if (outcome == Outcome::kUndecided) found.CouldNotCheck("text", "cure");
      made.Add("check", std::move(found));
    }
    return made;
  };
  using enum Outcome;
  CHECK(report({kOk}).ExitCode() == 0);
  CHECK(report({kOk, kWarning}).ExitCode() == 0);
  CHECK(report({kOk, kUndecided}).ExitCode() == 2);
  CHECK(report({kFailure, kOk}).ExitCode() == 1);
  CHECK(report({kUndecided, kFailure}).ExitCode() == 1);
  CHECK(report({kFailure, kUndecided}).ExitCode() == 1);
  CHECK(report({}).ExitCode() == 2);

  Report silent;
  silent.Add("check", {});
  CHECK(silent.ExitCode() == 2);
  CHECK(silent.all().front().outcome == kUndecided);
}

TEST_CASE("the report as text and as JSON") {
  Report report;
  Observations found;
  found.Ok("as it should be");
  found.Warn("not so good", "do this");
  report.Add("a.b", std::move(found));
  CHECK(report.Text() ==
        "ok         a.b              as it should be\n"
        "warning    a.b              not so good\n"
        "                            cure: do this\n"
        "1 ok, 1 to be improved, 0 failed, 0 could not be checked\n");
  const auto json = nlohmann::json::parse(report.Json());
  CHECK(json["ok"] == 1);
  CHECK(json["warning"] == 1);
  CHECK(json["failure"] == 0);
  CHECK(json["undecided"] == 0);
  REQUIRE(json["checks"].size() == 2);
  CHECK(json["checks"][1]["check"] == "a.b");
  CHECK(json["checks"][1]["outcome"] == "warning");
  CHECK(json["checks"][1]["text"] == "not so good");
  CHECK(json["checks"][1]["cure"] == "do this");
}

}  // namespace
}  // namespace cupel::agent
