#include "verifier/session/quote_selection.h"

#include <string>
#include <vector>

#include "catch2/catch.hpp"
#include "tests/support/evidence_builder.h"
#include "tests/support/status_matchers.h"
#include "verifier/session/boot_setting.h"

namespace cupel::verifier {
namespace {

using ::cupel::testing::FileDigestOf;
using ::cupel::testing::IsOk;
using ::cupel::testing::StatusIs;
using enum crypto::HashAlgorithm;

constexpr char kUsual[] = "0,1,2,3,4,5,6,7,8,9,10";

std::string Select(const appraisal::Reference& reference,
                   const SelectionHints& hints = {},
                   const SelectionNeeds& needs = {},
                   const appraisal::Progress& progress = {}) {
  return SelectPcrs(reference, progress, hints, needs).ToString();
}
std::string Usual(const std::string& bank) { return bank + ":" + kUsual; }

appraisal::Progress ProgressIn(crypto::HashAlgorithm bank) {
  appraisal::Progress progress;
  progress.replayer = ima::Replayer::Create({{bank}}).value();
  return progress;
}

TEST_CASE("The SHA-256 bank is quoted where it is there") {
  appraisal::Reference reference;
  CHECK(Select(reference) == Usual("sha256"));
  CHECK(Select(reference, {.banks = {kSha1}, .list_pcrs = {}}) ==
        Usual("sha256"));
  // A kernel may fill the others with padded SHA-1 digests.
  CHECK(Select(reference, {.banks = {kSha1, kSha384, kSha256},
                           .list_pcrs = {}}) == Usual("sha256"));
  CHECK(Select(reference, {.banks = {kSha512, kSha384, kSha1},
                           .list_pcrs = {}}) == Usual("sha384"));
  CHECK(Select(reference, {.banks = {kSm3_256}, .list_pcrs = {}}) ==
        Usual("sha256"));
  reference.allow_sha1_bank = true;
  CHECK(Select(reference, {.banks = {kSha1}, .list_pcrs = {}}) ==
        Usual("sha1"));
  CHECK(Select(reference, {.banks = {kSha1, kSha256}, .list_pcrs = {}}) ==
        Usual("sha256"));
}

TEST_CASE("A35: what a quote has proven is never lowered") {
  appraisal::Reference reference;
  reference.allow_sha1_bank = true;
  CHECK(Select(reference, {.banks = {kSha1}, .list_pcrs = {}}, {},
               ProgressIn(kSha256)) == Usual("sha256"));
  CHECK(Select(reference, {.banks = {kSha256}, .list_pcrs = {}}, {},
               ProgressIn(kSha384)) == Usual("sha384"));
}

TEST_CASE("An operator's choice of the bank is quoted") {
  const auto select = [](const SelectionHints& hints,
                         const appraisal::Progress& progress) {
    return SelectPcrs({}, progress, hints, {}, kSha384).ToString();
  };
  CHECK(select({.banks = {kSha256}, .list_pcrs = {}}, ProgressIn(kSha256)) ==
        Usual("sha384"));
  CHECK(select({}, {}) == Usual("sha384"));
}

TEST_CASE("A padded bank is as weak as SHA-1") {
  appraisal::Reference reference;
  reference.padded_sha1_banks = {kSha512};
  CHECK(Select(reference, {.banks = {kSha512, kSha256}, .list_pcrs = {}}) ==
        Usual("sha256"));
  CHECK(Select(reference, {.banks = {kSha512}, .list_pcrs = {}}) ==
        Usual("sha256"));
  reference.allow_sha1_bank = true;
  CHECK(Select(reference, {.banks = {kSha512}, .list_pcrs = {}}) ==
        Usual("sha512"));
  const auto selection = tpm::PcrSelection::FromString("sha512:10").value();
  CHECK(ReplayBanks(selection, reference) ==
        std::vector<ima::Bank>{{kSha512, ima::BankFill::kPaddedSha1}});
}

TEST_CASE("PCRs of the list are added, from whoever knows of them") {
  CHECK(Select({}, {.banks = {}, .list_pcrs = {10, 11, 24, 4000000000}}) ==
        Usual("sha256") + ",11");
  SelectionNeeds needs;
  appraisal::Finding finding = appraisal::MakeFinding(
      "ima.pcr_not_quoted", appraisal::Severity::kUndecided, "");
  CHECK_FALSE(needs.Learn({&finding, 1}));
  finding.pcr = 14;
  CHECK(needs.Learn({&finding, 1}));
  CHECK_FALSE(needs.Learn({&finding, 1}));
  CHECK(Select({}, {}, needs) == Usual("sha256") + ",14");
  // An operator, or an earlier boot.
  appraisal::Reference reference;
  reference.list_pcrs.set(12);
  appraisal::Progress progress;
  progress.list_pcrs.set(13);
  CHECK(Select(reference, {}, {}, progress) == Usual("sha256") + ",12,13");
}

TEST_CASE("The bank of boot_aggregate is quoted too, if the TPM has it") {
  SelectionNeeds needs;
  appraisal::Finding finding = appraisal::MakeFinding(
      "ima.boot_aggregate_unproven", appraisal::Severity::kUndecided, "");
  CHECK_FALSE(needs.Learn({&finding, 1}));
  finding.found = "sha1:0011";
  CHECK(needs.Learn({&finding, 1}));
  CHECK(Select({}, {.banks = {kSha256}, .list_pcrs = {}}, needs) ==
        Usual("sha256"));
  CHECK(Select({}, {.banks = {kSha256, kSha1}, .list_pcrs = {}}, needs) ==
        Usual("sha256") + "+sha1:0,1,2,3,4,5,6,7,8,9");
}

TEST_CASE("What the boot rule is about is quoted") {
  appraisal::Reference reference;
  reference.boot_rule = policy::PinnedBoot{FileDigestOf("boot", kSha384)};
  CHECK(Select(reference) == Usual("sha256") + "+sha384:0,1,2,3,4,5,6,7,8,9");
  policy::StaticPcrs pcrs;
  pcrs.values[14] = {FileDigestOf("a"), FileDigestOf("a", kSha1)};
  pcrs.values[15] = {FileDigestOf("a", kSha1)};
  pcrs.mask = 1u << 14 | 1u << 15 | 1u << 12;
  reference.boot_rule = pcrs;
  CHECK(Select(reference) == Usual("sha256") + ",12,14");
  reference.allow_sha1_bank = true;
  CHECK(Select(reference, {.banks = {kSha256}, .list_pcrs = {}}) ==
        Usual("sha256") + ",12,14+sha1:15");
}

TEST_CASE("The setting boot is a rule or a reason") {
  const std::string composite(64, 'a');
  auto rule = BootRuleOf("any", "");
  REQUIRE_THAT(rule.status(), IsOk());
  CHECK(std::holds_alternative<policy::AnyBoot>(*rule));
  rule = BootRuleOf("pinned", composite);
  REQUIRE_THAT(rule.status(), IsOk());
  CHECK(std::get<policy::PinnedBoot>(*rule).composite.ToString() ==
        "sha256:" + composite);
  rule = BootRuleOf(R"({"4": [")" + composite + R"("]})", "");
  REQUIRE_THAT(rule.status(), IsOk());
  CHECK(std::get<policy::StaticPcrs>(*rule).values.size() == 1);

  using absl::StatusCode;
  CHECK_THAT(BootRuleOf("", composite).status(),
             StatusIs(StatusCode::kFailedPrecondition, "boot"));
  CHECK_THAT(BootRuleOf("pinned", "").status(),
             StatusIs(StatusCode::kFailedPrecondition, "approved"));
  CHECK_THAT(BootRuleOf("pinned", "xx").status(),
             StatusIs(StatusCode::kInvalidArgument));
  CHECK_THAT(BootRuleOf("pinned", "aabb").status(),
             StatusIs(StatusCode::kInvalidArgument));
  CHECK_THAT(BootRuleOf("Any", "").status(),
             StatusIs(StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace cupel::verifier
