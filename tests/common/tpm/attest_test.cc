#include "common/tpm/attest.h"

#include <string>
#include <vector>

#include "catch2/catch.hpp"
#include "tests/common/tpm/vectors.h"
#include "tests/support/status_matchers.h"

namespace cupel::tpm {
namespace {

using ::cupel::testing::IsOk;
using ::cupel::testing::StatusIs;
using ::cupel::testing::StatusOf;
using enum absl::StatusCode;

// Offsets in q10.msg: a signer of 34 bytes, extraData of 20.
constexpr size_t kTypeAt = 4;
constexpr size_t kSignerSizeAt = 6;
constexpr size_t kExtraSizeAt = 42;
constexpr size_t kSafeAt = 80;
constexpr size_t kDigestSizeAt = 105;

std::vector<uint8_t> WithU16(std::vector<uint8_t> bytes, size_t at,
                             uint16_t value) {
  bytes.at(at) = static_cast<uint8_t>(value >> 8);
  bytes.at(at + 1) = static_cast<uint8_t>(value);
  return bytes;
}

TEST_CASE("every field of a real quote is read", "[tpm][attest]") {
  const auto attest = ParseAttest(Vector("quote/q10.msg"));
  REQUIRE_THAT(StatusOf(attest), IsOk());
  CHECK(attest->magic == kGeneratedValue);
  CHECK(attest->type == StructureTag::kAttestQuote);
  CHECK(HexEncode(attest->qualified_signer) ==
        "000b20372ee7d110a595872c9b9b73812792b0cae6ebdd13e846b96425c27e364e30");
  CHECK(attest->extra_data == Vector("quote/nonce"));
  CHECK(attest->clock_info == ClockInfo{0x24f9, 2, 0, true});
  CHECK(attest->firmware_version == 0x2019102300163636);
  CHECK(attest->quote.selection.ToString() == "sha256:10+sha1:10");
  CHECK(HexEncode(attest->quote.pcr_digest) ==
        "b10f254999beb07c81f53791989db2d80b71da89f6e5073f3d6941b4a1903f36");
}

TEST_CASE("what was parsed serializes to the same bytes", "[tpm][attest]") {
  const auto file = GENERATE(
      values<const char*>({"quote/q10.msg", "quote/qall.msg", "quote/qecc.msg",
                           "quote/banks.msg", "clock_quotes/1-after-S3.attest",
                           "clock_quotes/5-unclean-safe0-boot.attest"}));
  CAPTURE(file);
  const std::vector<uint8_t> bytes = Vector(file);
  const auto attest = ParseAttest(bytes);
  REQUIRE_THAT(StatusOf(attest), IsOk());
  CHECK(SerializeAttest(*attest) == bytes);
}

TEST_CASE("safe is read as it is", "[tpm][attest]") {
  CHECK(ParseAttest(Vector("clock_quotes/1-boot1.attest"))->clock_info.safe);
  CHECK_FALSE(ParseAttest(Vector("clock_quotes/5-unclean-safe0-boot.attest"))
                  ->clock_info.safe);
}

TEST_CASE("every prefix of a quote is refused", "[tpm][attest]") {
  const std::vector<uint8_t> bytes = Vector("quote/q10.msg");
  for (size_t size = 0; size < bytes.size(); ++size) {
    CAPTURE(size);
    CHECK_THAT(StatusOf(ParseAttest(std::span(bytes).first(size))),
               StatusIs(kInvalidArgument));
  }
}

TEST_CASE("malformed structures are refused with the field's name",
          "[tpm][attest]") {
  const std::vector<uint8_t> valid = Vector("quote/q10.msg");
  REQUIRE_THAT(StatusOf(ParseAttest(valid)), IsOk());

  SECTION("magic") {
    std::vector<uint8_t> bytes = valid;
    bytes[3] = 0x48;
    CHECK_THAT(StatusOf(ParseAttest(bytes)),
               StatusIs(kInvalidArgument, "magic 0xff544348"));
  }
  SECTION("trailing byte") {
    CHECK_THAT(StatusOf(ParseAttest(Concat(valid, {0}))),
               StatusIs(kInvalidArgument, "attest: 1 bytes left over"));
  }
  SECTION("safe neither 0 nor 1") {
    std::vector<uint8_t> bytes = valid;
    REQUIRE(bytes[kSafeAt] == 1);
    bytes[kSafeAt] = 2;
    CHECK_THAT(StatusOf(ParseAttest(bytes)),
               StatusIs(kInvalidArgument, "safe is 2"));
  }
  SECTION("signer longer than any name") {
    CHECK_THAT(StatusOf(ParseAttest(WithU16(valid, kSignerSizeAt, 67))),
               StatusIs(kResourceExhausted, "qualifiedSigner: 67 bytes"));
    CHECK_THAT(StatusOf(ParseAttest(WithU16(valid, kSignerSizeAt, 0xffff))),
               StatusIs(kResourceExhausted, "qualifiedSigner"));
  }
  SECTION("extraData longer than TPM2B_DATA") {
    REQUIRE(valid[kExtraSizeAt + 1] == 20);
    CHECK_THAT(StatusOf(ParseAttest(WithU16(valid, kExtraSizeAt, 67))),
               StatusIs(kResourceExhausted, "extraData: 67 bytes"));
  }
  SECTION("pcrDigest longer than any digest, or cut") {
    REQUIRE(valid[kDigestSizeAt + 1] == 32);
    CHECK_THAT(StatusOf(ParseAttest(WithU16(valid, kDigestSizeAt, 65))),
               StatusIs(kResourceExhausted, "pcrDigest: 65 bytes"));
    CHECK_THAT(StatusOf(ParseAttest(WithU16(valid, kDigestSizeAt, 33))),
               StatusIs(kInvalidArgument, "pcrDigest"));
    CHECK_THAT(StatusOf(ParseAttest(WithU16(valid, kDigestSizeAt, 31))),
               StatusIs(kInvalidArgument, "left over"));
  }
}

TEST_CASE("other types are refused by name", "[tpm][attest]") {
  struct Case {
    uint16_t type;
    const char* name;
  };
  const auto c = GENERATE(values<Case>({{0x8014, "nv"},
                                        {0x8015, "command audit"},
                                        {0x8016, "session audit"},
                                        {0x8017, "certify"},
                                        {0x8019, "time"},
                                        {0x801a, "creation"},
                                        {0x801c, "nv digest"},
                                        {0x1234, "0x1234"}}));
  CAPTURE(c.name);
  const std::vector<uint8_t> bytes =
      WithU16(Vector("quote/q10.msg"), kTypeAt, c.type);
  CHECK_THAT(StatusOf(ParseAttest(bytes)), StatusIs(kUnimplemented, c.name));
  const auto raw = ParseRawAttest(bytes);
  REQUIRE_THAT(StatusOf(raw), IsOk());
  CHECK(raw->header.type == StructureTag{c.type});
}

TEST_CASE("the shortest quote is read", "[tpm][attest]") {
  Attest attest;
  const std::vector<uint8_t> bytes = SerializeAttest(attest);
  CHECK(bytes.size() == 4 + 2 + 2 + 2 + 17 + 8 + 4 + 2);
  const auto parsed = ParseAttest(bytes);
  REQUIRE_THAT(StatusOf(parsed), IsOk());
  CHECK(*parsed == attest);
}

}  // namespace
}  // namespace cupel::tpm
