#include "common/crypto/dsse.h"

#include <openssl/pem.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "tests/support/dsse_signer.h"
#include "tests/support/status_matchers.h"

namespace cupel::crypto {
namespace {

using testing::IsOk;
using testing::kPolicyType;
using testing::Signer;
using testing::StatusIs;

using testing::kDenied;
using testing::kInvalid;

absl::Status ParseStatus(absl::string_view json) {
  return ParseDsseEnvelope(AsBytes(json)).status();
}

TEST_CASE("PAE is what the specification shows") {
  CHECK(AsText(DssePreAuthEncoding("http://example.com/HelloWorld",
                                   AsBytes("hello world"))) ==
        "DSSEv1 29 http://example.com/HelloWorld 11 hello world");
  CHECK(AsText(DssePreAuthEncoding("", {})) == "DSSEv1 0  0 ");
}

TEST_CASE("A signature by the key passes, on every curve") {
  const std::pair<const char*, std::vector<HashAlgorithm>> cases[] = {
      {"P-256", {HashAlgorithm::kSha256}},
      {"P-384", {HashAlgorithm::kSha256, HashAlgorithm::kSha384}},
      {"P-521", {HashAlgorithm::kSha256, HashAlgorithm::kSha512}}};
  for (const auto& [curve, hashes] : cases) {
    const Signer signer(curve);
    for (const HashAlgorithm hash : hashes) {
      INFO(curve);
      CHECK_THAT(VerifyDsse(signer.Envelope("{}", hash), signer.Public()),
                 IsOk());
    }
  }
  const Signer p256("P-256");
  CHECK_THAT(
      VerifyDsse(p256.Envelope("{}", HashAlgorithm::kSha512), p256.Public()),
      StatusIs(kDenied));
}

TEST_CASE("Anything that was changed after signing is noticed") {
  const Signer signer("P-256");
  const PublicKey key = signer.Public();
  const DsseEnvelope good = signer.Envelope("{\"digests\": {}}");
  REQUIRE_THAT(VerifyDsse(good, key), IsOk());
  for (size_t i = 0; i < good.payload.size(); ++i) {
    DsseEnvelope bad = good;
    bad.payload[i] ^= 1;
    CHECK_THAT(VerifyDsse(bad, key), StatusIs(kDenied));
  }
  DsseEnvelope longer = good;
  longer.payload.push_back(' ');
  CHECK_THAT(VerifyDsse(longer, key), StatusIs(kDenied));
  DsseEnvelope other_type = good;
  other_type.payload_type += "x";
  CHECK_THAT(VerifyDsse(other_type, key), StatusIs(kDenied));
  for (size_t i = 0; i < good.signatures[0].signature.size(); ++i) {
    DsseEnvelope bad = good;
    bad.signatures[0].signature[i] ^= 1;
    CHECK_THAT(VerifyDsse(bad, key), StatusIs(kDenied));
  }
  DsseEnvelope none = good;
  none.signatures.clear();
  CHECK_THAT(VerifyDsse(none, key), StatusIs(kDenied));
  DsseEnvelope empty = good;
  empty.signatures[0].signature.clear();
  CHECK_THAT(VerifyDsse(empty, key), StatusIs(kDenied));
}

TEST_CASE("Another key, or a bare signature over the payload, is none") {
  const Signer signer("P-256");
  const DsseEnvelope good = signer.Envelope("{}");
  CHECK_THAT(VerifyDsse(good, Signer("P-256").Public()), StatusIs(kDenied));
  DsseEnvelope bare = good;
  bare.signatures[0].signature =
      signer.Sign(good.payload, HashAlgorithm::kSha256);
  CHECK_THAT(VerifyDsse(bare, signer.Public()), StatusIs(kDenied));
}

TEST_CASE("One valid signature among others is enough, in any place") {
  const Signer signer("P-256");
  DsseEnvelope envelope = Signer("P-384").Envelope("{}");
  CHECK_THAT(VerifyDsse(envelope, signer.Public()), StatusIs(kDenied));
  envelope.signatures.push_back(signer.Envelope("{}").signatures[0]);
  CHECK_THAT(VerifyDsse(envelope, signer.Public()), IsOk());
}

TEST_CASE("RSA keys are refused") {
  const Owned<EVP_PKEY> rsa(EVP_RSA_gen(2048));
  const Owned<BIO> out(BIO_new(BIO_s_mem()));
  REQUIRE(PEM_write_bio_PUBKEY(out.get(), rsa.get()) == 1);
  char* text = nullptr;
  const long size = BIO_get_mem_data(out.get(), &text);
  const auto key = PublicKey::FromPem({text, static_cast<size_t>(size)});
  REQUIRE_THAT(key.status(), IsOk());
  CHECK_THAT(VerifyDsse(Signer("P-256").Envelope("{}"), *key),
             StatusIs(kInvalid, "RSA-2048"));
}

TEST_CASE("An envelope is parsed in full") {
  const Signer signer("P-256");
  const DsseEnvelope envelope = signer.Envelope("{}");
  const std::string json = testing::EnvelopeJson(envelope);
  const auto parsed = ParseDsseEnvelope(AsBytes(json));
  REQUIRE_THAT(parsed.status(), IsOk());
  CHECK(parsed->payload_type == kPolicyType);
  CHECK(AsText(parsed->payload) == "{}");
  REQUIRE(parsed->signatures.size() == 1);
  CHECK(parsed->signatures[0].key_id == "key");
  CHECK(parsed->signatures[0].signature == envelope.signatures[0].signature);
  CHECK_THAT(VerifyDsse(*parsed, signer.Public()), IsOk());

  // Unknown members are ignored, JSON's escapes mean what they mean.
  const std::string other = absl::StrReplaceAll(
      json, {{"{\"payload\"", "{\"x\":[1,{}],\"p\\u0061yload\""},
             {"vnd.keylime", "vnd\\u002ekeylime"},
             {"n/vnd", "n\\/vnd"},
             {"\"keyid\":\"key\"", "\"y\":null"}});
  const auto again = ParseDsseEnvelope(AsBytes(other));
  CHECK_THAT(again.status(), IsOk());
}

TEST_CASE("Every prefix of an envelope is refused, and so is what follows") {
  const std::string json =
      testing::EnvelopeJson(Signer("P-256").Envelope("{}"));
  for (size_t size = 0; size < json.size(); ++size) {
    CHECK_THAT(ParseStatus(json.substr(0, size)), StatusIs(kInvalid));
  }
  for (const char* tail : {"x", "{}", "}", ","}) {
    CHECK_THAT(ParseStatus(json + tail), StatusIs(kInvalid));
  }
  CHECK_THAT(ParseStatus(json + "\n"), IsOk());
}

TEST_CASE("An envelope that lacks something, or has it twice, is refused") {
  const std::string ok = R"({"payload":"e30=","payloadType":"t",)"
                         R"("signatures":[{"keyid":"","sig":"AA=="}]})";
  REQUIRE_THAT(ParseStatus(ok), IsOk());
  struct Case {
    absl::string_view from;
    absl::string_view to;
    absl::string_view message;
  };
  const Case cases[] = {
      {R"("payload":"e30=",)", "", "no \"payload\""},
      {R"("payloadType":"t",)", "", "no \"payloadType\""},
      {R"(,"signatures":[{"keyid":"","sig":"AA=="}])", "", "no signature"},
      {R"({"keyid":"","sig":"AA=="})", "", "no signature"},
      {R"(,"sig":"AA==")", "", "without \"sig\""},
      {R"("sig":"AA==")", R"("sig":1)", "sig: must be a string"},
      {R"("sig":"AA==")", R"("sig":"AA")", "sig: base64"},
      {R"("e30=")", R"("e30")", "payload: base64"},
      {R"("e30=")", R"({})", "payload: must be a string"},
      {R"("t")", R"(null)", "payloadType: must be a string"},
      {R"("keyid":"")", R"("keyid":7)", "keyid: must be a string"},
      {R"([{"keyid":"","sig":"AA=="}])", R"({})", "signatures: must be"},
      {R"({"keyid":"","sig":"AA=="})", R"("AA==")", "signatures: each"},
      {R"("payload":"e30=")", R"("payload":"e30=","payload":"e30=")", "twice"},
      {R"("payloadType":"t")", R"("payloadType":"t","payloadType":"t")",
       "twice"},
      {R"("sig":"AA==")", R"("sig":"AA==","sig":"AA==")", "twice"},
      {R"("keyid":"")", R"("x":[1,)", ""},
      {R"("keyid":"")", R"("x":tru)", "not valid JSON"},
  };
  for (const Case& c : cases) {
    INFO(c.from << " -> " << c.to);
    REQUIRE(absl::StrContains(ok, c.from));
    CHECK_THAT(ParseStatus(absl::StrReplaceAll(ok, {{c.from, c.to}})),
               StatusIs(kInvalid, std::string(c.message)));
  }
  CHECK_THAT(ParseStatus("{\"digests\":{}}"),
             StatusIs(absl::StatusCode::kNotFound));
  CHECK_THAT(ParseStatus("[]"), StatusIs(kInvalid));
}

TEST_CASE("The number of signatures is bounded") {
  DsseEnvelope envelope = Signer("P-256").Envelope("{}");
  envelope.signatures.resize(16, envelope.signatures[0]);
  CHECK_THAT(ParseStatus(testing::EnvelopeJson(envelope)), IsOk());
  envelope.signatures.push_back(envelope.signatures[0]);
  CHECK_THAT(ParseStatus(testing::EnvelopeJson(envelope)),
             StatusIs(kInvalid, "more than 16 signatures"));
}

TEST_CASE("Base64 in both alphabets, each byte string with one spelling") {
  const auto text = [](absl::string_view base64) {
    const auto bytes = DecodeBase64(base64);
    REQUIRE_THAT(bytes.status(), IsOk());
    return std::string(AsText(*bytes));
  };
  CHECK(text("").empty());
  CHECK(text("Zg==") == "f");
  CHECK(text("Zm8=") == "fo");
  CHECK(text("Zm9v") == "foo");
  CHECK(text("Zm9vYmFy") == "foobar");
  CHECK(text("+/+/") == "\xfb\xff\xbf");
  CHECK(text("-_-_") == "\xfb\xff\xbf");
  for (const char* bad : {"Z", "Zg", "Zg=", "Zg===", "=",
                          "==", "====", "Z===", "Zh==", "Zm9=", "Zm9v\n",
                          " Zm9", "Zm 9v===", "Zg==Zg==", "+_+_",
                          "Zm9v====", "Zm9\xff", "Z=9v", "!!!!"}) {
    INFO(bad);
    CHECK_THAT(DecodeBase64(bad).status(), StatusIs(kInvalid, "base64"));
  }
  for (int size = 0; size < 50; ++size) {
    const std::vector<uint8_t> bytes(static_cast<size_t>(size), 0xf3);
    const auto back = DecodeBase64(EncodeBase64(bytes));
    REQUIRE_THAT(back.status(), IsOk());
    CHECK(*back == bytes);
  }
}

}  // namespace
}  // namespace cupel::crypto
