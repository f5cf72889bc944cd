// A peer's conformance cases: Cupel gives the same answers, or differs as the
// tables in expectations.cc say.

#include <cstdio>
#include <cstdlib>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "tests/conformance/cases.h"
#include "tests/conformance/expectations.h"
#include "tests/support/conformance_adapter.h"
#include "tests/support/skip.h"
#include "tests/support/status_matchers.h"

namespace cupel::conformance {
namespace {

using ::cupel::testing::CaseAnswer;
using ::cupel::testing::IsOk;
using ::cupel::testing::StatusOf;
using nlohmann::json;

// Ends the process, as skipped, where the data is not there.
const std::vector<Case>& CasesOrSkip() {
  static const absl::StatusOr<std::vector<Case>> cases = LoadCases();
  if (IsDataAbsent()) {
    testing::Skip("no conformance data in " + DataFolder());
  }
  REQUIRE_THAT(StatusOf(cases), IsOk());
  return *cases;
}

const Difference* FindDifference(const std::string& name,
                                 const std::string& member) {
  for (const Difference& difference : Differences()) {
    if (difference.name == name && difference.member == member) {
      return &difference;
    }
  }
  return nullptr;
}

std::string VerdictText(bool pass) { return pass ? "pass" : "refused"; }

// The peer's verdict; its exceptions are refusals here.
std::string PeerVerdict(const json& expected) {
  const std::string verdict = expected.value("verdict", "");
  if (verdict == "fail" || verdict == "error") return VerdictText(false);
  return verdict;
}

// Compares the answers to one group's cases, member by member.
class Comparison {
 public:
  void Compare(const Case& asked, const CaseAnswer& answer) {
    ComparePart(asked.name, "", asked.expected, answer);
    if (asked.recommended_verdict.has_value()) {
      CHECK(VerdictText(answer.pass) ==
            VerdictText(*asked.recommended_verdict == "pass"));
    }
    if (asked.expected.contains("steps")) {
      const json& steps = asked.expected["steps"];
      REQUIRE(steps.size() == answer.steps.size());
      for (size_t i = 0; i < steps.size(); ++i) {
        ComparePart(asked.name, absl::StrCat("steps[", i, "]."), steps[i],
                    answer.steps[i]);
      }
    } else {
      CHECK(answer.steps.empty());
    }
    // What stands in the table has to differ.
    for (const Difference& difference : Differences()) {
      if (difference.name != asked.name) continue;
      CAPTURE(difference.member);
      CHECK(differing_.count(&difference) == 1);
    }
  }

  size_t output_count() const { return output_count_; }

 private:
  void ComparePart(const std::string& name, const std::string& prefix,
                   const json& expected, const CaseAnswer& answer) {
    const std::string verdict = PeerVerdict(expected);
    CompareMember(name, prefix + "verdict", verdict, VerdictText(answer.pass));
    for (const auto& output : answer.outputs.items()) {
      // How far a list was accepted says nothing where it was not.
      if (output.key() == "next_ima_ml_entry" && verdict != VerdictText(true)) {
        continue;
      }
      const auto given = expected.find(output.key());
      if (given == expected.end() || given->is_null()) continue;
      ++output_count_;
      CompareMember(name, prefix + output.key(), given->dump(),
                    output.value().dump());
    }
  }

  void CompareMember(const std::string& name, const std::string& member,
                     const std::string& peer, const std::string& ours) {
    CAPTURE(member);
    const Difference* difference = FindDifference(name, member);
    if (difference == nullptr) {
      CHECK(ours == peer);
      return;
    }
    CHECK(ours == difference->answer);
    if (ours != peer) differing_.insert(difference);
  }

  std::set<const Difference*> differing_;
  size_t output_count_ = 0;
};

void RunGroup(const std::string& name) {
  const DueGroup* group = nullptr;
  for (const DueGroup& due : DueGroups()) {
    if (due.name == name) group = &due;
  }
  REQUIRE(group != nullptr);
  Comparison comparison;
  size_t case_count = 0;
  for (const Case& asked : CasesOrSkip()) {
    if (asked.Group() != name) continue;
    CAPTURE(asked.name);
    ++case_count;
    const auto answer =
        testing::AnswerCase(DataFolder(), asked.kind, asked.inputs);
    REQUIRE_THAT(StatusOf(answer), IsOk());
    CAPTURE(answer->why);
    comparison.Compare(asked, *answer);
  }
  CHECK(case_count == group->case_count);
  CHECK(comparison.output_count() == group->output_count);
}

TEST_CASE("conformance: every case is due or listed as later") {
  std::map<std::string, size_t> counts;
  std::set<std::string> names;
  for (const Case& asked : CasesOrSkip()) {
    ++counts[asked.Group()];
    CAPTURE(asked.name);
    CHECK(names.insert(asked.name).second);
  }
  CHECK(names.size() == 342);
  std::set<std::string> known;
  const auto check = [&](absl::string_view name, size_t case_count) {
    CAPTURE(name);
    CHECK(counts[std::string(name)] == case_count);
    CHECK(known.insert(std::string(name)).second);
  };
  for (const DueGroup& group : DueGroups()) check(group.name, group.case_count);
  for (const LaterGroup& group : LaterGroups()) {
    check(group.name, group.case_count);
    CHECK_FALSE(group.waits_for.empty());
  }
  for (const auto& [name, count] : counts) {
    CAPTURE(name, count);
    CHECK(known.count(name) == 1);
  }
}

TEST_CASE("conformance: every intended difference is about a due case") {
  std::set<std::string> due;
  for (const DueGroup& group : DueGroups()) due.insert(std::string(group.name));
  std::set<std::string> names;
  for (const Case& asked : CasesOrSkip()) {
    if (due.count(asked.Group()) == 1) names.insert(asked.name);
  }
  std::set<std::string> rows;
  for (const Difference& difference : Differences()) {
    CAPTURE(difference.name, difference.member);
    CHECK(names.count(std::string(difference.name)) == 1);
    CHECK(rows.insert(absl::StrCat(difference.name, " ", difference.member))
              .second);
    CHECK_FALSE(difference.reason.empty());
  }
}

TEST_CASE("conformance: attestation") { RunGroup("attestation"); }
TEST_CASE("conformance: boot_aggregate_line") {
  RunGroup("boot_aggregate_line");
}
TEST_CASE("conformance: exclude_list") { RunGroup("exclude_list"); }
TEST_CASE("conformance: flat_allowlist") { RunGroup("flat_allowlist"); }
TEST_CASE("conformance: ima_entry") { RunGroup("ima_entry"); }
TEST_CASE("conformance: ima_list") { RunGroup("ima_list"); }
TEST_CASE("conformance: makecredential") { RunGroup("makecredential"); }
TEST_CASE("conformance: mb_parse") { RunGroup("mb_parse"); }
TEST_CASE("conformance: policy_from_log") { RunGroup("policy_from_log"); }
TEST_CASE("conformance: policy_load") { RunGroup("policy_load"); }
TEST_CASE("conformance: policy_schema") { RunGroup("policy_schema"); }
TEST_CASE("conformance: quote") { RunGroup("quote"); }
TEST_CASE("conformance: tpm2b_name") { RunGroup("tpm2b_name"); }
TEST_CASE("conformance: tpm2b_pubkey") { RunGroup("tpm2b_pubkey"); }

}  // namespace
}  // namespace cupel::conformance
