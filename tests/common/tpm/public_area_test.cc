#include "common/tpm/public_area.h"

#include <string>
#include <vector>

#include "catch2/catch.hpp"
#include "tests/common/tpm/vectors.h"
#include "tests/support/fake_tpm.h"
#include "tests/support/status_matchers.h"

namespace cupel::tpm {
namespace {

using crypto::HashAlgorithm;
using ::cupel::testing::FakeKeyKind;
using ::cupel::testing::FakeTpm;
using ::cupel::testing::IsOk;
using ::cupel::testing::StatusIs;
using ::cupel::testing::StatusOf;
using enum absl::StatusCode;

std::string Pem(const PublicArea& area) {
  const auto key = area.ToPublicKey();
  REQUIRE_THAT(StatusOf(key), IsOk());
  return key->ToPem().value();
}

// Offsets in a TPMT_PUBLIC without a policy.
constexpr size_t kNameAlgAt = 2;
constexpr size_t kAttributesAt = 4;
constexpr size_t kPolicySizeAt = 8;
constexpr size_t kSymmetricAt = 10;
constexpr size_t kSchemeAt = 12;
constexpr size_t kSchemeHashAt = 14;
constexpr size_t kKeyBitsAt = 16;      // RSA
constexpr size_t kModulusSizeAt = 22;  // RSA
constexpr size_t kCurveAt = 16;        // ECC
constexpr size_t kKdfAt = 18;          // ECC
constexpr size_t kXSizeAt = 20;        // ECC

std::vector<uint8_t> WithU16(std::vector<uint8_t> bytes, size_t at,
                             uint16_t value) {
  bytes.at(at) = static_cast<uint8_t>(value >> 8);
  bytes.at(at + 1) = static_cast<uint8_t>(value);
  return bytes;
}

TEST_CASE("a real RSA attestation key is read", "[tpm][public]") {
  const auto area = ParsePublicArea(Vector("quote/ak.pub"));
  REQUIRE_THAT(StatusOf(area), IsOk());
  CHECK(area->type == AlgId::kRsa);
  CHECK(area->name_algorithm == HashAlgorithm::kSha256);
  CHECK(area->attributes == 0x50072);
  CHECK(area->auth_policy.empty());
  CHECK(area->symmetric == SymmetricDefinition());
  CHECK(area->scheme == KeyScheme{AlgId::kRsassa, HashAlgorithm::kSha256});
  CHECK(area->key_bits == 2048);
  CHECK(area->exponent == 0);
  CHECK(area->modulus.size() == 256);
  CHECK(Pem(*area) == VectorText("quote/ak.pem"));
  CHECK(HexEncode(area->Name()) ==
        "000b58ed06685dfb615105fbd07199a3170b37aaba554b37578ea0990aec10609b39");
  CHECK(ValidateAkAttributes(*area).empty());
}

TEST_CASE("a real ECC attestation key is read", "[tpm][public]") {
  const auto area = ParsePublicArea(Vector("quote/akecc.pub"));
  REQUIRE_THAT(StatusOf(area), IsOk());
  CHECK(area->type == AlgId::kEcc);
  CHECK(area->curve == crypto::EcCurve::kP256);
  CHECK(area->scheme == KeyScheme{AlgId::kEcdsa, HashAlgorithm::kSha256});
  CHECK(area->kdf == KeyScheme());
  CHECK(Pem(*area) == VectorText("quote/akecc.pem"));
  CHECK(area->Name() == Vector("quote/akecc.name"));
  CHECK(ValidateAkAttributes(*area).empty());
}

TEST_CASE("a real endorsement key is read, and is no attestation key",
          "[tpm][public]") {
  const auto area = ParseTpm2bPublic(Vector("quote/ek.pub"));
  REQUIRE_THAT(StatusOf(area), IsOk());
  CHECK(area->auth_policy.size() == 32);
  CHECK(area->symmetric == SymmetricDefinition{AlgId::kAes, 128, AlgId::kCfb});
  CHECK(area->scheme == KeyScheme());
  CHECK(Pem(*area) == VectorText("quote/ek.pem"));
  CHECK(HexEncode(area->Name()) ==
        "000bbceb6eda419fed0943c50c886fb7293d242a6e6a0d3f5c6085ff93fe01c38956");

  std::vector<AkRequirement> violated;
  for (const AkViolation& violation : ValidateAkAttributes(*area)) {
    violated.push_back(violation.requirement);
  }
  CHECK(violated == std::vector<AkRequirement>{AkRequirement::kSign,
                                               AkRequirement::kNotDecrypt,
                                               AkRequirement::kScheme});
}

TEST_CASE("a public area serializes to the same bytes", "[tpm][public]") {
  const auto file =
      GENERATE(values<const char*>({"quote/ak.pub", "quote/akecc.pub"}));
  const std::vector<uint8_t> bytes = Vector(file);
  CHECK(ParsePublicArea(bytes)->Serialize() == bytes);
  const auto sized = GENERATE(values<const char*>(
      {"quote/ek.pub", "quote/ekecc.pub", "clock_quotes/ak.tpm2b_public"}));
  const std::vector<uint8_t> tpm2b = Vector(sized);
  CHECK(Concat({tpm2b[0], tpm2b[1]}, ParseTpm2bPublic(tpm2b)->Serialize()) ==
        tpm2b);
}

TEST_CASE("qualified names follow the path from the hierarchy",
          "[tpm][public]") {
  // As tpm2_readpublic showed them on the TPM that made the vectors.
  const std::vector<uint8_t> ek =
      ParseTpm2bPublic(Vector("quote/ek.pub"))->Name();
  const auto ek_qualified = EkQualifiedName(ek);
  REQUIRE_THAT(StatusOf(ek_qualified), IsOk());
  CHECK(HexEncode(*ek_qualified) ==
        "000b3367dbac75073bafdb77765fc2c84b0a8f92e3f6eadaee5aa30b8e99ae73ec38");
  const auto ak_qualified = QualifiedName(
      *ek_qualified, ParsePublicArea(Vector("quote/ak.pub"))->Name());
  REQUIRE_THAT(StatusOf(ak_qualified), IsOk());
  CHECK(HexEncode(*ak_qualified) ==
        "000b20372ee7d110a595872c9b9b73812792b0cae6ebdd13e846b96425c27e364e30");
}

TEST_CASE("a qualified name uses the object's own name algorithm",
          "[tpm][public]") {
  // An EK of SHA-384, as swtpm_setup made it, with its Qualified Name.
  const std::vector<uint8_t> name = Hex(
      "000c69d9bcaad969da00cf51eec19572bc68ac17c4a59577766f72de0af0f2cbf590191d"
      "21617d0ca923c1335aa4fd67d92f");
  CHECK(HexEncode(*EkQualifiedName(name)) ==
        "000cc8cd235227749e8d537030978a8f3af236ccc068102b2fcfb10eac47508748b495"
        "da714857ce336488206659b7aff702");
}

TEST_CASE("what is no name has no qualified name", "[tpm][public]") {
  const auto hex = GENERATE(values<const char*>(
      {"", "00", "000b", "000b00", "4000000b", "0001aabb",
       // SM3 can't be computed here.
       "00120000000000000000000000000000000000000000000000000000000000000000",
       // One byte short, one too long.
       "000b000000000000000000000000000000000000000000000000000000000000"
       "00",
       "000b000000000000000000000000000000000000000000000000000000000000"
       "000000"}));
  CAPTURE(hex);
  CHECK_THAT(StatusOf(EkQualifiedName(Hex(hex))), StatusIs(kInvalidArgument));
}

TEST_CASE("every prefix of a public area and a trailing byte are refused",
          "[tpm][public]") {
  const auto file =
      GENERATE(values<const char*>({"quote/ak.pub", "quote/akecc.pub"}));
  const std::vector<uint8_t> bytes = Vector(file);
  for (size_t size = 0; size < bytes.size(); ++size) {
    CAPTURE(file, size);
    CHECK_THAT(StatusOf(ParsePublicArea(std::span(bytes).first(size))),
               StatusIs(kInvalidArgument));
    CHECK_THAT(StatusOf(ParsePublicFile(std::span(bytes).first(size))),
               StatusIs(kInvalidArgument));
  }
  CHECK_THAT(StatusOf(ParsePublicArea(Concat(bytes, {0}))),
             StatusIs(kInvalidArgument, "1 bytes left over"));
}

TEST_CASE("malformed RSA areas are refused with the field's name",
          "[tpm][public]") {
  struct Case {
    size_t at;
    uint16_t value;
    absl::StatusCode code;
    const char* message;
  };
  const auto c = GENERATE(values<Case>({
      {0, 0x0008, kUnimplemented, "type keyedhash"},
      {0, 0x0025, kUnimplemented, "type symcipher"},
      {0, 0x0024, kUnimplemented, "type algorithm 0x0024"},
      {kNameAlgAt, 0x0010, kInvalidArgument, "null is no known hash"},
      {kNameAlgAt, 0x0012, kUnimplemented, "nameAlg sm3_256"},
      {kAttributesAt, 0x1005, kInvalidArgument, "reserved bits"},
      {kAttributesAt + 2, 0x0073, kInvalidArgument, "reserved bits"},
      {kPolicySizeAt, 1, kInvalidArgument, "authPolicy of 1 bytes"},
      {kPolicySizeAt, 20, kInvalidArgument, "authPolicy of 20 bytes"},
      {kPolicySizeAt, 65, kResourceExhausted, "authPolicy: 65 bytes"},
      {kSymmetricAt, 0x000a, kUnimplemented, "symmetric algorithm"},
      {kSchemeAt, 0x0018, kUnimplemented, "scheme: ecdsa"},
      {kSchemeHashAt, 0x0001, kInvalidArgument, "scheme: rsa is no known hash"},
      {kKeyBitsAt, 1024, kInvalidArgument, "modulus of 256 bytes"},
      {kKeyBitsAt, 2049, kInvalidArgument, "modulus of 256 bytes"},
      {kModulusSizeAt, 255, kInvalidArgument, "modulus of 255 bytes"},
      {kModulusSizeAt, 0, kInvalidArgument, "modulus of 0 bytes"},
      {kModulusSizeAt, 257, kInvalidArgument, "unique"},
      {kModulusSizeAt, 513, kResourceExhausted, "unique: 513 bytes"},
  }));
  CAPTURE(c.at, c.value);
  CHECK_THAT(
      StatusOf(ParsePublicArea(WithU16(Vector("quote/ak.pub"), c.at, c.value))),
      StatusIs(c.code, c.message));
}

TEST_CASE("malformed ECC areas are refused with the field's name",
          "[tpm][public]") {
  struct Case {
    size_t at;
    uint16_t value;
    absl::StatusCode code;
    const char* message;
  };
  const auto c = GENERATE(values<Case>({
      {kSchemeAt, 0x0014, kUnimplemented, "scheme: rsassa"},
      {kSchemeAt, 0x001a, kUnimplemented, "scheme: ecdaa"},
      {kCurveAt, 0x0005, kUnimplemented, "curve 0x5"},
      {kCurveAt, 0x0020, kUnimplemented, "curve 0x20"},
      {kKdfAt, 0x000b, kUnimplemented, "kdf: sha256"},
      {kXSizeAt, 33, kResourceExhausted, "x: 33 bytes"},
      {kXSizeAt, 0, kResourceExhausted, "y: "},
      {kXSizeAt, 31, kResourceExhausted, "y: "},
  }));
  CAPTURE(c.at, c.value);
  CHECK_THAT(StatusOf(ParsePublicArea(
                 WithU16(Vector("quote/akecc.pub"), c.at, c.value))),
             StatusIs(c.code, c.message));
}

TEST_CASE("empty coordinates are refused", "[tpm][public]") {
  PublicArea area = *ParsePublicArea(Vector("quote/akecc.pub"));
  (GENERATE(true, false) ? area.x : area.y).clear();
  CHECK_THAT(StatusOf(ParsePublicArea(area.Serialize())),
             StatusIs(kInvalidArgument, "empty coordinate"));
}

TEST_CASE("a point off the curve and a short RSA key are no keys",
          "[tpm][public]") {
  PublicArea ecc = *ParsePublicArea(Vector("quote/akecc.pub"));
  ecc.y[31] ^= 1;
  CHECK_THAT(StatusOf(ecc.ToPublicKey()), StatusIs(kInvalidArgument));
  PublicArea rsa = *ParsePublicArea(Vector("quote/ak.pub"));
  rsa.key_bits = 1024;
  rsa.modulus.resize(128);
  CHECK_THAT(StatusOf(rsa.ToPublicKey()), StatusIs(kInvalidArgument));
}

TEST_CASE("a coordinate without its leading zeros is the same key",
          "[tpm][public]") {
  // Some TPMs leave them out; the Name is over what the TPM has.
  PublicArea area = *ParsePublicArea(Vector("quote/akecc.pub"));
  PublicArea longer = area;
  longer.x.insert(longer.x.begin(), 0);
  CHECK_THAT(StatusOf(ParsePublicArea(longer.Serialize())),
             StatusIs(kResourceExhausted, "x: 33 bytes"));
  // A short one parses, keeps its bytes, and is another point.
  area.x.erase(area.x.begin());
  const auto parsed = ParsePublicArea(area.Serialize());
  REQUIRE_THAT(StatusOf(parsed), IsOk());
  CHECK(parsed->x.size() == 31);
  CHECK_FALSE(parsed->Name() == Vector("quote/akecc.name"));
}

TEST_CASE("every optional part round-trips", "[tpm][public]") {
  PublicArea area = *ParsePublicArea(Vector("quote/akecc.pub"));
  area.kdf = {AlgId::kKdf1Sp800_56a, HashAlgorithm::kSha384};
  area.symmetric = {AlgId::kAes, 256, AlgId::kCfb};
  area.auth_policy.assign(32, 7);
  area.scheme = {AlgId::kEcdh, HashAlgorithm::kSha512};
  CHECK(*ParsePublicArea(area.Serialize()) == area);
  PublicArea rsa = *ParsePublicArea(Vector("quote/ak.pub"));
  rsa.exponent = 65537;
  rsa.scheme = {AlgId::kRsaes, std::nullopt};
  rsa.name_algorithm = HashAlgorithm::kSha512;
  CHECK(*ParsePublicArea(rsa.Serialize()) == rsa);
  CHECK(rsa.Name().size() == 66);
}

TEST_CASE("a file may hold either form", "[tpm][public]") {
  const auto plain = ParsePublicFile(Vector("quote/ak.pub"));
  const auto sized = ParsePublicFile(Vector("quote/ak.tpm2b_public"));
  REQUIRE_THAT(StatusOf(plain), IsOk());
  REQUIRE_THAT(StatusOf(sized), IsOk());
  CHECK(*plain == *sized);
  CHECK_THAT(StatusOf(ParsePublicFile(Vector("quote/ekecc.pub"))), IsOk());

  SECTION("the size must be exact") {
    const std::vector<uint8_t> bytes = Vector("quote/ak.tpm2b_public");
    CHECK_THAT(StatusOf(ParsePublicFile(Concat(bytes, {0}))),
               StatusIs(kInvalidArgument, "TPM2B_PUBLIC: 1 bytes left over"));
    CHECK_THAT(StatusOf(ParsePublicFile(WithU16(bytes, 0, 0x117))),
               StatusIs(kInvalidArgument, "left over"));
    CHECK_THAT(StatusOf(ParsePublicFile(WithU16(bytes, 0, 0x119))),
               StatusIs(kInvalidArgument, "TPM2B_PUBLIC"));
  }
  SECTION("a size that looks like a type does not confuse it") {
    // 35 bytes behind a size of 0x0023, which is also TPM_ALG_ECC.
    std::vector<uint8_t> bytes = Hex("0023002300");
    bytes.resize(37);
    CHECK_THAT(StatusOf(ParsePublicFile(bytes)),
               StatusIs(kInvalidArgument, "nameAlg"));
  }
}

TEST_CASE("each requirement of an attestation key is checked",
          "[tpm][public]") {
  struct Case {
    const char* description;
    void (*change)(PublicArea&);
    AkRequirement requirement;
    const char* detail;
  };
  using R = AkRequirement;
  const auto c = GENERATE(values<Case>({
      {"unrestricted", [](PublicArea& a) { a.attributes &= ~kAttrRestricted; },
       R::kRestricted, "restricted is clear"},
      {"does not sign", [](PublicArea& a) { a.attributes &= ~kAttrSign; },
       R::kSign, "sign is clear"},
      {"decrypts", [](PublicArea& a) { a.attributes |= kAttrDecrypt; },
       R::kNotDecrypt, "decrypt is set"},
      {"not fixed to the TPM",
       [](PublicArea& a) { a.attributes &= ~kAttrFixedTpm; }, R::kFixedTpm,
       "fixedTPM is clear"},
      {"not fixed to its parent",
       [](PublicArea& a) { a.attributes &= ~kAttrFixedParent; },
       R::kFixedParent, "fixedParent is clear"},
      {"imported",
       [](PublicArea& a) { a.attributes &= ~kAttrSensitiveDataOrigin; },
       R::kSensitiveDataOrigin, "sensitiveDataOrigin is clear"},
      {"no fixed scheme", [](PublicArea& a) { a.scheme = KeyScheme(); },
       R::kScheme, "scheme null"},
      {"scheme SHA-1",
       [](PublicArea& a) { a.scheme.hash = HashAlgorithm::kSha1; },
       R::kSchemeHash, "scheme hash sha1"},
      {"scheme SM3",
       [](PublicArea& a) { a.scheme.hash = HashAlgorithm::kSm3_256; },
       R::kSchemeHash, "scheme hash sm3_256"},
      {"named by SHA-1",
       [](PublicArea& a) { a.name_algorithm = HashAlgorithm::kSha1; },
       R::kNameAlgorithm, "name algorithm sha1"},
  }));
  CAPTURE(c.description);
  const auto kind = GENERATE(FakeKeyKind::kRsa2048, FakeKeyKind::kEcP384);
  PublicArea area =
      FakeTpm({.kind = kind,
               .scheme = kind == FakeKeyKind::kRsa2048 ? AlgId::kRsapss
                                                       : AlgId::kEcdsa,
               .hash = HashAlgorithm::kSha384})
          .ak();
  REQUIRE(ValidateAkAttributes(area).empty());
  c.change(area);
  const std::vector<AkViolation> violations = ValidateAkAttributes(area);
  REQUIRE(violations.size() == 1);
  CHECK(violations[0].requirement == c.requirement);
  CHECK_THAT(violations[0].detail, Catch::Contains(c.detail));
}

TEST_CASE("short RSA keys and schemes of the wrong kind are violations",
          "[tpm][public]") {
  PublicArea area = *ParsePublicArea(Vector("quote/ak.pub"));
  area.key_bits = 1024;
  REQUIRE(ValidateAkAttributes(area).size() == 1);
  CHECK(ValidateAkAttributes(area)[0].requirement == AkRequirement::kKeySize);
  area.key_bits = 2048;
  area.scheme.scheme = AlgId::kOaep;
  CHECK(ValidateAkAttributes(area)[0].requirement == AkRequirement::kScheme);
  PublicArea ecc = *ParsePublicArea(Vector("quote/akecc.pub"));
  ecc.scheme.scheme = AlgId::kEcschnorr;
  CHECK(ValidateAkAttributes(ecc)[0].requirement == AkRequirement::kScheme);
}

TEST_CASE("all violations are told, not the first", "[tpm][public]") {
  PublicArea area = *ParsePublicArea(Vector("quote/ak.pub"));
  area.attributes = kAttrDecrypt;
  area.scheme = {AlgId::kRsassa, HashAlgorithm::kSha1};
  area.name_algorithm = HashAlgorithm::kSha1;
  area.key_bits = 1024;
  CHECK(ValidateAkAttributes(area).size() == 9);
}

}  // namespace
}  // namespace cupel::tpm
