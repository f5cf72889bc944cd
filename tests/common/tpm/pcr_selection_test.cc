#include "common/tpm/pcr_selection.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "tests/common/tpm/vectors.h"
#include "tests/support/status_matchers.h"

namespace cupel::tpm {
namespace {

using crypto::HashAlgorithm;
using ::cupel::testing::IsOk;
using ::cupel::testing::StatusIs;
using ::cupel::testing::StatusOf;

// sha256:10+sha1:10, as q10.msg of the vectors has it.
constexpr char kTwoBanks[] = "00000002000b03000400000403000400";

TEST_CASE("a selection is read in order", "[tpm][pcr]") {
  const auto selection = PcrSelection::Parse(Hex(kTwoBanks));
  REQUIRE_THAT(StatusOf(selection), IsOk());
  REQUIRE(selection->banks().size() == 2);
  CHECK(selection->banks()[0] == BankSelection{HashAlgorithm::kSha256, 0x400});
  CHECK(selection->banks()[1] == BankSelection{HashAlgorithm::kSha1, 0x400});
  CHECK(selection->ToString() == "sha256:10+sha1:10");
  CHECK(selection->Serialize() == Hex(kTwoBanks));
  CHECK(selection->pcr_count() == 2);
  CHECK(selection->values_size() == 52);
  CHECK(selection->Has(HashAlgorithm::kSha1, 10));
  CHECK_FALSE(selection->Has(HashAlgorithm::kSha1, 9));
  CHECK_FALSE(selection->Has(HashAlgorithm::kSha384, 10));
  CHECK_FALSE(selection->Has(HashAlgorithm::kSha1, 32));
  CHECK(selection->MaskOf(HashAlgorithm::kSha512) == 0);
}

TEST_CASE("every PCR has its bit", "[tpm][pcr]") {
  for (uint32_t pcr = 0; pcr < kPcrCount; ++pcr) {
    CAPTURE(pcr);
    std::vector<uint8_t> bytes = Hex("00000001000b03000000");
    bytes[7 + pcr / 8] = static_cast<uint8_t>(1 << pcr % 8);
    const auto selection = PcrSelection::Parse(bytes);
    REQUIRE_THAT(StatusOf(selection), IsOk());
    CHECK(selection->ToString() == absl::StrCat("sha256:", pcr));
  }
}

TEST_CASE("no bank, and banks without a PCR, are empty", "[tpm][pcr]") {
  const auto none = PcrSelection::Parse(Hex("00000000"));
  REQUIRE_THAT(StatusOf(none), IsOk());
  CHECK(none->IsEmpty());
  CHECK(none->ToString().empty());
  CHECK(*none == PcrSelection());
  // What a TPM signs for a bank that is not allocated.
  const auto cleared = PcrSelection::Parse(Hex("00000001000d03000000"));
  REQUIRE_THAT(StatusOf(cleared), IsOk());
  CHECK(cleared->IsEmpty());
  CHECK(cleared->ToString() == "sha512:none");
  CHECK_FALSE(*cleared == *none);
}

TEST_CASE("every prefix of a selection and a trailing byte are refused",
          "[tpm][pcr]") {
  const std::vector<uint8_t> bytes = Hex(kTwoBanks);
  for (size_t size = 0; size < bytes.size(); ++size) {
    CAPTURE(size);
    CHECK_THAT(StatusOf(PcrSelection::Parse(std::span(bytes).first(size))),
               StatusIs(absl::StatusCode::kInvalidArgument, "PCR selection"));
  }
  CHECK_THAT(StatusOf(PcrSelection::Parse(Concat(bytes, {0}))),
             StatusIs(absl::StatusCode::kInvalidArgument, "1 bytes left over"));
}

TEST_CASE("malformed selections are refused with what is wrong", "[tpm][pcr]") {
  struct Case {
    const char* description;
    const char* hex;
    const char* message;
  };
  const auto c = GENERATE(values<Case>({
      {"count 17", "00000011", "17 banks"},
      {"count 2^32-1", "ffffffff", "4294967295 banks"},
      {"unknown bank", "00000001000103000400", "rsa is no known PCR bank"},
      {"unassigned id", "00000001beef03000400", "algorithm 0xbeef"},
      {"same bank twice", "00000002000b03000400000b03000100",
       "bank sha256 twice"},
      {"same bank, same PCRs", "00000002000b03000400000b03000400",
       "bank sha256 twice"},
      {"sizeofSelect 0", "00000001000b00", "sizeofSelect 0"},
      {"sizeofSelect 2", "00000001000b020004", "sizeofSelect 2"},
      {"sizeofSelect 5", "00000001000b050004000000", "sizeofSelect 5"},
      {"sizeofSelect 255", "00000001000bff0004000000", "sizeofSelect 255"},
      {"PCR 24", "00000001000b0400040001", "a PCR above 23"},
      {"PCR 31", "00000001000b0400040080", "a PCR above 23"},
  }));
  CAPTURE(c.description);
  CHECK_THAT(StatusOf(PcrSelection::Parse(Hex(c.hex))),
             StatusIs(absl::StatusCode::kInvalidArgument, c.message));
}

TEST_CASE("a fourth select byte of zero means the same", "[tpm][pcr]") {
  const auto four = PcrSelection::Parse(Hex("00000001000b0400040000"));
  REQUIRE_THAT(StatusOf(four), IsOk());
  CHECK(*four == *PcrSelection::FromString("sha256:10"));
}

TEST_CASE("equality is exact: order, banks, PCRs", "[tpm][pcr]") {
  const PcrSelection selection =
      *PcrSelection::FromString("sha256:0,10+sha1:1");
  const auto other = GENERATE(values<const char*>(
      {"sha1:1+sha256:0,10", "sha256:0,10", "sha256:0,10+sha1:1,2",
       "sha256:0+sha1:1", "sha256:0,10+sha384:1",
       "sha256:0,10+sha1:1+sha384:none"}));
  CAPTURE(other);
  CHECK_FALSE(selection == *PcrSelection::FromString(other));
  CHECK(selection == *PcrSelection::FromString("sha256:10,0+sha1:1"));
}

TEST_CASE("the text form is read and written", "[tpm][pcr]") {
  struct Case {
    const char* text;
    const char* canonical;
  };
  const auto c = GENERATE(values<Case>({
      {"sha256:0,1,10+sha1:10", "sha256:0,1,10+sha1:10"},
      {"sha256:10,1,0", "sha256:0,1,10"},
      {"SHA256:07", "sha256:7"},
      {"sha1:all",
       "sha1:0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23"},
      {"sha384:none", "sha384:none"},
      {"sm3_256:1+sha3-256:2", "sm3_256:1+sha3_256:2"},
  }));
  CAPTURE(c.text);
  const auto selection = PcrSelection::FromString(c.text);
  REQUIRE_THAT(StatusOf(selection), IsOk());
  CHECK(selection->ToString() == c.canonical);
  CHECK(*PcrSelection::FromString(selection->ToString()) == *selection);
}

TEST_CASE("malformed texts are refused", "[tpm][pcr]") {
  struct Case {
    const char* text;
    const char* message;
  };
  const auto c = GENERATE(values<Case>({
      {"", "expected BANK:PCR"},
      {"10", "expected BANK:PCR"},
      {"sha256", "expected BANK:PCR"},
      {"sha256:", "\"\" is no PCR number"},
      {"sha256:1,", "\"\" is no PCR number"},
      {"sha256:24", "\"24\" is no PCR number"},
      {"sha256:100", "\"100\" is no PCR number"},
      {"sha256:-1", "\"-1\" is no PCR number"},
      {"sha256:+1", "\"\" is no PCR number"},
      {"sha256: 1", "\" 1\" is no PCR number"},
      {"sha256:0x1", "is no PCR number"},
      {"sha256:1,1", "PCR 1 twice"},
      {"sha256:1+sha256:2", "bank sha256 twice"},
      {"sha224:1", "\"sha224\" is no PCR bank"},
      {"md5:1", "\"md5\" is no PCR bank"},
      {" sha256:1", "is no PCR bank"},
      {"sha256:1+", "expected BANK:PCR"},
      {"\x1b[31m:1", "\\x1b[31m"},
  }));
  CAPTURE(c.text);
  CHECK_THAT(StatusOf(PcrSelection::FromString(c.text)),
             StatusIs(absl::StatusCode::kInvalidArgument, c.message));
}

TEST_CASE("Create refuses what no TPM has", "[tpm][pcr]") {
  CHECK_THAT(StatusOf(PcrSelection::Create({{HashAlgorithm::kMd5, 1}})),
             StatusIs(absl::StatusCode::kInvalidArgument, "no bank md5"));
  CHECK_THAT(StatusOf(PcrSelection::Create({{HashAlgorithm::kSha1, 1 << 24}})),
             StatusIs(absl::StatusCode::kInvalidArgument, "above 23"));
  CHECK_THAT(StatusOf(PcrSelection::Create(std::vector<BankSelection>(17))),
             StatusIs(absl::StatusCode::kInvalidArgument, "17 banks"));
}

}  // namespace
}  // namespace cupel::tpm
