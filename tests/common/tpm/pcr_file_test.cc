#include "common/tpm/pcr_file.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "catch2/catch.hpp"
#include "common/tpm/attest.h"
#include "common/util/bytes.h"
#include "tests/common/tpm/vectors.h"
#include "tests/support/status_matchers.h"

namespace cupel::tpm {
namespace {

using crypto::Digest;
using crypto::HashAlgorithm;
using ::cupel::testing::IsOk;
using ::cupel::testing::StatusIs;
using ::cupel::testing::StatusOf;
using enum absl::StatusCode;

constexpr char kPcr10Sha256[] =
    "cd0d730cd8c7a808cdd6ebb038d26785ce4f5ae2efa31109c1655810d44e1078";
constexpr char kPcr10Sha1[] = "61afb96977636092dff98af6704b9f2fe9a1ef89";

std::string Find(const PcrFile& file, HashAlgorithm bank, uint32_t pcr) {
  const Digest* const value = file.values.Find(bank, pcr);
  return value == nullptr ? "none" : value->Hex();
}

absl::StatusOr<PcrFile> ParseText(absl::string_view text) {
  return ParsePcrFile(AsBytes(text));
}

PcrSelection SignedSelection(absl::string_view file) {
  return ParseAttest(Vector(file))->quote.selection;
}

TEST_CASE("tpm2_checkquote's output is read", "[tpm][pcr_file]") {
  const auto file = ParsePcrFile(Vector("quote/checkquote.txt"));
  REQUIRE_THAT(StatusOf(file), IsOk());
  CHECK(file->format == PcrFileFormat::kYaml);
  CHECK(file->values.Selection().ToString() ==
        "sha256:0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15");
  CHECK(Find(*file, HashAlgorithm::kSha256, 10) == kPcr10Sha256);
  CHECK(Find(*file, HashAlgorithm::kSha256, 15) == std::string(64, '0'));
}

TEST_CASE("tpm2_pcrread's output is read", "[tpm][pcr_file]") {
  const auto file = ParsePcrFile(Vector("quote/pcrread.txt"));
  REQUIRE_THAT(StatusOf(file), IsOk());
  CHECK(file->format == PcrFileFormat::kYaml);
  CHECK(file->values.Selection().ToString() ==
        "sha1:0,10+sha256:0,1,2,3,4,5,6,7,8,9,10");
  CHECK(Find(*file, HashAlgorithm::kSha1, 10) ==
        "b3e26c6ca6785f04dd7187293d802d5b16dad8c1");

  // The same run's -o file: raw values, in the order asked for, which leaves
  // the bank that is not allocated without any.
  const PcrSelection asked = *PcrSelection::FromString(
      "sha1:0,10+sha512:none+sha256:0,1,2,3,4,5,6,7,8,9,10");
  const auto raw = ParsePcrFile(Vector("quote/pcrread.pcrs"), &asked);
  REQUIRE_THAT(StatusOf(raw), IsOk());
  CHECK(raw->format == PcrFileFormat::kRaw);
  CHECK(raw->values == file->values);
}

TEST_CASE("one quote's values are the same in every form", "[tpm][pcr_file]") {
  const auto text = ParsePcrFile(Vector("quote/banks-quote.txt"));
  REQUIRE_THAT(StatusOf(text), IsOk());
  CHECK(text->format == PcrFileFormat::kYaml);
  CHECK(text->values.size() == 22);

  const PcrSelection selection = SignedSelection("quote/banks.msg");
  const auto raw = ParsePcrFile(Vector("quote/banks-values.pcrs"), &selection);
  REQUIRE_THAT(StatusOf(raw), IsOk());
  CHECK(raw->format == PcrFileFormat::kRaw);
  CHECK(raw->values == text->values);

  const auto serialized = ParsePcrFile(Vector("quote/banks-serialized.pcrs"));
  REQUIRE_THAT(StatusOf(serialized), IsOk());
  CHECK(serialized->format == PcrFileFormat::kSerialized);
  CHECK(serialized->values == text->values);
  // The selection given is for raw values alone.
  const PcrSelection other = *PcrSelection::FromString("sha256:1");
  CHECK(ParsePcrFile(Vector("quote/banks-serialized.pcrs"), &other)->values ==
        text->values);
}

TEST_CASE("raw values follow the signed order", "[tpm][pcr_file]") {
  const PcrSelection selection = SignedSelection("quote/q10.msg");
  const auto file = ParsePcrFile(Vector("quote/q10.pcrs"), &selection);
  REQUIRE_THAT(StatusOf(file), IsOk());
  CHECK(Find(*file, HashAlgorithm::kSha256, 10) == kPcr10Sha256);
  CHECK(Find(*file, HashAlgorithm::kSha1, 10) == kPcr10Sha1);
}

TEST_CASE("serialized values are read", "[tpm][pcr_file]") {
  const auto file = ParsePcrFile(Vector("quote/qall.pcrs"));
  REQUIRE_THAT(StatusOf(file), IsOk());
  CHECK(file->format == PcrFileFormat::kSerialized);
  CHECK(file->values == ParsePcrFile(Vector("quote/checkquote.txt"))->values);
}

TEST_CASE("evmctl's lines are read", "[tpm][pcr_file]") {
  const auto sha256 = ParsePcrFile(Vector("quote/pcrs-sha256.txt"));
  REQUIRE_THAT(StatusOf(sha256), IsOk());
  CHECK(sha256->format == PcrFileFormat::kEvmctl);
  CHECK(sha256->values.size() == 24);
  const auto sha1 = ParsePcrFile(Vector("quote/pcrs-sha1.txt"));
  REQUIRE_THAT(StatusOf(sha1), IsOk());
  CHECK(sha1->values.banks() == std::vector{HashAlgorithm::kSha1});

  // Both together say what the JSON form says.
  const auto both = ParseText(absl::StrCat(
      VectorText("quote/pcrs-sha1.txt"), VectorText("quote/pcrs-sha256.txt")));
  REQUIRE_THAT(StatusOf(both), IsOk());
  CHECK(both->values == ParsePcrFile(Vector("quote/pcrs.json"))->values);
}

TEST_CASE("JSON is read", "[tpm][pcr_file]") {
  const auto file = ParsePcrFile(Vector("quote/pcrs.json"));
  REQUIRE_THAT(StatusOf(file), IsOk());
  CHECK(file->format == PcrFileFormat::kJson);
  CHECK(file->values.size() == 48);
  // A machine without a TPM.
  const auto none = ParsePcrFile(Vector("quote/no-tpm.json"));
  REQUIRE_THAT(StatusOf(none), IsOk());
  CHECK(none->values.empty());
  CHECK_THAT(StatusOf(ParseText("{}")), IsOk());
  CHECK_THAT(StatusOf(ParseText(absl::StrCat("{\"sha256\":{\"10\":\"0x",
                                             kPcr10Sha256, "\"}}"))),
             IsOk());
}

TEST_CASE("Windows line ends and blank lines are taken", "[tpm][pcr_file]") {
  const auto file =
      ParseText(absl::StrCat("\r\nsha1:\r\n  10 : 0x", kPcr10Sha1, "\r\n\r\n"));
  REQUIRE_THAT(StatusOf(file), IsOk());
  CHECK(Find(*file, HashAlgorithm::kSha1, 10) == kPcr10Sha1);
  CHECK_THAT(StatusOf(ParseText(absl::StrReplaceAll(
                 VectorText("quote/pcrs-sha1.txt"), {{"\n", "\r\n"}}))),
             IsOk());
}

TEST_CASE("malformed text is refused with line or member", "[tpm][pcr_file]") {
  const std::string sha1 = kPcr10Sha1;
  const std::string sha256 = kPcr10Sha256;
  struct Case {
    std::string text;
    const char* message;
  };
  const auto c = GENERATE_COPY(values<Case>({
      {"", "the file is empty"},
      {" \n\t\n", "the file is empty"},
      {"hello", "line 1: \"hello\" is neither a bank"},
      {"sha256:\n10\n", "line 2: \"10\" is neither a bank"},
      {"  10: 0x" + sha1, "line 1: a PCR before any bank"},
      {"sha224:\n", "line 1: \"sha224\" is neither a PCR bank"},
      {"sha1: x\n", "line 1: \"sha1\" is neither"},
      {"sha1:\n 10: " + sha1, "line 2: expected 0x"},
      {"sha1:\n 10: 0x" + sha1 + "00", "sha1 digest of 21 bytes"},
      {"sha1:\n 10: 0x" + sha256, "line 2: PCR 10: sha1 digest of 32 bytes"},
      {"sha256:\n 10: 0x" + sha1, "sha256 digest of 20 bytes"},
      {"sha1:\n 10: 0x", "line 2: PCR 10"},
      {"sha1:\n 10: 0x" + sha1.substr(1), "line 2: PCR 10"},
      {"sha1:\n 10: 0xg" + sha1.substr(1), "line 2: PCR 10"},
      {"sha1:\n 24: 0x" + sha1, "PCR 24: a TPM has PCR 0 to 23"},
      {"sha1:\n 100: 0x" + sha1, "line 2: \"100\""},
      {"sha1:\n -1: 0x" + sha1, "line 2: \"-1\""},
      {"sha1:\n 1: 0x" + sha1 + "\n 1: 0x" + sha1,
       "line 3: PCR 1: bank sha1: PCR 1 is given twice"},
      {"sha1:\n 1: 0x" + sha1 + "\nsha1:\n 2: 0x" + sha1,
       "line 3: bank sha1 twice"},
      {"sha1:\ncalcDigest: 00\n 1: 0x" + sha1, "line 3: a PCR before any bank"},
      {"pcrs:\n 1: 0x" + sha1, "line 2: a PCR before any bank"},

      {"PCR-10", "line 1: expected \"PCR-NN: AB CD ...\""},
      {"PCR-: " + sha1, "line 1: expected"},
      {"PCR-1x: AB", "line 1: expected"},
      {"PCR-10: AB CD", "line 1: 2 bytes; a PCR has 20"},
      {"PCR-10:", "line 1: 0 bytes"},
      {"PCR-10: " + sha1, "is no byte; expected two hex digits"},
      {"PCR-10: A B", "\"A\" is no byte"},
      {"PCR-10: AB\nhello", "line 1"},
      {"PCR-00: " + VectorText("quote/pcrs-sha1.txt").substr(8, 59) +
           "\nsha1:\n",
       "line 2: expected"},
      {VectorText("quote/pcrs-sha1.txt") + VectorText("quote/pcrs-sha1.txt"),
       "line 25: bank sha1: PCR 0 is given twice"},
      {"PCR-24: " + VectorText("quote/pcrs-sha1.txt").substr(8, 59),
       "line 1: PCR 24"},
      {"PCR-00: GG" + VectorText("quote/pcrs-sha1.txt").substr(10, 57),
       "line 1"},

      {"{", "JSON, byte"},
      {"{}x", "JSON, byte"},
      {"{\"sha256\":1}", "\"sha256\": is a number; expected an object"},
      {"{\"sha256\":\"x\"}", "\"sha256\": is a string; expected an object"},
      {"{\"sha256\":[]}", "\"sha256\": is an array"},
      {"{\"sha256\":null}", "\"sha256\": is null"},
      {"{\"sha3\":{}}", "\"sha3\": is no PCR bank"},
      {"{\"*\":{\"0\":\"" + sha1 + "\"}}", "\"*\": must be empty"},
      {"{\"sha1\":{\"x\":\"" + sha1 + "\"}}", "\"sha1.x\": is no PCR number"},
      {"{\"sha1\":{\"24\":\"" + sha1 + "\"}}", "\"sha1.24\": PCR 24"},
      {"{\"sha1\":{\"1\":\"" + sha256 + "\"}}",
       "\"sha1.1\": sha1 digest of 32"},
      {"{\"sha1\":{\"1\":1}}", "\"sha1.1\": is a number; expected the value"},
      {"{\"sha1\":{\"1\":{}}}", "\"sha1.1\": is an object"},
      {"{\"sha1\":{\"1\":true}}", "\"sha1.1\": is a boolean"},
      {"{\"sha1\":{\"1\":\"" + sha1 + "\",\"1\":\"" + sha1 + "\"}}",
       "\"sha1.1\": bank sha1: PCR 1 is given twice"},
      {"{\"sha1\":{\"1\":\"" + sha1 + "\",\"01\":\"" + sha1 + "\"}}",
       "PCR 1 is given twice"},
      {"{\"sha1\":{},\"sha1\":{}}", "\"sha1\": given twice"},
      {"{\"sha1\":{\"1\":\"" + sha1 + "\"},\"SHA1\":{\"1\":\"" + sha1 + "\"}}",
       "PCR 1 is given twice"},
  }));
  CAPTURE(c.text);
  CHECK_THAT(StatusOf(ParseText(c.text)),
             StatusIs(kInvalidArgument, c.message));
}

TEST_CASE("messages never hold the file's control characters",
          "[tpm][pcr_file]") {
  const auto file = ParseText("{\"\\u001b[31m\":{}}");
  CHECK_THAT(StatusOf(file), StatusIs(kInvalidArgument, "\\x1b[31m"));
}

TEST_CASE("every prefix of a serialized file and a trailing byte are refused",
          "[tpm][pcr_file]") {
  const std::vector<uint8_t> bytes = Vector("quote/qall.pcrs");
  for (size_t size = 1; size < bytes.size(); ++size) {
    CAPTURE(size);
    CHECK_FALSE(ParsePcrFile(std::span(bytes).first(size)).ok());
  }
  CHECK_FALSE(ParsePcrFile(Concat(bytes, {0})).ok());
}

TEST_CASE("malformed serialized files are refused with what is wrong",
          "[tpm][pcr_file]") {
  // Offsets of tpm2-tools' structs.
  constexpr size_t kListCountAt = 132;
  constexpr size_t kFirstListAt = 136;
  constexpr size_t kSecondListAt = 136 + 532;
  struct Case {
    const char* description;
    size_t at;
    uint8_t value;
    const char* message;
  };
  const auto c = GENERATE_COPY(values<Case>({
      {"no bank", 0, 0, "0 banks"},
      {"17 banks", 0, 17, "17 banks"},
      {"2^24 banks", 3, 1, "banks"},
      {"unknown bank", 4, 1, "rsa is no known PCR bank"},
      {"sizeofSelect 2", 6, 2, "sizeofSelect 2"},
      {"sizeofSelect 5", 6, 5, "sizeofSelect 5"},
      {"one PCR less", 7, 0xfe, "16 digests for 15 selected PCRs"},
      {"one PCR more", 9, 0x01, "16 digests for 17 selected PCRs"},
      {"one list", kListCountAt, 1, "1 announced"},
      {"three lists", kListCountAt, 3, "3 announced"},
      {"2^31 lists", kListCountAt + 3, 0x80, "announced"},
      {"short first list", kFirstListAt, 7, "digest list 0: 7 digests"},
      {"long first list", kFirstListAt, 9, "digest list 0: 9 digests"},
      {"long last list", kSecondListAt, 9, "digest list 1: 9 digests"},
      {"short last list", kSecondListAt, 7, "15 digests for 16"},
      {"short digest", kFirstListAt + 4, 31, "PCR 0: sha256 digest of 31"},
      {"long digest", kFirstListAt + 4, 65, "a digest of 65 bytes"},
      {"a second bank of the same", 0, 2, "is no known PCR bank"},
  }));
  CAPTURE(c.description);
  std::vector<uint8_t> bytes = Vector("quote/qall.pcrs");
  bytes[c.at] = c.value;
  CHECK_THAT(StatusOf(ParsePcrFile(bytes)),
             StatusIs(kInvalidArgument, c.message));
}

TEST_CASE("a bank listed twice in a serialized file is refused",
          "[tpm][pcr_file]") {
  std::vector<uint8_t> bytes = Vector("quote/qall.pcrs");
  bytes[0] = 2;
  std::copy_n(bytes.begin() + 4, 8, bytes.begin() + 12);
  CHECK_THAT(StatusOf(ParsePcrFile(bytes)),
             StatusIs(kInvalidArgument, "bank sha256 twice"));
}

TEST_CASE("raw values need a selection of their size", "[tpm][pcr_file]") {
  const std::vector<uint8_t> bytes = Vector("quote/q10.pcrs");
  CHECK_THAT(StatusOf(ParsePcrFile(bytes)),
             StatusIs(kFailedPrecondition, "give the quote"));
  const PcrSelection selection = *PcrSelection::FromString("sha256:10+sha1:10");
  REQUIRE_THAT(StatusOf(ParsePcrFile(bytes, &selection)), IsOk());
  CHECK_THAT(
      StatusOf(ParsePcrFile(Concat(bytes, {0}), &selection)),
      StatusIs(kInvalidArgument, "53 bytes, but sha256:10+sha1:10 has 52"));
  CHECK_THAT(StatusOf(ParsePcrFile(std::span(bytes).first(51), &selection)),
             StatusIs(kInvalidArgument, "51 bytes"));
  const PcrSelection one = *PcrSelection::FromString("sha256:10");
  CHECK_THAT(StatusOf(ParsePcrFile(bytes, &one)),
             StatusIs(kInvalidArgument, "52 bytes, but sha256:10 has 32"));
}

TEST_CASE("a file that could be two things is refused", "[tpm][pcr_file]") {
  // 3 SHA-1 values and 19 of SHA-256 have the size of a serialized file.
  const PcrSelection selection = *PcrSelection::FromString(
      "sha1:0,1,2+sha256:0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18");
  std::vector<uint8_t> bytes(668, 0);
  REQUIRE(selection.values_size() == bytes.size());
  CHECK(ParsePcrFile(bytes, &selection)->format == PcrFileFormat::kRaw);
  // Now it is a well-formed serialized file of no PCR as well.
  bytes[0] = 1;
  bytes[4] = 0x0b;
  bytes[6] = 3;
  bytes[132] = 1;
  CHECK_THAT(StatusOf(ParsePcrFile(bytes, &selection)),
             StatusIs(kInvalidArgument, "could be tpm2-tools' serialized"));
  CHECK(ParsePcrFile(bytes)->format == PcrFileFormat::kSerialized);
}

TEST_CASE("huge files are refused", "[tpm][pcr_file]") {
  const std::vector<uint8_t> bytes(kMaxPcrFileSize + 1, ' ');
  CHECK_THAT(StatusOf(ParsePcrFile(bytes)), StatusIs(kResourceExhausted));
}

}  // namespace
}  // namespace cupel::tpm
