// What this module does without a TPM, against what a TPM does.

#include "tests/support/swtpm.h"

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "common/tpm/ek_template.h"
#include "common/tpm/make_credential.h"
#include "common/tpm/pcr_file.h"
#include "common/tpm/quote.h"
#include "common/util/bytes.h"
#include "tests/common/tpm/vectors.h"
#include "tests/support/status_matchers.h"

namespace cupel::tpm {
namespace {

using ::cupel::testing::IsOk;
using ::cupel::testing::StatusOf;
using ::cupel::testing::SwTpm;

std::unique_ptr<SwTpm> StartTpm(const std::vector<std::string>& options = {}) {
  SwTpm::SkipUnlessAvailable();
  auto tpm = SwTpm::Start(options);
  REQUIRE_THAT(StatusOf(tpm), IsOk());
  return *std::move(tpm);
}

std::string Run(SwTpm& tpm, const std::vector<std::string>& arguments) {
  const auto output = tpm.Run(arguments);
  REQUIRE_THAT(StatusOf(output), IsOk());
  return *output;
}

std::vector<uint8_t> Read(const SwTpm& tpm, const std::string& name) {
  const auto content = tpm.Read(name);
  REQUIRE_THAT(StatusOf(content), IsOk());
  return *content;
}

PublicArea ReadPublic(const SwTpm& tpm, const std::string& name) {
  const auto area = ParsePublicFile(Read(tpm, name));
  REQUIRE_THAT(StatusOf(area), IsOk());
  return *area;
}

PublicArea PersistentKey(SwTpm& tpm, const std::string& handle) {
  Run(tpm, {"tpm2_readpublic", "-c", handle, "-f", "tss", "-o", "key.pub"});
  return ReadPublic(tpm, "key.pub");
}

PublicArea CreateEk(SwTpm& tpm, const std::string& algorithm) {
  Run(tpm, {"tpm2_createek", "-c", "ek.ctx", "-G", algorithm, "-u", "ek.pub"});
  return ReadPublic(tpm, "ek.pub");
}

TEST_CASE("a software TPM's quotes are verified", "[tpm][swtpm]") {
  struct Case {
    const char* ek;
    const char* algorithm;
    const char* scheme;
    const char* hash;
    const char* format;
  };
  const auto tpm = StartTpm();
  Run(*tpm, {"tpm2_pcrextend", absl::StrCat("10:sha1=", std::string(40, '1'),
                                            ",sha256=", std::string(64, '2'))});
  const std::vector<uint8_t> nonce = Hex("00ff112233445566778899aabbccddeeff");
  const PcrSelection selection =
      *PcrSelection::FromString("sha256:0,1,2,3,4,5,6,7,8,9,10+sha1:10");
  for (const Case& c : {Case{"rsa", "rsa", "rsassa", "sha256", "values"},
                        Case{"rsa", "rsa", "rsapss", "sha256", "serialized"},
                        Case{"rsa", "ecc", "ecdsa", "sha384", "values"},
                        Case{"ecc", "ecc", "ecdsa", "sha256", "serialized"},
                        Case{"ecc", "rsa", "rsassa", "sha512", "values"}}) {
    CAPTURE(c.ek, c.algorithm, c.scheme, c.hash);
    const PublicArea ek = CreateEk(*tpm, c.ek);
    Run(*tpm, {"tpm2_createak", "-C", "ek.ctx", "-c", "ak.ctx", "-G",
               c.algorithm, "-g", c.hash, "-s", c.scheme, "-u", "ak.pub", "-f",
               "tss", "-n", "ak.name"});
    const std::string output =
        Run(*tpm, {"tpm2_quote", "-c", "ak.ctx", "-l", selection.ToString(),
                   "-q", HexEncode(nonce), "-g", c.hash, "--scheme", c.scheme,
                   "-m", "quote.msg", "-s", "quote.sig", "-o", "quote.pcrs",
                   "-F", c.format});

    const auto key = AttestationKey::FromFile(Read(*tpm, "ak.pub"));
    REQUIRE_THAT(StatusOf(key), IsOk());
    CHECK(key->name() == Read(*tpm, "ak.name"));
    CHECK(key->violations().empty());
    const std::vector<uint8_t> attest = Read(*tpm, "quote.msg");
    const auto parsed = ParseAttest(attest);
    REQUIRE_THAT(StatusOf(parsed), IsOk());
    CHECK(SerializeAttest(*parsed) == attest);
    const auto values =
        ParsePcrFile(Read(*tpm, "quote.pcrs"), &parsed->quote.selection);
    REQUIRE_THAT(StatusOf(values), IsOk());
    // What the tool printed is the same values.
    const auto printed = ParsePcrFile(AsBytes(output));
    REQUIRE_THAT(StatusOf(printed), IsOk());
    CHECK(printed->values == values->values);

    const std::vector<uint8_t> ek_name = ek.Name();
    QuoteExpectation expectation{.qualifying_data = nonce,
                                 .selection = &selection,
                                 .values = &values->values,
                                 .ek_name = ek_name};
    const auto outcome =
        VerifyQuote(*key, attest, Read(*tpm, "quote.sig"), expectation);
    REQUIRE_THAT(StatusOf(outcome), IsOk());
    REQUIRE(std::holds_alternative<VerifiedQuote>(*outcome));
    CHECK(std::get<VerifiedQuote>(*outcome).unchecked().empty());

    const PublicArea other = PersistentKey(*tpm, "0x81010016");
    const std::vector<uint8_t> other_name = other.Name();
    expectation.ek_name = other_name;
    const auto foreign =
        VerifyQuote(*key, attest, Read(*tpm, "quote.sig"), expectation);
    REQUIRE_THAT(StatusOf(foreign), IsOk());
    REQUIRE(std::holds_alternative<RejectedQuote>(*foreign));
    CHECK(std::get<RejectedQuote>(*foreign).failures[0].check ==
          QuoteCheck::kSigner);
  }
}

TEST_CASE("a software TPM that has no such bank quotes nothing",
          "[tpm][swtpm]") {
  const auto tpm = StartTpm();
  CreateEk(*tpm, "rsa");
  Run(*tpm, {"tpm2_createak", "-C", "ek.ctx", "-c", "ak.ctx", "-G", "ecc", "-g",
             "sha256", "-s", "ecdsa", "-u", "ak.pub", "-f", "tpmt"});
  Run(*tpm, {"tpm2_quote", "-c", "ak.ctx", "-l", "sha512:10", "-q", "aa", "-m",
             "quote.msg", "-s", "quote.sig"});
  const auto key = AttestationKey::FromFile(Read(*tpm, "ak.pub"));
  REQUIRE_THAT(StatusOf(key), IsOk());
  const std::vector<uint8_t> nonce = Hex("aa");
  const PcrSelection asked = *PcrSelection::FromString("sha512:10");
  const auto outcome =
      VerifyQuote(*key, Read(*tpm, "quote.msg"), Read(*tpm, "quote.sig"),
                  {.qualifying_data = nonce, .selection = &asked});
  REQUIRE_THAT(StatusOf(outcome), IsOk());
  REQUIRE(std::holds_alternative<RejectedQuote>(*outcome));
  const auto& rejected = std::get<RejectedQuote>(*outcome);
  REQUIRE(rejected.failures.size() == 1);
  CHECK(rejected.failures[0].check == QuoteCheck::kSelection);
  CHECK(rejected.signature_valid);
}

// Has the TPM recover what MakeCredential wrapped for `ek`.
void CheckActivation(SwTpm& tpm, const PublicArea& ek,
                     const std::vector<std::string>& ek_arguments,
                     bool ek_has_policy_a) {
  const std::vector<uint8_t> name = Read(tpm, "ak.name");
  const std::vector<uint8_t> secret =
      Hex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
  const auto credential = MakeCredential(ek, name, Secret(secret));
  REQUIRE_THAT(StatusOf(credential), IsOk());
  REQUIRE_THAT(tpm.Write("cred", SerializeCredentialFile(*credential)), IsOk());

  std::vector<std::string> activate = {"tpm2_activatecredential",
                                       "-c",
                                       "ak.ctx",
                                       "-i",
                                       "cred",
                                       "-o",
                                       "recovered"};
  activate.insert(activate.end(), ek_arguments.begin(), ek_arguments.end());
  if (ek_has_policy_a) {
    REQUIRE_THAT(
        StatusOf(tpm.RunWithoutFlush(
            {"tpm2_startauthsession", "--policy-session", "-S", "session"})),
        IsOk());
    REQUIRE_THAT(StatusOf(tpm.RunWithoutFlush(
                     {"tpm2_policysecret", "-S", "session", "-c", "e"})),
                 IsOk());
    activate.insert(activate.end(), {"-P", "session:session"});
  }
  REQUIRE_THAT(StatusOf(tpm.Run(activate)), IsOk());
  CHECK(Read(tpm, "recovered") == secret);
}

TEST_CASE("a software TPM activates our credentials", "[tpm][swtpm]") {
  const auto tpm = StartTpm();
  PublicArea ek = CreateEk(*tpm, "rsa");
  Run(*tpm,
      {"tpm2_createak", "-C", "ek.ctx", "-c", "ak.ctx", "-G", "ecc", "-g",
       "sha256", "-s", "ecdsa", "-u", "ak.pub", "-f", "tss", "-n", "ak.name"});
  CheckActivation(*tpm, ek, {"-C", "ek.ctx"}, true);
  ek = CreateEk(*tpm, "ecc");
  CheckActivation(*tpm, ek, {"-C", "ek.ctx"}, true);
  // P-384, SHA-384, AES-256.
  ek = PersistentKey(*tpm, "0x81010016");
  CHECK(ek.curve == crypto::EcCurve::kP384);
  CheckActivation(*tpm, ek, {"-C", "0x81010016"}, false);
}

TEST_CASE("the EK templates give a software TPM's endorsement keys",
          "[tpm][swtpm]") {
  const auto rebuild = [](EkTemplate id, const PublicArea& real) {
    const auto key = real.ToPublicKey();
    REQUIRE_THAT(StatusOf(key), IsOk());
    const auto area = EkPublicArea(id, *key);
    REQUIRE_THAT(StatusOf(area), IsOk());
    return *area;
  };
  const auto tpm = StartTpm();
  PublicArea real = CreateEk(*tpm, "rsa");
  CHECK(rebuild(EkTemplate::kL1, real) == real);
  // The persistent one is the same key, made from the same template.
  CHECK(PersistentKey(*tpm, "0x81010001") == real);
  real = CreateEk(*tpm, "ecc");
  CHECK(rebuild(EkTemplate::kL2, real) == real);
  real = PersistentKey(*tpm, "0x81010016");
  CHECK(rebuild(EkTemplate::kH3, real) == real);
  CHECK(rebuild(EkTemplate::kH3, real).Name() == real.Name());
}

TEST_CASE("the RSA-3072 template gives a software TPM's endorsement key",
          "[tpm][swtpm]") {
  const auto tpm = StartTpm({"--rsa-keysize", "3072"});
  const PublicArea real = PersistentKey(*tpm, "0x8101001c");
  REQUIRE(real.key_bits == 3072);
  CHECK(*EkPublicArea(EkTemplate::kH6, *real.ToPublicKey()) == real);
  // Its seed and cipher are of another size than RSA-2048's.
  CreateEk(*tpm, "rsa");
  Run(*tpm,
      {"tpm2_createak", "-C", "ek.ctx", "-c", "ak.ctx", "-G", "ecc", "-g",
       "sha256", "-s", "ecdsa", "-u", "ak.pub", "-f", "tss", "-n", "ak.name"});
  CheckActivation(*tpm, real, {"-C", "0x8101001c"}, false);
}

}  // namespace
}  // namespace cupel::tpm
