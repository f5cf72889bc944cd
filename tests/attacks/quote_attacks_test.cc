// Attacks on the quote: nonces, keys, structures, selections, banks.
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "catch2/catch.hpp"
#include "common/tpm/constants.h"
#include "common/tpm/ek_template.h"
#include "common/tpm/public_area.h"
#include "common/util/bytes.h"
#include "common/util/hex.h"
#include "tests/attacks/wrong_keys.h"
#include "tests/support/evidence_builder.h"

namespace cupel {
namespace {

using ::cupel::appraisal::Appraisal;
using ::cupel::appraisal::Proof;
using ::cupel::appraisal::Verdict;
using ::cupel::crypto::Digest;
using ::cupel::crypto::HashAlgorithm;
using ::cupel::testing::FakeMachine;
using ::cupel::testing::FakeTpm;
using ::cupel::testing::FindFinding;
using ::cupel::testing::FindingIds;
using ::cupel::testing::ValidEvidence;
using Ids = std::vector<std::string>;

using HashAlgorithm::kSha1;
using HashAlgorithm::kSha256;

tpm::Attest AttestOf(const ValidEvidence& evidence) {
  auto attest = tpm::ParseAttest(evidence.quote->attest);
  REQUIRE(attest.ok());
  return *std::move(attest);
}

// The quote of `selection` by the TPM of `machine` with these values.
testing::FakeQuote QuoteOf(const FakeMachine& machine,
                           const tpm::PcrValues& values,
                           const std::string& selection,
                           const std::vector<uint8_t>& nonce) {
  FakeTpm tpm = machine.tpm;
  tpm.pcrs = values;
  return tpm.Quote(tpm::PcrSelection::FromString(selection).value(), nonce);
}

void CheckRefused(const Appraisal& appraisal, const std::string& id) {
  INFO(Catch::Detail::stringify(FindingIds(appraisal)));
  CHECK(FindFinding(appraisal, id) != nullptr);
  CHECK(appraisal.verdict == Verdict::kFail);
  CHECK(appraisal.proof == Proof::kNone);
}

TEST_CASE("A1: a quote with an earlier nonce, or another agent's") {
  const FakeMachine machine;
  const ValidEvidence earlier = machine.Attest();
  ValidEvidence evidence = earlier;
  evidence.nonce = ToVector(AsBytes("the nonce that was asked for now"));
  CheckRefused(evidence.Appraise(), "quote.nonce");
}

TEST_CASE("A1: a nonce in another encoding") {
  const FakeMachine machine;
  const ValidEvidence valid = machine.Attest();
  const std::vector<uint8_t>& nonce = valid.nonce;
  std::vector<std::vector<uint8_t>> others;
  others.push_back({});
  others.push_back(ToVector(AsBytes(HexEncode(nonce))));
  others.emplace_back(nonce.rbegin(), nonce.rend());
  others.emplace_back(nonce.begin(), nonce.end() - 1);
  others.push_back(nonce);
  others.back().push_back(0);
  others.push_back(ToVector(crypto::Hash(kSha256, nonce).bytes()));
  for (const std::vector<uint8_t>& other : others) {
    ValidEvidence evidence = valid;
    tpm::Attest attest = AttestOf(valid);
    attest.extra_data = other;
    evidence.quote = machine.tpm.Quote(attest);
    CheckRefused(evidence.Appraise(), "quote.nonce");
  }
}

TEST_CASE("A1: no nonce was asked for, and one is there all the same") {
  ValidEvidence evidence = FakeMachine().Attest();
  evidence.nonce.clear();
  CheckRefused(evidence.Appraise(), "quote.nonce");
}

TEST_CASE("A2: a quote by a key that was not enrolled") {
  const FakeMachine machine;
  ValidEvidence evidence = machine.Attest();
  FakeMachine other({kSha256}, {.key_index = 7});
  evidence.quote = other.tpm.Quote(AttestOf(evidence));
  CheckRefused(evidence.Appraise(), "quote.signature");
  // With everything that its owner can choose.
  evidence.quote = other.Attest().quote;
  CheckRefused(evidence.Appraise(), "quote.signature");
}

TEST_CASE("A2: an AK that signs what no TPM made, in every way") {
  const FakeMachine machine;
  for (const auto& change : testing::WrongAks()) {
    ValidEvidence evidence = machine.Attest();
    tpm::PublicArea area = machine.tpm.ak();
    change(area);
    evidence.ak = *tpm::AttestationKey::FromPublicArea(area);
    // As its TPM would name it: nothing but the attributes is wrong.
    tpm::Attest attest = AttestOf(evidence);
    attest.qualified_signer = *tpm::QualifiedName(
        *tpm::EkQualifiedName(evidence.ek_name), area.Name());
    evidence.quote = machine.tpm.Quote(attest);
    CheckRefused(evidence.Appraise(), "quote.ak_attributes");
  }
}

TEST_CASE("A2: a key of which nobody knows whether it is restricted") {
  ValidEvidence evidence = FakeMachine().Attest();
  evidence.ak = tpm::AttestationKey::FromPublicKey(evidence.ak->key());
  evidence.ek_name.clear();
  const Appraisal appraisal = evidence.Appraise();
  CHECK(appraisal.verdict == Verdict::kUndecided);
  CHECK(appraisal.progress.entry_count == 0);
}

TEST_CASE("A6: another magic, another type") {
  const FakeMachine machine;
  ValidEvidence evidence = machine.Attest();
  for (const uint32_t magic : {0U, 0x47435400U, 0xff544346U, 0xfe544347U}) {
    tpm::Attest attest = AttestOf(machine.Attest());
    attest.magic = magic;
    evidence.quote = machine.tpm.Quote(attest);
    CheckRefused(evidence.Appraise(), "quote.magic");
  }
  for (uint16_t type = 0x8014; type < 0x8020; ++type) {
    tpm::Attest attest = AttestOf(machine.Attest());
    attest.type = static_cast<tpm::StructureTag>(type);
    if (attest.type == tpm::StructureTag::kAttestQuote) continue;
    evidence.quote = machine.tpm.Quote(attest);
    CheckRefused(evidence.Appraise(), "quote.type");
  }
}

TEST_CASE("A6: bytes that trail, or lack, though they are signed") {
  const FakeMachine machine;
  const ValidEvidence valid = machine.Attest();
  for (size_t size = 0; size < valid.quote->attest.size() + 3; ++size) {
    ValidEvidence evidence = valid;
    evidence.quote->attest.resize(size);
    if (size == valid.quote->attest.size()) continue;
    evidence.quote->signature = machine.tpm.Sign(evidence.quote->attest);
    CHECK(evidence.Appraise().verdict != Verdict::kPass);
    CHECK(evidence.Appraise().proof == Proof::kNone);
  }
  for (size_t size = 0; size < valid.quote->signature.size() + 3; ++size) {
    ValidEvidence evidence = valid;
    evidence.quote->signature.resize(size);
    if (size == valid.quote->signature.size()) continue;
    CHECK(evidence.Appraise().verdict != Verdict::kPass);
  }
}

TEST_CASE("A6: every bit of the quote counts") {
  const FakeMachine machine;
  const ValidEvidence valid = machine.Attest();
  for (size_t i = 0; i < valid.quote->attest.size(); ++i) {
    ValidEvidence evidence = valid;
    evidence.quote->attest[i] ^= static_cast<uint8_t>(1U << i % 8);
    CHECK(evidence.Appraise().verdict != Verdict::kPass);
    CHECK(evidence.Appraise().proof == Proof::kNone);
  }
  for (size_t i = 0; i < valid.quote->signature.size(); ++i) {
    ValidEvidence evidence = valid;
    evidence.quote->signature[i] ^= static_cast<uint8_t>(1U << i % 8);
    CHECK(evidence.Appraise().verdict != Verdict::kPass);
  }
}

TEST_CASE("A7: the signed selection is not what was asked for") {
  const FakeMachine machine({kSha256, kSha1});
  const ValidEvidence valid = machine.Attest();
  ValidEvidence evidence = valid;
  evidence.selection =
      *tpm::PcrSelection::FromString("sha256:0,1,2,3,4,5,6,7,8,9,10");
  SECTION("as asked") {
    evidence.quote = QuoteOf(machine, valid.pcrs,
                             "sha256:0,1,2,3,4,5,6,7,8,9,10", valid.nonce);
    CHECK(FindingIds(evidence.Appraise()).empty());
  }
  const auto other = GENERATE(
      "sha256:10", "sha256:0,1,2,3,4,5,6,7,8,9", "sha256:none", "sha1:none",
      "sha1:0,1,2,3,4,5,6,7,8,9,10", "sha256:0,1,2,3,4,5,6,7,8,9,10+sha1:10",
      "sha1:10+sha256:0,1,2,3,4,5,6,7,8,9,10");
  evidence.quote = QuoteOf(machine, valid.pcrs, other, valid.nonce);
  CheckRefused(evidence.Appraise(), "quote.selection");
}

TEST_CASE("A7: the same banks in another order") {
  const FakeMachine machine({kSha256, kSha1});
  ValidEvidence evidence = machine.Attest();
  evidence.quote =
      QuoteOf(machine, evidence.pcrs, "sha1:10+sha256:10", evidence.nonce);
  evidence.selection = *tpm::PcrSelection::FromString("sha256:10+sha1:10");
  CheckRefused(evidence.Appraise(), "quote.selection");
}

TEST_CASE("A7: the SHA-1 bank without permission") {
  const Appraisal appraisal = FakeMachine({kSha1}).Attest().Appraise();
  CHECK(FindFinding(appraisal, "pcr.bank_weak") != nullptr);
  CHECK(appraisal.verdict == Verdict::kFail);
}

TEST_CASE("A7: a strong bank for PCR 10, and SHA-1 for what hides on PCR 11") {
  FakeMachine machine({kSha256, kSha1});
  machine.Run("/usr/bin/eleven", 11);
  ValidEvidence evidence = machine.Attest();
  tpm::PcrValues values = evidence.pcrs;
  REQUIRE(values.Set(11, machine.list.Pcr(kSha1, 11)).ok());
  evidence.pcrs = values;
  evidence.quote = QuoteOf(
      machine, values, "sha256:0,1,2,3,4,5,6,7,8,9,10+sha1:11", evidence.nonce);
  evidence.selection.reset();
  CHECK(evidence.Appraise().verdict != Verdict::kPass);
}

TEST_CASE("A7: a signature by SHA-1") {
  const FakeMachine machine({kSha256}, {.kind = testing::FakeKeyKind::kRsa2048,
                                        .scheme = tpm::AlgId::kRsassa});
  ValidEvidence evidence = machine.Attest();
  evidence.quote->signature =
      machine.tpm.SignAs(tpm::AlgId::kRsassa, kSha1, evidence.quote->attest);
  CheckRefused(evidence.Appraise(), "quote.signature_algorithm");
}

TEST_CASE("A7: PCR values that are not the signed ones") {
  const FakeMachine machine;
  for (uint32_t pcr = 0; pcr <= 10; ++pcr) {
    ValidEvidence evidence = machine.Attest();
    Digest value = *evidence.pcrs.Find(kSha256, pcr);
    value.mutable_bytes()[31] ^= 1;
    evidence.Misreport(pcr, value);
    CheckRefused(evidence.Appraise(), "quote.pcr_digest");
  }
}

TEST_CASE(
    "A7: values left out, so that what is reported of others goes "
    "unchecked") {
  FakeMachine machine;
  machine.quoted_pcrs |= uint32_t{1} << 14;
  machine.pcrs[{kSha256, 14}] = crypto::Hash(kSha256, AsBytes("MOK"));
  for (uint32_t pcr = 0; pcr <= 14; ++pcr) {
    for (uint32_t other = 0; other <= 14; ++other) {
      ValidEvidence evidence = machine.Attest();
      if (evidence.pcrs.Find(kSha256, pcr) == nullptr ||
          evidence.pcrs.Find(kSha256, other) == nullptr) {
        continue;
      }
      evidence.Misreport(other, crypto::Hash(kSha256, AsBytes("a lie")));
      evidence.Unreport(kSha256, pcr);
      if (pcr == other) continue;
      const Appraisal appraisal = evidence.Appraise();
      INFO(pcr << " left out, " << other << " misreported");
      CHECK(appraisal.verdict != Verdict::kPass);
    }
  }
}

TEST_CASE("A23: an EK of another template") {
  // The verifier rebuilds the EK from the certificate's key and a template. A
  // TPM whose EK is another object signs with another signer.
  const FakeMachine machine;
  tpm::PublicArea ek = tpm::EkTemplateArea(tpm::EkTemplate::kL2);
  const auto weaker = GENERATE(0, 1, 2, 3);
  if (weaker == 0) ek.attributes &= ~tpm::kAttrFixedTpm;
  if (weaker == 1) ek.name_algorithm = kSha1;
  if (weaker == 2) ek.auth_policy.clear();
  if (weaker == 3) ek.attributes |= tpm::kAttrSign;
  ValidEvidence evidence = machine.Attest();
  tpm::Attest attest = AttestOf(evidence);
  attest.qualified_signer = *tpm::QualifiedName(
      *tpm::EkQualifiedName(ek.Name()), machine.tpm.ak().Name());
  evidence.quote = machine.tpm.Quote(attest);
  CheckRefused(evidence.Appraise(), "quote.signer");
}

TEST_CASE(
    "A23: no template has a weak name algorithm, nor can another be "
    "named") {
  for (const tpm::EkTemplate id : tpm::kEkTemplates) {
    const tpm::PublicArea area = tpm::EkTemplateArea(id);
    CHECK(crypto::DigestSize(area.name_algorithm) >= 32);
    CHECK((area.attributes & tpm::kAttrRestricted) != 0);
    CHECK((area.attributes & tpm::kAttrDecrypt) != 0);
    CHECK((area.attributes & tpm::kAttrSign) == 0);
    CHECK((area.attributes & tpm::kAttrFixedTpm) != 0);
  }
  for (const char* name : {"", "L-3", "l-1", "L-1 ", "H-4", "nonce"}) {
    CHECK_FALSE(tpm::EkTemplateFromName(name).ok());
  }
}

TEST_CASE("A24: an AK outside of the endorsement hierarchy, or of another EK") {
  const FakeMachine machine;
  ValidEvidence evidence = machine.Attest();
  const std::vector<uint8_t> ak = machine.tpm.ak().Name();
  tpm::Attest attest = AttestOf(evidence);
  SECTION("a primary key of the owner hierarchy") {
    attest.qualified_signer =
        *tpm::QualifiedName(std::vector<uint8_t>{0x40, 0, 0, 1}, ak);
  }
  SECTION("a primary key of the endorsement hierarchy") {
    attest.qualified_signer = *tpm::EkQualifiedName(ak);
  }
  SECTION("a child of another EK") {
    std::vector<uint8_t> other = evidence.ek_name;
    other.back() ^= 1;
    attest.qualified_signer =
        *tpm::QualifiedName(*tpm::EkQualifiedName(other), ak);
  }
  SECTION("the AK's own Name") { attest.qualified_signer = ak; }
  SECTION("a handle") { attest.qualified_signer = {0x40, 0, 0, 7}; }
  SECTION("nothing") { attest.qualified_signer.clear(); }
  evidence.quote = machine.tpm.Quote(attest);
  CheckRefused(evidence.Appraise(), "quote.signer");
}

TEST_CASE("A25: a bank that is not allocated") {
  const FakeMachine machine;
  ValidEvidence evidence = machine.Attest();
  // The TPM clears what it lacks, and signs the rest.
  evidence.selection = *tpm::PcrSelection::FromString("sha384:0,10");
  evidence.quote = machine.tpm.Quote(*evidence.selection, evidence.nonce);
  REQUIRE(AttestOf(evidence).quote.selection.IsEmpty());
  CheckRefused(evidence.Appraise(), "quote.selection");
  evidence.selection.reset();
  CheckRefused(evidence.Appraise(), "quote.selection");
}

TEST_CASE("A25: a bank that no firmware ever extended") {
  FakeMachine machine({kSha256, kSha1});
  for (uint32_t pcr = 0; pcr < 10; ++pcr) {
    machine.pcrs[{kSha256, pcr}] = Digest(kSha256);
  }
  machine.StartList();
  ValidEvidence evidence = machine.Attest();
  SECTION("beside one that was") {
    CHECK(FindingIds(evidence.Appraise()) == Ids{"pcr.bank_not_extended"});
  }
  SECTION("with its values left out") {
    machine.banks = {kSha256};
    machine.policy.digests["boot_aggregate"] = {machine.BootAggregate(kSha256)};
    evidence = machine.Attest();
    evidence.reference.boot_rule = policy::AnyBoot{};
    for (uint32_t pcr = 0; pcr < 10; ++pcr) evidence.Unreport(kSha256, pcr);
  }
  CHECK(evidence.Appraise().verdict != Verdict::kPass);
}

}  // namespace
}  // namespace cupel
