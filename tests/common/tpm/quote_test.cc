#include "common/tpm/quote.h"

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "common/tpm/pcr_file.h"
#include "common/tpm/signature.h"
#include "tests/common/tpm/vectors.h"
#include "tests/support/fake_tpm.h"
#include "tests/support/status_matchers.h"

namespace cupel::tpm {
namespace {

using crypto::Digest;
using crypto::HashAlgorithm;
using ::cupel::testing::FakeAkOptions;
using ::cupel::testing::FakeKeyKind;
using ::cupel::testing::FakeQuote;
using ::cupel::testing::FakeTpm;
using ::cupel::testing::IsOk;
using ::cupel::testing::StatusIs;
using ::cupel::testing::StatusOf;
using Checks = std::vector<QuoteCheck>;
using enum QuoteCheck;

// Everything that one VerifyQuote needs, owned.
struct Evidence {
  std::vector<uint8_t> ak;
  std::vector<uint8_t> attest;
  std::vector<uint8_t> signature;
  std::vector<uint8_t> nonce;
  PcrSelection selection;
  PcrValues values;
  std::vector<uint8_t> ek_name;

  absl::StatusOr<QuoteOutcome> Verify() const {
    const auto key = AttestationKey::FromFile(ak);
    REQUIRE_THAT(StatusOf(key), IsOk());
    return VerifyQuote(*key, attest, signature,
                       {.qualifying_data = nonce,
                        .selection = &selection,
                        .values = &values,
                        .ek_name = ek_name});
  }
};

Checks FailedChecks(const QuoteOutcome& outcome) {
  Checks checks;
  if (const auto* const rejected = std::get_if<RejectedQuote>(&outcome)) {
    for (const FailedCheck& failure : rejected->failures) {
      checks.push_back(failure.check);
    }
  }
  return checks;
}

RejectedQuote Rejected(const absl::StatusOr<QuoteOutcome>& outcome) {
  REQUIRE_THAT(StatusOf(outcome), IsOk());
  REQUIRE(std::holds_alternative<RejectedQuote>(*outcome));
  return std::get<RejectedQuote>(*outcome);
}

// The checks that fail, after it is certain that nothing else does.
Checks Failures(const Evidence& evidence) {
  const auto outcome = evidence.Verify();
  REQUIRE_THAT(StatusOf(outcome), IsOk());
  return FailedChecks(*outcome);
}

// A quote that a TPM made: PCR 10 of two banks by an RSA key.
Evidence RealRsa() {
  Evidence evidence;
  evidence.ak = Vector("quote/ak.tpm2b_public");
  evidence.attest = Vector("quote/q10.msg");
  evidence.signature = Vector("quote/q10.sig");
  evidence.nonce = Vector("quote/nonce");
  evidence.selection = *PcrSelection::FromString("sha256:10+sha1:10");
  evidence.values =
      ParsePcrFile(Vector("quote/q10.pcrs"), &evidence.selection)->values;
  evidence.ek_name = ParseTpm2bPublic(Vector("quote/ek.pub"))->Name();
  return evidence;
}

Evidence RealRsaSixteenPcrs() {
  Evidence evidence = RealRsa();
  evidence.attest = Vector("quote/qall.msg");
  evidence.signature = Vector("quote/qall.sig");
  evidence.selection =
      *PcrSelection::FromString("sha256:0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15");
  evidence.values = ParsePcrFile(Vector("quote/qall.pcrs"))->values;
  return evidence;
}

Evidence RealEcc() {
  Evidence evidence = RealRsa();
  evidence.ak = Vector("quote/akecc.pub");
  evidence.attest = Vector("quote/qecc.msg");
  evidence.signature = Vector("quote/qecc.sig");
  evidence.selection = *PcrSelection::FromString("sha256:10");
  evidence.values =
      ParsePcrFile(Vector("quote/qecc.pcrs"), &evidence.selection)->values;
  return evidence;
}

// The same by a TPM of the test's own, whose key can sign anything.
Evidence FromFake(const FakeTpm& tpm, const Attest& attest) {
  const FakeQuote quote = tpm.Quote(attest);
  Evidence evidence;
  evidence.ak = tpm.AkFile();
  evidence.attest = quote.attest;
  evidence.signature = quote.signature;
  evidence.nonce = Hex("00112233");
  evidence.selection = *PcrSelection::FromString("sha256:0,10+sha1:10");
  evidence.values = tpm.pcrs;
  evidence.ek_name = tpm.ek_name();
  return evidence;
}

FakeTpm MakeFake(const FakeAkOptions& options = {}) {
  FakeTpm tpm(options);
  REQUIRE(tpm.pcrs.Set(0, Digest::Filled(HashAlgorithm::kSha256, 1)).ok());
  REQUIRE(tpm.pcrs.Set(10, Digest::Filled(HashAlgorithm::kSha256, 2)).ok());
  REQUIRE(tpm.pcrs.Set(10, Digest::Filled(HashAlgorithm::kSha1, 3)).ok());
  REQUIRE(tpm.pcrs.Set(16, Digest::Filled(HashAlgorithm::kSha256, 4)).ok());
  return tpm;
}

Attest MakeAttest(const FakeTpm& tpm) {
  return tpm.MakeAttest(*PcrSelection::FromString("sha256:0,10+sha1:10"),
                        Hex("00112233"));
}

TEST_CASE("real quotes pass every check", "[tpm][quote]") {
  const auto make = GENERATE(&RealRsa, &RealRsaSixteenPcrs, &RealEcc);
  const Evidence evidence = make();
  const auto outcome = evidence.Verify();
  REQUIRE_THAT(StatusOf(outcome), IsOk());
  REQUIRE(FailedChecks(*outcome).empty());
  const auto& quote = std::get<VerifiedQuote>(*outcome);
  CHECK(quote.unchecked().empty());
  CHECK(quote.WasChecked(kAkAttributes));
  CHECK(quote.selection() == evidence.selection);
  CHECK(quote.values() == evidence.values);
  CHECK(quote.attest() == *ParseAttest(evidence.attest));
}

TEST_CASE("every kind of key, scheme and hash passes", "[tpm][quote]") {
  const auto options = GENERATE(values<FakeAkOptions>({
      {FakeKeyKind::kRsa2048, AlgId::kRsassa, HashAlgorithm::kSha256},
      {FakeKeyKind::kRsa2048, AlgId::kRsapss, HashAlgorithm::kSha256},
      {FakeKeyKind::kRsa2048, AlgId::kRsapss, HashAlgorithm::kSha512},
      {FakeKeyKind::kEcP256, AlgId::kEcdsa, HashAlgorithm::kSha256},
      {FakeKeyKind::kEcP256, AlgId::kEcdsa, HashAlgorithm::kSha384},
      {FakeKeyKind::kEcP384, AlgId::kEcdsa, HashAlgorithm::kSha384},
      {FakeKeyKind::kEcP384, AlgId::kEcdsa, HashAlgorithm::kSha512},
  }));
  CAPTURE(SignatureAlgorithmName(options.scheme, options.hash));
  const FakeTpm tpm = MakeFake(options);
  const Attest attest = MakeAttest(tpm);
  // pcrDigest is of the scheme's hash, whatever the banks are.
  CHECK(attest.quote.pcr_digest.size() == crypto::DigestSize(options.hash));
  CHECK(Failures(FromFake(tpm, attest)).empty());
}

TEST_CASE("one key serves several threads", "[tpm][quote]") {
  const FakeAkOptions options = GENERATE(values<FakeAkOptions>({
      {FakeKeyKind::kRsa2048, AlgId::kRsapss, HashAlgorithm::kSha256},
      {FakeKeyKind::kEcP256, AlgId::kEcdsa, HashAlgorithm::kSha256},
  }));
  const FakeTpm tpm = MakeFake(options);
  const Evidence evidence = FromFake(tpm, MakeAttest(tpm));
  const AttestationKey key = *AttestationKey::FromFile(evidence.ak);
  std::atomic<int> passed = 0;
  constexpr int kThreads = 4;
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&key, &evidence, &passed, i] {
      // Half of the threads see a signature that is not valid.
      std::vector<uint8_t> signature = evidence.signature;
      if (i % 2 == 1) signature.back() ^= 1;
      for (int j = 0; j < 50; ++j) {
        const auto outcome = VerifyQuote(key, evidence.attest, signature,
                                         {.qualifying_data = evidence.nonce});
        if (outcome.ok() && std::holds_alternative<VerifiedQuote>(*outcome)) {
          ++passed;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(passed == 100);
}

TEST_CASE("values beyond the signed selection are not vouched for",
          "[tpm][quote]") {
  const FakeTpm tpm = MakeFake();
  const auto outcome = FromFake(tpm, MakeAttest(tpm)).Verify();
  REQUIRE_THAT(StatusOf(outcome), IsOk());
  const auto& quote = std::get<VerifiedQuote>(*outcome);
  CHECK(quote.values().size() == 3);
  CHECK(quote.values().Find(HashAlgorithm::kSha256, 16) == nullptr);
}

TEST_CASE("what could not be checked is told", "[tpm][quote]") {
  const Evidence evidence = RealEcc();
  const auto pem = AttestationKey::FromFile(Vector("quote/akecc.pem"));
  const auto area = AttestationKey::FromFile(evidence.ak);
  REQUIRE_THAT(StatusOf(pem), IsOk());
  REQUIRE_THAT(StatusOf(area), IsOk());
  const auto unchecked = [&evidence](const AttestationKey& key,
                                     const QuoteExpectation& expectation) {
    const auto outcome =
        VerifyQuote(key, evidence.attest, evidence.signature, expectation);
    REQUIRE_THAT(StatusOf(outcome), IsOk());
    REQUIRE(std::holds_alternative<VerifiedQuote>(*outcome));
    return std::get<VerifiedQuote>(*outcome);
  };
  const VerifiedQuote bare =
      unchecked(*pem, {.qualifying_data = evidence.nonce});
  CHECK(bare.unchecked() ==
        Checks{kAkAttributes, kSelection, kPcrDigest, kSigner});
  CHECK_FALSE(bare.WasChecked(kSelection));
  CHECK(bare.values().empty());
  // An EK without the AK's Name is no help.
  CHECK(unchecked(*pem, {.qualifying_data = evidence.nonce,
                         .selection = &evidence.selection,
                         .values = &evidence.values,
                         .ek_name = evidence.ek_name})
            .unchecked() == Checks{kAkAttributes, kSigner});
  CHECK(unchecked(*area, {.qualifying_data = evidence.nonce,
                          .selection = &evidence.selection,
                          .values = &evidence.values})
            .unchecked() == Checks{kSigner});
}

TEST_CASE("an EK's Name that is none is an error", "[tpm][quote]") {
  Evidence evidence = RealEcc();
  evidence.ek_name.pop_back();
  CHECK_THAT(StatusOf(evidence.Verify()),
             StatusIs(absl::StatusCode::kInvalidArgument, "name"));
}

// From here on, one thing is changed in valid evidence.

TEST_CASE("magic: a structure that no TPM made", "[tpm][quote]") {
  const FakeTpm tpm = MakeFake();
  Attest attest = MakeAttest(tpm);
  attest.magic = 0xff544348;
  const RejectedQuote rejected = Rejected(FromFake(tpm, attest).Verify());
  REQUIRE(rejected.failures.size() == 1);
  CHECK(rejected.failures[0].check == kMagic);
  CHECK(rejected.failures[0].expected == "0xff544347");
  CHECK(rejected.failures[0].found == "0xff544348");
  CHECK(rejected.signature_valid);
}

TEST_CASE("type: a certification for a quote", "[tpm][quote]") {
  const FakeTpm tpm = MakeFake();
  Attest attest = MakeAttest(tpm);
  attest.type = StructureTag::kAttestCertify;
  const RejectedQuote rejected = Rejected(FromFake(tpm, attest).Verify());
  REQUIRE(rejected.failures.size() == 1);
  CHECK(rejected.failures[0].check == kType);
  CHECK(rejected.failures[0].found == "certify");
  CHECK(rejected.signature_valid);

  // What all types have in common is judged still.
  Evidence evidence = FromFake(tpm, attest);
  evidence.nonce = Hex("00");
  evidence.ek_name = RealEcc().ek_name;
  CHECK(Failures(evidence) == Checks{kType, kNonce, kSigner});
}

TEST_CASE("attributes: a key that signs anything", "[tpm][quote]") {
  const FakeTpm tpm = MakeFake();
  PublicArea ak = tpm.ak();
  ak.attributes &= ~(kAttrRestricted | kAttrFixedTpm);
  // A Qualified Name to match: the attributes alone must fail.
  Attest attest = MakeAttest(tpm);
  attest.qualified_signer =
      *QualifiedName(*EkQualifiedName(tpm.ek_name()), ak.Name());
  Evidence evidence = FromFake(tpm, attest);
  evidence.ak = ak.Serialize();
  const RejectedQuote rejected = Rejected(evidence.Verify());
  REQUIRE(rejected.failures.size() == 2);
  CHECK(rejected.failures[0].check == kAkAttributes);
  CHECK_THAT(rejected.failures[0].detail, Catch::Contains("restricted"));
  CHECK(rejected.failures[1].check == kAkAttributes);
  CHECK_THAT(rejected.failures[1].detail, Catch::Contains("fixedTPM"));
  CHECK(rejected.signature_valid);
}

TEST_CASE("signature algorithm: another scheme than the key's fixed one",
          "[tpm][quote]") {
  const FakeTpm tpm = MakeFake({FakeKeyKind::kRsa2048, AlgId::kRsassa});
  Evidence evidence = FromFake(tpm, MakeAttest(tpm));
  SECTION("scheme") {
    evidence.signature =
        tpm.SignAs(AlgId::kRsapss, HashAlgorithm::kSha256, evidence.attest);
  }
  SECTION("hash") {
    evidence.signature =
        tpm.SignAs(AlgId::kRsassa, HashAlgorithm::kSha384, evidence.attest);
  }
  const RejectedQuote rejected = Rejected(evidence.Verify());
  REQUIRE(rejected.failures.size() == 1);
  CHECK(rejected.failures[0].check == kSignatureAlgorithm);
  CHECK(rejected.failures[0].expected == "rsassa with sha256");
  CHECK(rejected.signature_valid);
}

TEST_CASE("signature algorithm: SHA-1", "[tpm][quote]") {
  const FakeTpm tpm = MakeFake({FakeKeyKind::kRsa2048, AlgId::kRsassa});
  Evidence evidence = FromFake(tpm, MakeAttest(tpm));
  evidence.signature =
      tpm.SignAs(AlgId::kRsassa, HashAlgorithm::kSha1, evidence.attest);
  const RejectedQuote rejected = Rejected(evidence.Verify());
  CHECK(FailedChecks(rejected) == Checks{kSignatureAlgorithm, kSignature});
  CHECK_THAT(rejected.failures[0].detail, Catch::Contains("sha1"));
  CHECK_FALSE(rejected.signature_valid);

  // A bare key has no fixed scheme that could tell the PCR digest's hash.
  evidence.ak = ToVector(AsBytes(*tpm.ak().ToPublicKey()->ToPem()));
  CHECK(Failures(evidence) == Checks{kSignatureAlgorithm, kSignature});
}

TEST_CASE("signature algorithm: not one of the key's kind", "[tpm][quote]") {
  Evidence evidence = RealRsa();
  evidence.signature = RealEcc().signature;
  CHECK(Failures(evidence) == Checks{kSignatureAlgorithm, kSignature});
  evidence = RealEcc();
  evidence.signature = RealRsa().signature;
  CHECK(Failures(evidence) == Checks{kSignatureAlgorithm, kSignature});
}

TEST_CASE("signature: a bit of it flipped", "[tpm][quote]") {
  Evidence evidence = GENERATE(&RealRsa, &RealEcc)();
  evidence.signature.back() ^= 1;
  const RejectedQuote rejected = Rejected(evidence.Verify());
  CHECK(FailedChecks(rejected) == Checks{kSignature});
  CHECK_FALSE(rejected.signature_valid);
  CHECK_THAT(rejected.failures[0].detail,
             Catch::Contains("nothing in the quote is authenticated"));
}

TEST_CASE("signature: any bit of the quote flipped", "[tpm][quote]") {
  const Evidence valid = RealEcc();
  const AttestationKey key = *AttestationKey::FromFile(valid.ak);
  for (size_t i = 0; i < valid.attest.size(); ++i) {
    CAPTURE(i);
    std::vector<uint8_t> attest = valid.attest;
    attest[i] ^= 0x04;
    const auto outcome =
        VerifyQuote(key, attest, valid.signature,
                    {.qualifying_data = valid.nonce, .values = &valid.values});
    // Malformed, or not signed; never verified.
    if (!outcome.ok()) continue;
    const RejectedQuote rejected = Rejected(outcome);
    CHECK_FALSE(rejected.signature_valid);
    CHECK(std::ranges::count(FailedChecks(rejected), kSignature) == 1);
  }
}

TEST_CASE("signature: by another key", "[tpm][quote]") {
  const FakeTpm tpm = MakeFake();
  const FakeTpm other = MakeFake({.key_index = 1});
  Evidence evidence = FromFake(tpm, MakeAttest(tpm));
  evidence.signature = other.Sign(evidence.attest);
  CHECK(Failures(evidence) == Checks{kSignature});
}

TEST_CASE("nonce: other, shorter, longer, in another encoding, empty",
          "[tpm][quote]") {
  Evidence evidence = RealRsa();
  SECTION("one bit") { evidence.nonce[19] ^= 1; }
  SECTION("shorter") { evidence.nonce.pop_back(); }
  SECTION("longer") { evidence.nonce.push_back(0); }
  SECTION("in hex") {
    evidence.nonce = ToVector(AsBytes(HexEncode(evidence.nonce)));
  }
  SECTION("empty") { evidence.nonce.clear(); }
  const RejectedQuote rejected = Rejected(evidence.Verify());
  CHECK(FailedChecks(rejected) == Checks{kNonce});
  CHECK(rejected.failures[0].expected == HexEncode(evidence.nonce));
  CHECK(rejected.failures[0].found == HexEncode(Vector("quote/nonce")));
  CHECK(rejected.signature_valid);
}

TEST_CASE("nonce: a quote without one matches no other", "[tpm][quote]") {
  const FakeTpm tpm = MakeFake();
  Attest attest = MakeAttest(tpm);
  attest.extra_data.clear();
  Evidence evidence = FromFake(tpm, attest);
  CHECK(Failures(evidence) == Checks{kNonce});
  evidence.nonce.clear();
  CHECK(Failures(evidence).empty());
}

TEST_CASE("selection: not the one asked for", "[tpm][quote]") {
  Evidence evidence = RealRsa();
  const auto asked = GENERATE(values<const char*>(
      {"sha256:10", "sha1:10", "sha1:10+sha256:10", "sha256:10,11+sha1:10",
       "sha256:9+sha1:10", "sha256:10+sha1:10+sha384:10",
       "sha256:10+sha384:10"}));
  evidence.selection = *PcrSelection::FromString(asked);
  const RejectedQuote rejected = Rejected(evidence.Verify());
  CHECK(FailedChecks(rejected) == Checks{kSelection});
  CHECK(rejected.failures[0].expected == asked);
  CHECK(rejected.failures[0].found == "sha256:10+sha1:10");
}

TEST_CASE("selection: a bank that is not allocated signs nothing",
          "[tpm][quote]") {
  FakeTpm tpm;  // no PCR has a value, so every selection is cleared
  const PcrSelection asked = *PcrSelection::FromString("sha512:10");
  Evidence evidence = FromFake(tpm, tpm.MakeAttest(asked, Hex("00112233")));
  evidence.selection = asked;
  RejectedQuote rejected = Rejected(evidence.Verify());
  CHECK(FailedChecks(rejected) == Checks{kSelection});
  CHECK(rejected.failures[0].found == "sha512:none");
  CHECK_THAT(rejected.failures[0].detail, Catch::Contains("not allocated"));

  // Refused even if it is what was asked for, or if nothing was.
  evidence.selection = *PcrSelection::FromString("sha512:none");
  CHECK(Failures(evidence) == Checks{kSelection});
  const AttestationKey key = *AttestationKey::FromFile(evidence.ak);
  const auto outcome = VerifyQuote(key, evidence.attest, evidence.signature,
                                   {.qualifying_data = evidence.nonce});
  REQUIRE_THAT(StatusOf(outcome), IsOk());
  CHECK(FailedChecks(*outcome) == Checks{kSelection});
}

TEST_CASE("PCR digest: a value changed, missing, or of another PCR",
          "[tpm][quote]") {
  const Evidence valid = RealRsa();
  Evidence evidence = valid;
  const Digest sha256 = *valid.values.Find(HashAlgorithm::kSha256, 10);
  const Digest sha1 = *valid.values.Find(HashAlgorithm::kSha1, 10);
  evidence.values = PcrValues();
  const char* message = "";
  SECTION("changed") {
    Digest changed = sha256;
    changed.mutable_bytes()[0] ^= 1;
    REQUIRE(evidence.values.Set(10, changed).ok());
    REQUIRE(evidence.values.Set(10, sha1).ok());
    message = "their digest differs";
  }
  SECTION("missing") {
    REQUIRE(evidence.values.Set(10, sha256).ok());
    message = "no value for PCR 10 of bank sha1";
  }
  SECTION("renumbered") {
    REQUIRE(evidence.values.Set(11, sha256).ok());
    REQUIRE(evidence.values.Set(10, sha1).ok());
    message = "no value for PCR 10 of bank sha256";
  }
  SECTION("none at all") { message = "no value for PCR 10 of bank sha256"; }
  const RejectedQuote rejected = Rejected(evidence.Verify());
  CHECK(FailedChecks(rejected) == Checks{kPcrDigest});
  CHECK_THAT(rejected.failures[0].detail, Catch::Contains(message));
  CHECK(rejected.signature_valid);
}

TEST_CASE("PCR digest: two PCRs' values exchanged", "[tpm][quote]") {
  const FakeTpm tpm = MakeFake();
  Evidence evidence = FromFake(tpm, MakeAttest(tpm));
  evidence.values = PcrValues();
  REQUIRE(
      evidence.values.Set(0, *tpm.pcrs.Find(HashAlgorithm::kSha256, 10)).ok());
  REQUIRE(
      evidence.values.Set(10, *tpm.pcrs.Find(HashAlgorithm::kSha256, 0)).ok());
  REQUIRE(
      evidence.values.Set(10, *tpm.pcrs.Find(HashAlgorithm::kSha1, 10)).ok());
  CHECK(Failures(evidence) == Checks{kPcrDigest});
}

TEST_CASE("PCR digest: not the size of the scheme's hash", "[tpm][quote]") {
  const FakeTpm tpm = MakeFake();
  Attest attest = MakeAttest(tpm);
  SECTION("empty") { attest.quote.pcr_digest.clear(); }
  SECTION("a SHA-1 digest") { attest.quote.pcr_digest.resize(20); }
  SECTION("a SHA-384 digest of the same values") {
    attest.quote.pcr_digest = ToVector(
        PcrComposite(HashAlgorithm::kSha384, attest.quote.selection, tpm.pcrs)
            ->bytes());
  }
  const RejectedQuote rejected = Rejected(FromFake(tpm, attest).Verify());
  CHECK(FailedChecks(rejected) == Checks{kPcrDigest});
  CHECK(rejected.failures[0].expected == "32 bytes (sha256)");

  // It is checked without values too.
  const Evidence evidence = FromFake(tpm, attest);
  const auto outcome =
      VerifyQuote(*AttestationKey::FromFile(evidence.ak), evidence.attest,
                  evidence.signature, {.qualifying_data = evidence.nonce});
  REQUIRE_THAT(StatusOf(outcome), IsOk());
  CHECK(FailedChecks(*outcome) == Checks{kPcrDigest});
}

TEST_CASE("signer: an AK outside of the endorsement hierarchy",
          "[tpm][quote]") {
  const FakeTpm tpm = MakeFake();
  Attest attest = MakeAttest(tpm);
  const std::vector<uint8_t> owner = Hex("40000001");
  SECTION("a child of the owner's hierarchy") {
    attest.qualified_signer = *QualifiedName(owner, tpm.ak().Name());
  }
  SECTION("a primary key of the endorsement hierarchy") {
    attest.qualified_signer = *EkQualifiedName(tpm.ak().Name());
  }
  SECTION("the Name for the Qualified Name") {
    attest.qualified_signer = tpm.ak().Name();
  }
  SECTION("nobody") { attest.qualified_signer.clear(); }
  const RejectedQuote rejected = Rejected(FromFake(tpm, attest).Verify());
  CHECK(FailedChecks(rejected) == Checks{kSigner});
  CHECK(rejected.failures[0].found == HexEncode(attest.qualified_signer));
}

TEST_CASE("signer: a child of another EK", "[tpm][quote]") {
  Evidence evidence = GENERATE(&RealRsa, &RealEcc)();
  evidence.ek_name = ParseTpm2bPublic(Vector("quote/ekecc.pub"))->Name();
  CHECK(Failures(evidence) == Checks{kSigner});
}

TEST_CASE("one failed check does not hide the next", "[tpm][quote]") {
  SECTION("wrong nonce and wrong PCR values") {
    Evidence evidence = RealRsa();
    evidence.nonce = Hex("00");
    evidence.values = RealRsaSixteenPcrs().values;
    CHECK(Failures(evidence) == Checks{kNonce, kPcrDigest});
  }
  SECTION("everything at once") {
    const FakeTpm tpm = MakeFake({FakeKeyKind::kRsa2048, AlgId::kRsassa});
    Attest attest = MakeAttest(tpm);
    attest.magic = 0;
    Evidence evidence = FromFake(tpm, attest);
    PublicArea ak = tpm.ak();
    ak.attributes &= ~kAttrRestricted;
    evidence.ak = ak.Serialize();
    evidence.signature = MakeFake({.kind = FakeKeyKind::kRsa2048,
                                   .scheme = AlgId::kRsapss,
                                   .key_index = 1})
                             .Sign(evidence.attest);
    evidence.nonce.clear();
    evidence.selection = *PcrSelection::FromString("sha256:1");
    evidence.values = PcrValues();
    CHECK(Failures(evidence) == Checks{kMagic, kAkAttributes,
                                       kSignatureAlgorithm, kSignature, kNonce,
                                       kSelection, kPcrDigest, kSigner});
  }
  SECTION("an unsigned quote is judged all the same") {
    Evidence evidence = RealEcc();
    evidence.signature.back() ^= 1;
    evidence.nonce.clear();
    const RejectedQuote rejected = Rejected(evidence.Verify());
    CHECK(FailedChecks(rejected) == Checks{kSignature, kNonce});
    CHECK(rejected.reported.clock_info.reset_count == 2);
  }
}

TEST_CASE("malformed quotes and signatures are errors, not findings",
          "[tpm][quote]") {
  const Evidence valid = GENERATE(&RealRsa, &RealEcc)();
  SECTION("every prefix of the quote") {
    for (size_t size = 0; size < valid.attest.size(); ++size) {
      CAPTURE(size);
      Evidence evidence = valid;
      evidence.attest.resize(size);
      CHECK_THAT(StatusOf(evidence.Verify()),
                 StatusIs(absl::StatusCode::kInvalidArgument));
    }
  }
  SECTION("every prefix of the signature") {
    for (size_t size = 0; size < valid.signature.size(); ++size) {
      CAPTURE(size);
      Evidence evidence = valid;
      evidence.signature.resize(size);
      CHECK_THAT(StatusOf(evidence.Verify()),
                 StatusIs(absl::StatusCode::kInvalidArgument, "signature: "));
    }
  }
  SECTION("a trailing byte") {
    Evidence evidence = valid;
    evidence.attest.push_back(0);
    CHECK_THAT(StatusOf(evidence.Verify()),
               StatusIs(absl::StatusCode::kInvalidArgument, "left over"));
    evidence = valid;
    evidence.signature.push_back(0);
    CHECK_THAT(StatusOf(evidence.Verify()),
               StatusIs(absl::StatusCode::kInvalidArgument, "left over"));
  }
}

TEST_CASE("check ids are stable", "[tpm][quote]") {
  CHECK(QuoteCheckId(kMagic) == "quote.magic");
  CHECK(QuoteCheckId(kType) == "quote.type");
  CHECK(QuoteCheckId(kAkAttributes) == "quote.ak_attributes");
  CHECK(QuoteCheckId(kSignatureAlgorithm) == "quote.signature_algorithm");
  CHECK(QuoteCheckId(kSignature) == "quote.signature");
  CHECK(QuoteCheckId(kNonce) == "quote.nonce");
  CHECK(QuoteCheckId(kSelection) == "quote.selection");
  CHECK(QuoteCheckId(kPcrDigest) == "quote.pcr_digest");
  CHECK(QuoteCheckId(kSigner) == "quote.signer");
}

}  // namespace
}  // namespace cupel::tpm
