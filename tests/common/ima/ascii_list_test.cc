#include "common/ima/ascii_list.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "catch2/catch.hpp"
#include "common/ima/ascii_format.h"
#include "common/ima/hashed_data.h"
#include "common/ima/template.h"
#include "common/util/bytes.h"
#include "common/util/hex.h"
#include "tests/support/real_lists.h"
#include "tests/support/status_matchers.h"

namespace cupel::ima {
namespace {

using ::cupel::crypto::HashAlgorithm;
using ::cupel::testing::IsOk;
using ::cupel::testing::ParseWhole;
using ::cupel::testing::RealList;
using ::cupel::testing::RealListNamed;
using ::cupel::testing::RealLists;
using ::cupel::testing::StatusIs;
using ::cupel::testing::StatusOf;
using ::cupel::testing::ToBigEndian;
using enum absl::StatusCode;

constexpr char kSha1[] = "97b2682142ed8ab6e01e40df8ae7088f083f0218";
constexpr char kSha256[] =
    "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";

std::string NgLine(absl::string_view path = "/usr/bin/a") {
  return absl::StrCat("10 ", kSha1, " ima-ng sha256:", kSha256, " ", path);
}

TEST_CASE("the text of every real list gives its binary form", "[ima]") {
  size_t compared = 0;
  for (const RealList& list : RealLists()) {
    CAPTURE(list.name);
    const auto parsed = AsciiList::Parse(list.ascii);
    if (list.HasNewlineName()) {
      CHECK_THAT(StatusOf(parsed), StatusIs(kInvalidArgument, "line "));
      continue;
    }
    REQUIRE_THAT(StatusOf(parsed), IsOk());
    CHECK(ToVector(parsed->binary()) == list.binary);
    CHECK(parsed->entries().size() == ParseWhole(list.binary).size());
    ++compared;
  }
  CHECK(compared == 30);
}

TEST_CASE("every real entry is written as the kernel wrote it", "[ima]") {
  for (const RealList& list : RealLists()) {
    CAPTURE(list.name);
    std::string text;
    for (const Entry& entry : ParseWhole(list.binary)) {
      const auto line = FormatAsciiEntry(entry);
      REQUIRE_THAT(StatusOf(line), IsOk());
      absl::StrAppend(&text, *line, "\n");
    }
    // A newline in a name comes out as the kernel lets it out.
    CHECK(text == list.ascii);
  }
}

TEST_CASE("a big-endian host's text gives its binary form", "[ima]") {
  ListOptions big;
  big.byte_order = ByteOrder::kBig;
  const RealList& list = RealListNamed("evmsig-signed");
  const std::vector<uint8_t> reversed = ToBigEndian(list.binary);
  for (const Entry& entry : ParseWhole(reversed, big)) {
    const auto line = FormatAsciiEntry(entry, ByteOrder::kBig);
    REQUIRE_THAT(StatusOf(line), IsOk());
    const auto parsed = AsciiList::Parse(*line, big);
    REQUIRE_THAT(StatusOf(parsed), IsOk());
    CHECK(ToVector(parsed->entries()[0].template_data) ==
          ToVector(entry.template_data));
  }
}

TEST_CASE("entries outlive a move", "[ima]") {
  auto parsed = AsciiList::Parse(NgLine());
  REQUIRE_THAT(StatusOf(parsed), IsOk());
  const AsciiList moved = *std::move(parsed);
  REQUIRE(moved.entries().size() == 1);
  const auto fields = ParseFields(moved.entries()[0]);
  REQUIRE_THAT(StatusOf(fields), IsOk());
  CHECK(fields->path == "/usr/bin/a");
}

TEST_CASE("what differs in form alone is taken", "[ima]") {
  const std::string line = NgLine();
  const auto expected = AsciiList::Parse(line);
  REQUIRE_THAT(StatusOf(expected), IsOk());
  const auto same = [&expected](absl::string_view text, size_t count) {
    const auto parsed = AsciiList::Parse(text);
    REQUIRE_THAT(StatusOf(parsed), IsOk());
    REQUIRE(parsed->entries().size() == count);
    for (const Entry& entry : parsed->entries()) {
      CHECK(ToVector(entry.template_data) ==
            ToVector(expected->entries()[0].template_data));
      CHECK(ToVector(entry.template_digest) ==
            ToVector(expected->entries()[0].template_digest));
    }
  };
  same(line + "\n", 1);
  same(absl::StrCat("\n\n", line, "\n\n\n", line, "\n\n"), 2);
  same(absl::StrReplaceAll(line, {{"ca97", "CA97"}, {"97b2", "97B2"}}), 1);
  const auto empty = AsciiList::Parse("");
  REQUIRE_THAT(StatusOf(empty), IsOk());
  CHECK(empty->entries().empty());
  CHECK(AsciiList::Parse("\n\n")->entries().empty());
}

TEST_CASE("a PCR of one digit has its space before it", "[ima]") {
  const std::string line = absl::StrCat(" 9", NgLine().substr(2));
  const auto parsed = AsciiList::Parse(line);
  REQUIRE_THAT(StatusOf(parsed), IsOk());
  CHECK(parsed->entries()[0].pcr == 9);
  CHECK(*FormatAsciiEntry(parsed->entries()[0]) == line);
}

TEST_CASE("an empty path is a path", "[ima]") {
  const auto parsed = AsciiList::Parse(NgLine(""));
  REQUIRE_THAT(StatusOf(parsed), IsOk());
  const Entry& entry = parsed->entries()[0];
  CHECK(HexEncode(entry.template_data) ==
        absl::StrCat("280000007368613235363a00", kSha256, "0100000000"));
  // The digest of exactly these bytes.
  CHECK(TemplateDigest(entry, HashAlgorithm::kSha1).Hex() == kSha1);
}

TEST_CASE("an unknown digest algorithm parses", "[ima]") {
  const auto parsed = AsciiList::Parse(
      absl::StrReplaceAll(NgLine(), {{"sha256:", "sha9000:"}}));
  REQUIRE_THAT(StatusOf(parsed), IsOk());
  const auto fields = ParseFields(parsed->entries()[0]);
  REQUIRE_THAT(StatusOf(fields), IsOk());
  CHECK_FALSE(fields->digest->algorithm.has_value());
  CHECK(fields->digest->algorithm_name == "sha9000");
}

TEST_CASE("a bank's list has a wider template digest", "[ima]") {
  ListOptions options;
  options.template_digest_size = 32;
  const std::string line = absl::StrReplaceAll(NgLine(), {{kSha1, kSha256}});
  const auto parsed = AsciiList::Parse(line, options);
  REQUIRE_THAT(StatusOf(parsed), IsOk());
  CHECK(HexEncode(parsed->entries()[0].template_digest) == kSha256);
  CHECK_THAT(StatusOf(AsciiList::Parse(line)),
             StatusIs(kInvalidArgument, "template_digest: expected 40"));
  CHECK_THAT(StatusOf(AsciiList::Parse(NgLine(), options)),
             StatusIs(kInvalidArgument, "template_digest: expected 64"));
}

TEST_CASE("the column tells the template digest's size", "[ima]") {
  for (const size_t size : {20U, 32U, 48U, 64U}) {
    const std::string digest(2 * size, 'a');
    CHECK(AsciiTemplateDigestSize(absl::StrCat("\n 9 ", digest, " ima-ng")) ==
          size);
    CHECK(AsciiTemplateDigestSize(absl::StrCat("10 ", digest, " ima-ng")) ==
          size);
    CHECK_FALSE(AsciiTemplateDigestSize(absl::StrCat("10 ", digest, "a ima")));
    CHECK_FALSE(AsciiTemplateDigestSize(absl::StrCat("10 ", digest)));
  }
  CHECK_FALSE(AsciiTemplateDigestSize(""));
  CHECK_FALSE(AsciiTemplateDigestSize("10  ima"));
}

// One thing changed in a list's second line.
TEST_CASE("a wrong line is refused by its number", "[ima]") {
  struct Case {
    const char* description;
    std::string line;
    absl::StatusCode code;
    const char* message;
  };
  const std::string digest = absl::StrCat("sha256:", kSha256);
  const std::string sig = absl::StrCat("10 ", kSha1, " ima-sig ", digest);
  const std::string evm = absl::StrCat("10 ", kSha1, " evm-sig ", digest,
                                       " /x 00 security.ima 01000000 ff ");
  REQUIRE_THAT(StatusOf(AsciiList::Parse(sig + " /x 03ff")), IsOk());
  REQUIRE_THAT(StatusOf(AsciiList::Parse(evm + "0 0 33261")), IsOk());
  const std::vector<Case> cases = {
      {"text", "hello", kInvalidArgument, "pcr"},
      {"PCR not a number", "x" + NgLine(), kInvalidArgument, "pcr"},
      {"PCR 24", "24" + NgLine().substr(2), kInvalidArgument, "pcr: 24"},
      {"PCR 010", "0" + NgLine(), kInvalidArgument, "pcr"},
      {"PCR negative", "-" + NgLine(), kInvalidArgument, "pcr"},
      {"PCR 2^64", "18446744073709551616" + NgLine().substr(2),
       kInvalidArgument, "pcr"},
      {"two spaces before", "  " + NgLine(), kInvalidArgument, "pcr"},
      {"two spaces between", "10 " + NgLine().substr(2), kInvalidArgument,
       "template_digest"},
      {"digest short", absl::StrReplaceAll(NgLine(), {{"97b2", "97b"}}),
       kInvalidArgument, "template_digest: expected 40"},
      {"digest not hex", absl::StrReplaceAll(NgLine(), {{"97b2", "I7b2"}}),
       kInvalidArgument, "template_digest: not hex"},
      {"no template", absl::StrCat("10 ", kSha1), kInvalidArgument,
       "template_digest"},
      {"nothing after the template", absl::StrCat("10 ", kSha1, " ima-ng"),
       kInvalidArgument, "template_name"},
      {"unknown template", absl::StrReplaceAll(NgLine(), {{"ima-ng", "x-ng"}}),
       kUnimplemented, "template_name: \"x-ng\""},
      {"no path field", absl::StrCat("10 ", kSha1, " ima-ng ", digest),
       kInvalidArgument, "field n-ng: missing"},
      {"space in a path", NgLine("/usr/bin/a b"), kInvalidArgument,
       "more fields than ima-ng has, or a space in a name"},
      {"space after a path", NgLine("/usr/bin/a "), kInvalidArgument,
       "more fields"},
      {"space in a signed path", sig + " /a b 03ff", kInvalidArgument,
       "more fields"},
      {"space in a path, and no signature", sig + " /a b", kInvalidArgument,
       "field sig: odd"},
      {"no signature field", sig + " /x", kInvalidArgument,
       "field sig: missing"},
      {"signature of an odd size", sig + " /x 03f", kInvalidArgument,
       "field sig: odd"},
      {"signature not hex", sig + " /x 03fg", kInvalidArgument,
       "field sig: not hex"},
      {"CRLF", NgLine() + "\r", kInvalidArgument, "carriage return"},
      {"digest without algorithm",
       absl::StrReplaceAll(NgLine(), {{"sha256:", ""}}), kInvalidArgument,
       "field d-ng: no algorithm"},
      {"digest empty", absl::StrReplaceAll(NgLine(), {{digest, ""}}),
       kInvalidArgument, "field d-ng"},
      {"digest of another size",
       absl::StrReplaceAll(NgLine(), {{"sha256:", "sha512:"}}),
       kInvalidArgument, "field d-ng digest is not of"},
      {"digest of an odd size",
       absl::StrReplaceAll(NgLine(), {{"48bb", "48b"}}), kInvalidArgument,
       "field d-ng: odd"},
      {"digest not hex", absl::StrReplaceAll(NgLine(), {{":ca97", ":Ia97"}}),
       kInvalidArgument, "field d-ng: not hex"},
      {"NUL in a path", NgLine(absl::string_view("/a\0b", 4)), kInvalidArgument,
       "field n-ng has a NUL"},
      {"version 2 digest in ima-ng",
       absl::StrReplaceAll(NgLine(), {{"sha256:", "ima:sha256:"}}),
       kInvalidArgument, "field d-ng"},
      {"MD5 in the template \"ima\"",
       absl::StrCat("10 ", kSha1, " ima ", std::string(32, '0'), " /x"),
       kInvalidArgument, "field d: 32 characters"},
      {"file name of 256 bytes in the template \"ima\"",
       absl::StrCat("10 ", kSha1, " ima ", kSha1, " ", std::string(256, 'a')),
       kInvalidArgument, "file name: 256 bytes"},
      {"mode of 2^16", evm + "0 0 65536", kInvalidArgument, "field imode"},
      {"uid with a sign", evm + "+0 0 1", kInvalidArgument, "field iuid"},
      {"gid with a leading zero", evm + "0 00 1", kInvalidArgument,
       "field igid"},
      {"lengths that do not add up",
       absl::StrReplaceAll(evm, {{" ff ", " ffff "}}) + "0 0 1",
       kInvalidArgument, "field xattrlengths"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.description);
    const auto parsed =
        AsciiList::Parse(absl::StrCat(NgLine(), "\n\n", c.line, "\n"));
    CHECK_THAT(StatusOf(parsed), StatusIs(c.code, c.message));
    CHECK_THAT(StatusOf(parsed), StatusIs(c.code, "line 3: "));
  }
}

TEST_CASE("limits hold for text too", "[ima]") {
  const std::string text = absl::StrCat(NgLine(), "\n", NgLine(), "\n");
  ListOptions options;
  options.limits.max_entries = 2;
  CHECK_THAT(StatusOf(AsciiList::Parse(text, options)), IsOk());
  options.limits.max_entries = 1;
  CHECK_THAT(StatusOf(AsciiList::Parse(text, options)),
             StatusIs(kResourceExhausted, "line 2: "));
  options = {};
  options.limits.max_template_data_size = 58;
  CHECK_THAT(StatusOf(AsciiList::Parse(text, options)),
             StatusIs(kResourceExhausted, "line 1: "));
}

TEST_CASE("a record hidden in a name shows in the template digest", "[ima]") {
  // What the kernel writes for the name "/a\n<a whole line>" (attack A10): the
  // text parses, and nothing in it tells. The digests do.
  const auto real = AsciiList::Parse(NgLine("/a"));
  REQUIRE_THAT(StatusOf(real), IsOk());
  std::vector<uint8_t> data = ToVector(real->entries()[0].template_data);
  const std::string name = absl::StrCat("/a\n", NgLine("/b"));
  data.resize(44);
  for (size_t i = 0; i < 4; ++i) {
    data.push_back(static_cast<uint8_t>((name.size() + 1) >> 8 * i));
  }
  Append(data, AsBytes(name));
  data.push_back(0);
  Entry entry = real->entries()[0];
  entry.template_data = data;
  const crypto::Digest digest = TemplateDigest(entry, HashAlgorithm::kSha1);
  entry.template_digest = digest.bytes();

  const auto text = FormatAsciiEntry(entry);
  REQUIRE_THAT(StatusOf(text), IsOk());
  const auto parsed = AsciiList::Parse(*text);
  REQUIRE_THAT(StatusOf(parsed), IsOk());
  REQUIRE(parsed->entries().size() == 2);
  CHECK_FALSE(TemplateDigest(parsed->entries()[0], HashAlgorithm::kSha1) ==
              digest);
}

TEST_CASE("an entry whose fields do not fit has no line", "[ima]") {
  Entry entry = ParseWhole(RealListNamed("quote").binary)[0];
  entry.template_name = "ima-ng";  // of ima-sig
  CHECK_THAT(StatusOf(FormatAsciiEntry(entry)), StatusIs(kInvalidArgument));
  entry.template_name = "x-ng";
  CHECK_THAT(StatusOf(FormatAsciiEntry(entry)), StatusIs(kUnimplemented));
}

TEST_CASE("the two forms of a list are told apart", "[ima]") {
  const auto format = [](const std::string& list) {
    return DetectListFormat(AsBytes(list));
  };
  for (const RealList& list : RealLists()) {
    CAPTURE(list.name);
    CHECK(*DetectListFormat(list.binary) == ListFormat::kBinary);
    CHECK(*DetectListFormat(ToBigEndian(list.binary)) == ListFormat::kBinary);
    CHECK(*format(list.ascii) == ListFormat::kAscii);
  }
  CHECK(*format(" 9 abcd") == ListFormat::kAscii);
  CHECK(*format("\n\n\n\n\n10 abcd") == ListFormat::kAscii);
  CHECK(*format("1") == ListFormat::kAscii);
  CHECK(*format("") == ListFormat::kBinary);
  CHECK(*format(std::string("\n\0\0\0", 4)) == ListFormat::kBinary);
  CHECK(*format(std::string("\0", 1)) == ListFormat::kBinary);
  for (const char* other :
       {"\177ELF", "{\"a\"", "PCR", "\xff\xff\xff\xff", "\n\n{", "-1 2"}) {
    CHECK_THAT(StatusOf(format(other)), StatusIs(kInvalidArgument, "neither"));
  }
}

}  // namespace
}  // namespace cupel::ima
