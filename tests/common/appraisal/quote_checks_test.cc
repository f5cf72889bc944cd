// quote.*
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "catch2/catch.hpp"
#include "common/tpm/constants.h"
#include "common/tpm/marshal.h"
#include "common/util/bytes.h"
#include "tests/support/evidence_builder.h"

namespace cupel::appraisal {
namespace {

using ::cupel::crypto::Digest;
using ::cupel::crypto::HashAlgorithm;
using ::cupel::testing::FakeKeyKind;
using ::cupel::testing::FakeMachine;
using ::cupel::testing::FakeTpm;
using ::cupel::testing::FileDigestOf;
using ::cupel::testing::FindFinding;
using ::cupel::testing::FindingIds;
using ::cupel::testing::ValidEvidence;
using Ids = std::vector<std::string>;

using HashAlgorithm::kSha256;

// What the machine would quote, to be changed and signed again.
tpm::Attest AttestOf(const ValidEvidence& evidence) {
  auto attest = tpm::ParseAttest(evidence.quote->attest);
  REQUIRE(attest.ok());
  return *std::move(attest);
}

TEST_CASE("Valid evidence passes without a finding") {
  const Appraisal appraisal = FakeMachine().Attest().Appraise();
  CHECK(FindingIds(appraisal).empty());
  CHECK(appraisal.verdict == Verdict::kPass);
  CHECK(appraisal.proof == Proof::kQuote);
  CHECK(appraisal.bank == kSha256);
  CHECK(appraisal.counts.entries == 4);
  CHECK(appraisal.counts.good == 4);
  CHECK(appraisal.counts.pending == 0);
}

TEST_CASE("Every kind of AK and every hash is taken") {
  for (const testing::FakeAkOptions& ak :
       {testing::FakeAkOptions{.kind = FakeKeyKind::kRsa2048,
       .scheme = tpm::AlgId::kRsassa},
        testing::FakeAkOptions{.kind = FakeKeyKind::kEcP384,
        .hash = HashAlgorithm::kSha384}}) {
    const FakeMachine machine({kSha256}, ak);
    CHECK(FindingIds(machine.Attest().Appraise()).empty());
    ValidEvidence unreported = machine.Attest();
    unreported.Unreport(kSha256, 10);
    CHECK(FindingIds(unreported.Appraise()).empty());
  }
}

TEST_CASE(
    "A malformed quote or signature is undecided, and nothing is shown "
    "as authenticated") {
  FakeMachine machine;
  machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
  const ValidEvidence valid = machine.Attest();
  const auto broken = GENERATE(0, 1, 2, 3);
  ValidEvidence evidence = valid;
  if (broken == 0) evidence.quote->attest.pop_back();
  if (broken == 1) evidence.quote->attest.push_back(0);
  if (broken == 2) evidence.quote->signature.pop_back();
  if (broken == 3) evidence.quote->signature.push_back(0);
  const Appraisal appraisal = evidence.Appraise();
  CHECK(FindingIds(appraisal) == Ids{"quote.malformed", "ima.not_in_policy"});
  CHECK(appraisal.findings[0].severity == Severity::kUndecided);
  CHECK_FALSE(appraisal.findings[1].authenticated);
  CHECK(appraisal.proof == Proof::kNone);
  CHECK(appraisal.verdict == Verdict::kFail);
}

TEST_CASE("A quote that fails one check fails for that alone") {
  const FakeMachine machine;
  ValidEvidence evidence = machine.Attest();
  tpm::Attest attest = AttestOf(evidence);
  std::string expected;
  SECTION("magic") {
    attest.magic = 0x12345678;
    expected = "quote.magic";
  }
  SECTION("type") {
    attest.type = tpm::StructureTag::kAttestCertify;
    expected = "quote.type";
  }
  SECTION("nonce") {
    attest.extra_data.back() ^= 1;
    expected = "quote.nonce";
  }
  SECTION("pcrDigest") {
    attest.quote.pcr_digest.back() ^= 1;
    expected = "quote.pcr_digest";
  }
  SECTION("signer") {
    attest.qualified_signer.back() ^= 1;
    expected = "quote.signer";
  }
  evidence.quote = machine.tpm.Quote(attest);
  const Appraisal appraisal = evidence.Appraise();
  CHECK(FindingIds(appraisal) == Ids{expected});
  CHECK(appraisal.verdict == Verdict::kFail);
  CHECK(appraisal.proof == Proof::kNone);
  CHECK(appraisal.findings[0].authenticated);  // the AK signed it
}

TEST_CASE("A quote by another key, or changed after it, is not authenticated") {
  const FakeMachine machine;
  ValidEvidence evidence = machine.Attest();
  evidence.quote->signature.back() ^= 1;
  const Appraisal appraisal = evidence.Appraise();
  CHECK(FindingIds(appraisal) == Ids{"quote.signature"});
  CHECK_FALSE(appraisal.findings[0].authenticated);
  CHECK(appraisal.verdict == Verdict::kFail);
}

TEST_CASE("The signature must have the AK's scheme") {
  const FakeMachine machine;
  ValidEvidence evidence = machine.Attest();
  evidence.quote->signature = machine.tpm.SignAs(
      tpm::AlgId::kEcdsa, HashAlgorithm::kSha384, evidence.quote->attest);
  CHECK(FindingIds(evidence.Appraise()) == Ids{"quote.signature_algorithm"});
}

TEST_CASE("The AK must be an attestation key") {
  ValidEvidence evidence = FakeMachine().Attest();
  tpm::PublicArea area = FakeMachine().tpm.ak();
  area.attributes &= ~tpm::kAttrRestricted;
  evidence.ak = *tpm::AttestationKey::FromPublicArea(area);
  // Another Name is another signer.
  CHECK(FindingIds(evidence.Appraise()) ==
        Ids{"quote.ak_attributes", "quote.signer"});
}

TEST_CASE("The selection that was asked for must be signed") {
  const FakeMachine machine;
  ValidEvidence evidence = machine.Attest();
  FakeTpm other = machine.tpm;
  other.pcrs = evidence.pcrs;
  const auto signed_selection = GENERATE(
      "sha256:0,1,2,3,4,5,6,7,8,10", "sha256:0,1,2,3,4,5,6,7,8,9,10+sha1:none");
  evidence.quote = other.Quote(*tpm::PcrSelection::FromString(signed_selection),
                               evidence.nonce);
  CHECK(FindingIds(evidence.Appraise()) == Ids{"quote.selection"});
}

TEST_CASE("An empty selection never passes, whatever was asked for") {
  const FakeMachine machine;
  ValidEvidence evidence = machine.Attest();
  evidence.selection.reset();
  const Appraisal unasked = evidence.Appraise();
  CHECK(FindingIds(unasked) == Ids{"quote.selection_unchecked"});
  CHECK(unasked.verdict == Verdict::kPass);
  FakeTpm other = machine.tpm;
  evidence.quote = other.Quote(
      *evidence.pcrs.Selection().FromString("sha256:none"), evidence.nonce);
  evidence.pcrs = {};
  const Appraisal appraisal = evidence.Appraise();
  CHECK(FindFinding(appraisal, "quote.selection") != nullptr);
  CHECK(appraisal.verdict == Verdict::kFail);
}

TEST_CASE("A bare public key is undecided unless it was accepted expressly") {
  ValidEvidence evidence = FakeMachine().Attest();
  evidence.ak = tpm::AttestationKey::FromPublicKey(evidence.ak->key());
  evidence.ek_name.clear();
  const Appraisal undecided = evidence.Appraise();
  CHECK(FindingIds(undecided) ==
        Ids{"quote.ak_attributes_unknown", "quote.signer_unchecked"});
  CHECK(undecided.verdict == Verdict::kUndecided);

  evidence.accept_unknown_ak_attributes = true;
  const Appraisal accepted = evidence.Appraise();
  CHECK(FindingIds(accepted) == FindingIds(undecided));
  CHECK(accepted.verdict == Verdict::kPass);
}

TEST_CASE("A signer that was to be checked and can't be is undecided") {
  ValidEvidence evidence = FakeMachine().Attest();
  evidence.ak = tpm::AttestationKey::FromPublicKey(evidence.ak->key());
  evidence.accept_unknown_ak_attributes = true;
  const Appraisal appraisal = evidence.Appraise();
  const Finding* finding = FindFinding(appraisal, "quote.signer_unchecked");
  REQUIRE(finding != nullptr);
  CHECK(finding->severity == Severity::kUndecided);
  CHECK(appraisal.verdict == Verdict::kUndecided);
}

TEST_CASE(
    "Without the EK's Name the signer is not checked, and a notice says "
    "so") {
  ValidEvidence evidence = FakeMachine().Attest();
  evidence.ek_name.clear();
  const Appraisal appraisal = evidence.Appraise();
  CHECK(FindingIds(appraisal) == Ids{"quote.signer_unchecked"});
  CHECK(appraisal.verdict == Verdict::kPass);
}

TEST_CASE("Values beside the signed ones are ignored") {
  FakeMachine machine;
  ValidEvidence evidence = machine.Attest();
  // A PCR that nobody quoted can't satisfy a rule about it.
  const Digest value = FileDigestOf("allowed");
  REQUIRE(evidence.pcrs.Set(14, value).ok());
  policy::StaticPcrs rule;
  rule.values[14] = {value};
  rule.mask = uint32_t{1} << 14;
  evidence.reference.boot_rule = rule;
  CHECK(FindingIds(evidence.Appraise()) == Ids{"boot.pcr_missing"});
}

// The list's own PCR need not be reported: the list has to give it.

TEST_CASE("A PCR that the list extends may be left out of the values") {
  FakeMachine machine;
  ValidEvidence evidence = machine.Attest();
  evidence.Unreport(kSha256, 10);
  const Appraisal appraisal = evidence.Appraise();
  CHECK(FindingIds(appraisal).empty());
  CHECK(appraisal.verdict == Verdict::kPass);
  CHECK(appraisal.proof == Proof::kQuote);

  // The composite is still that of the quote.
  evidence.list[machine.list.offsets()[2] + 60] ^= 1;
  const Appraisal changed = evidence.Appraise();
  CHECK(FindFinding(changed, "ima.history_lost") != nullptr);
  CHECK(changed.proof == Proof::kNone);
}

TEST_CASE(
    "With values left out, the others are believed only if the list "
    "completes them") {
  const FakeMachine machine;
  ValidEvidence evidence = machine.Attest();
  evidence.Unreport(kSha256, 10);
  evidence.Misreport(4, FileDigestOf("another boot loader"));
  evidence.reference.boot_rule = policy::AnyBoot{};
  const Appraisal appraisal = evidence.Appraise();
  CHECK(FindingIds(appraisal) ==
        Ids{"boot.any", "ima.boot_aggregate", "ima.history_lost"});
  for (const Finding& finding : appraisal.findings) {
    CHECK_FALSE(finding.authenticated);
  }
}

TEST_CASE(
    "Any other PCR's value must be reported: a missing one is not taken "
    "for zero") {
  FakeMachine machine;
  machine.quoted_pcrs |= uint32_t{1} << 12;
  SECTION("a PCR of the firmware, which is zero") {
    machine.ClearBootPcrs();
    machine.StartList();
    ValidEvidence evidence = machine.Attest();
    evidence.reference.boot_rule = policy::AnyBoot{};
    // The policy that lists boot_aggregate can do without PCR 0 to 9.
    machine.policy.digests["boot_aggregate"] = {machine.BootAggregate(kSha256)};
    evidence.reference.policy = MakePolicy(machine.policy);
    for (uint32_t pcr = 0; pcr < 11; ++pcr) evidence.Unreport(kSha256, pcr);
    const Appraisal appraisal = evidence.Appraise();
    CHECK(FindingIds(appraisal) == Ids{"boot.any", "quote.pcr_value_missing"});
    CHECK(appraisal.verdict == Verdict::kUndecided);
    CHECK(appraisal.proof == Proof::kNone);
  }
  SECTION("another one") {
    machine.pcrs[{kSha256, 12}] = FileDigestOf("the stub's");
    ValidEvidence evidence = machine.Attest();
    evidence.Unreport(kSha256, 12);
    const Appraisal appraisal = evidence.Appraise();
    CHECK(FindingIds(appraisal) == Ids{"quote.pcr_value_missing"});
    CHECK(appraisal.findings[0].severity == Severity::kUndecided);
    CHECK(appraisal.findings[0].pcr == 12U);
    CHECK(appraisal.verdict == Verdict::kUndecided);
  }
}

TEST_CASE(
    "A reported value of a PCR that the list extends must be the signed "
    "one, also where others are left out") {
  FakeMachine machine;
  machine.quoted_pcrs |= uint32_t{1} << 11;
  machine.list_pcrs = {10, 11};
  machine.Run("/usr/bin/eleven", 11);
  ValidEvidence evidence = machine.Attest();
  const Digest allowed = FileDigestOf("what the rule wants");
  policy::StaticPcrs rule;
  rule.values[11] = {allowed};
  rule.mask = uint32_t{1} << 11;
  evidence.reference.boot_rule = rule;
  CHECK(FindingIds(evidence.Appraise()) == Ids{"boot.pcr_mismatch"});

  evidence.Unreport(kSha256, 10);
  evidence.Misreport(11, allowed);
  const Appraisal appraisal = evidence.Appraise();
  CHECK(FindingIds(appraisal) == Ids{"quote.pcr_digest"});
  CHECK(appraisal.findings[0].pcr == 11U);
  CHECK(appraisal.verdict == Verdict::kFail);
}

// A quote that was verified before it is appraised.
struct VerifiedBefore {
  explicit VerifiedBefore(const FakeMachine& machine)
      : valid(machine.Attest()), quote(Verify(*valid.selection, valid.pcrs)) {
    challenge.ak = &*valid.ak;
    challenge.qualifying_data = valid.nonce;
    challenge.selection = valid.selection;
    challenge.ek_name = valid.ek_name;
  }

  tpm::VerifiedQuote Verify(const tpm::PcrSelection& selection,
                            const tpm::PcrValues& values) const {
    tpm::QuoteExpectation expectation;
    expectation.qualifying_data = valid.nonce;
    expectation.selection = &selection;
    expectation.values = values.empty() ? nullptr : &values;
    expectation.ek_name = valid.ek_name;
    auto outcome = tpm::VerifyQuote(*valid.ak, valid.quote->attest,
                                    valid.quote->signature, expectation);
    REQUIRE(outcome.ok());
    return std::get<tpm::VerifiedQuote>(*std::move(outcome));
  }

  absl::StatusOr<Appraisal> Appraise() const {
    Evidence evidence;
    evidence.list.bytes = valid.list;
    // Neither signature nor values: nobody looks at them.
    evidence.quote = {.attest = {}, .signature = {}, .verified = &quote};
    return appraisal::Appraise(evidence, challenge, valid.reference);
  }

  ValidEvidence valid;
  tpm::VerifiedQuote quote;
  Challenge challenge;
};

TEST_CASE("A quote that was verified before is what it is worth otherwise") {
  FakeMachine machine;
  const VerifiedBefore before(machine);
  const auto passed = before.Appraise();
  REQUIRE(passed.ok());
  CHECK(FindingIds(*passed).empty());
  CHECK(passed->verdict == Verdict::kPass);
  CHECK(passed->proof == Proof::kQuote);
  CHECK(passed->progress.key == before.valid.Appraise().progress.key);

  machine.list.AddFile("/tmp/evil", FileDigestOf("evil"));
  const auto failed = VerifiedBefore(machine).Appraise();
  REQUIRE(failed.ok());
  CHECK(FindingIds(*failed) == Ids{"ima.not_in_policy"});
  CHECK(failed->findings[0].authenticated);
}

TEST_CASE("A quote that was verified by another challenge is an error") {
  const FakeMachine machine;
  VerifiedBefore before(machine);
  SECTION("nonce") { before.challenge.qualifying_data.back() ^= 1; }
  SECTION("selection") {
    before.challenge.selection = *tpm::PcrSelection::Create({{kSha256, 0x3ff}});
  }
  SECTION("no selection") { before.challenge.selection.reset(); }
  SECTION("EK") { before.challenge.ek_name.back() ^= 1; }
  const FakeTpm other({.key_index = 5});
  const auto other_ak = tpm::AttestationKey::FromPublicArea(other.ak());
  REQUIRE(other_ak.ok());
  SECTION("AK") { before.challenge.ak = &*other_ak; }
  SECTION("without the values") {
    before.quote = before.Verify(*before.valid.selection, {});
  }
  CHECK(before.Appraise().status().code() ==
        absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace cupel::appraisal
