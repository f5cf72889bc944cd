#include "common/ima/template.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "common/ima/template_format.h"
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

std::vector<uint8_t> U32(uint32_t value, ByteOrder order) {
  std::vector<uint8_t> out;
  AppendBe(out, value);
  if (order == ByteOrder::kLittle) std::ranges::reverse(out);
  return out;
}

// Field contents to template data.
std::vector<uint8_t> Data(const std::vector<std::string>& fields,
                          ByteOrder order = ByteOrder::kLittle) {
  std::vector<uint8_t> data;
  for (const std::string& field : fields) {
    Append(data, U32(static_cast<uint32_t>(field.size()), order));
    Append(data, AsBytes(field));
  }
  return data;
}

// The fields must outlive what is parsed from them.
absl::StatusOr<EntryFields> Parse(absl::string_view name,
                                  const std::vector<uint8_t>& data,
                                  ByteOrder order = ByteOrder::kLittle) {
  Entry entry;
  entry.template_name = name;
  entry.template_data = data;
  return ParseFields(entry, order);
}

// A copy that a test may change.
std::string Bytes(const char* hex) {
  return std::string(AsText(HexDecode(hex).value()));
}
std::string Nul(const std::string& text) { return text + '\0'; }
std::string DigestNg(const std::string& algorithm, size_t size) {
  return Nul(algorithm + ":") + std::string(size, '\x42');
}
const std::string& Sha256() {
  static const std::string& digest = *new std::string(DigestNg("sha256", 32));
  return digest;
}
std::string Path() { return Nul("/usr/bin/x"); }

TEST_CASE("every real entry's fields fit its template", "[ima]") {
  size_t entries = 0;
  std::map<std::string, size_t> templates;
  for (const RealList& list : RealLists()) {
    for (const Entry& entry : ParseWhole(list.binary)) {
      CAPTURE(list.name, entry.index);
      const auto fields = ParseFields(entry);
      REQUIRE_THAT(StatusOf(fields), IsOk());
      REQUIRE(fields->digest.has_value());
      CHECK(fields->digest->algorithm.has_value());
      CHECK_FALSE(fields->path.empty());
      CHECK(fields->buffer.has_value() ==
            (absl::StrContains(entry.template_name, "buf")));
      if (entry.IsViolation()) {
        CHECK(std::ranges::all_of(fields->digest->bytes,
                                  [](uint8_t b) { return b == 0; }));
      }
      ++entries;
      ++templates[std::string(entry.template_name)];
    }
  }
  CHECK(entries == 1664);
  CHECK(templates.size() == 10);
}

TEST_CASE("every real entry's fields fit in big-endian order", "[ima]") {
  ListOptions big;
  big.byte_order = ByteOrder::kBig;
  for (const RealList& list : RealLists()) {
    CAPTURE(list.name);
    const std::vector<uint8_t> reversed = ToBigEndian(list.binary);
    const std::vector<Entry> expected = ParseWhole(list.binary);
    const std::vector<Entry> entries = ParseWhole(reversed, big);
    for (size_t i = 0; i < entries.size(); ++i) {
      const auto fields = ParseFields(entries[i], ByteOrder::kBig);
      REQUIRE_THAT(StatusOf(fields), IsOk());
      const auto little = ParseFields(expected[i]);
      CHECK(fields->path == little->path);
      CHECK(fields->inode_uid == little->inode_uid);
      CHECK(fields->inode_mode == little->inode_mode);
      CHECK_FALSE(ParseFields(entries[i], ByteOrder::kLittle).ok());
    }
  }
}

TEST_CASE("an entry cut short or with a byte too many fits no more", "[ima]") {
  for (const RealList& list : RealLists()) {
    for (Entry entry : ParseWhole(list.binary)) {
      // The shortest entry of each list has every field that the others have.
      if (entry.index != 1) continue;
      CAPTURE(list.name);
      std::vector<uint8_t> data = ToVector(entry.template_data);
      for (size_t size = 0; size < data.size(); ++size) {
        entry.template_data = std::span(data).first(size);
        CHECK_THAT(StatusOf(ParseFields(entry)), StatusIs(kInvalidArgument));
      }
      data.push_back(0);
      entry.template_data = data;
      CHECK_THAT(StatusOf(ParseFields(entry)),
                 StatusIs(kInvalidArgument, "left over"));
    }
  }
}

constexpr char kInodeFormat[] =
    "d-ng|n-ng|sig|buf|iuid|igid|imode|xattrnames|xattrlengths|xattrvalues|"
    "evmsig";

TEST_CASE("an entry relabelled as another template does not fit it", "[ima]") {
  // The name is covered by no PCR (attack A43). Templates with the same fields
  // can be told apart by nothing, and grant nothing.
  const std::vector<std::string> names = {
      "ima",        "ima-ng",  "ima-sig", "ima-ngv2", "ima-sigv2",
      "ima-modsig", "evm-sig", "ima-buf", "d|n",      kInodeFormat};
  const auto alike = [](absl::string_view a, absl::string_view b) {
    const auto has_one_extra = [](absl::string_view name) {
      return name == "ima-sig" || name == "ima-buf";
    };
    return a == b || (has_one_extra(a) && has_one_extra(b));
  };
  for (const RealList& list : RealLists()) {
    for (Entry entry : ParseWhole(list.binary)) {
      const absl::string_view real = entry.template_name;
      for (const std::string& name : names) {
        entry.template_name = name;
        CAPTURE(list.name, entry.index, name);
        CHECK(ParseFields(entry).ok() == alike(real, name));
      }
    }
  }
}

TEST_CASE("ima-ng and ima-sig", "[ima]") {
  const auto ng = Data({Sha256(), Path()});
  const auto fields = Parse("ima-ng", ng);
  REQUIRE_THAT(StatusOf(fields), IsOk());
  CHECK(fields->digest->type == DigestType::kFile);
  CHECK(fields->digest->algorithm_name == "sha256");
  CHECK(fields->digest->algorithm == HashAlgorithm::kSha256);
  CHECK(ToVector(fields->digest->bytes) == std::vector<uint8_t>(32, 0x42));
  CHECK(fields->path == "/usr/bin/x");
  CHECK(fields->signature.empty());
  CHECK_FALSE(fields->buffer.has_value());
  CHECK_FALSE(fields->modsig_digest);
  CHECK_FALSE(fields->inode_uid);

  const auto sig = Data({DigestNg("sha512", 64), Path(), "\x03\x02sig"});
  const auto signed_fields = Parse("ima-sig", sig);
  REQUIRE_THAT(StatusOf(signed_fields), IsOk());
  CHECK(signed_fields->digest->algorithm == HashAlgorithm::kSha512);
  CHECK(AsText(signed_fields->signature) == "\x03\x02sig");
}

TEST_CASE("the template \"ima\"", "[ima]") {
  std::vector<uint8_t> data(20, 0x42);
  Append(data, HexDecode("020000002f78").value());
  const auto fields = Parse("ima", data);
  REQUIRE_THAT(StatusOf(fields), IsOk());
  CHECK(fields->digest->algorithm == HashAlgorithm::kSha1);
  CHECK(fields->digest->algorithm_name == "sha1");
  CHECK(fields->digest->bytes.size() == 20);
  CHECK(fields->path == "/x");

  const auto with_name = [](const std::string& name) {
    std::vector<uint8_t> out(20, 0x42);
    Append(out, U32(static_cast<uint32_t>(name.size()), ByteOrder::kLittle));
    Append(out, AsBytes(name));
    return out;
  };
  CHECK_THAT(StatusOf(Parse("ima", with_name(std::string(255, 'a')))), IsOk());
  CHECK_THAT(StatusOf(Parse("ima", with_name(std::string(256, 'a')))),
             StatusIs(kInvalidArgument, "field n"));
  CHECK_THAT(StatusOf(Parse("ima", with_name(std::string("a\0b", 3)))),
             StatusIs(kInvalidArgument, "field n"));
  CHECK_THAT(StatusOf(Parse("ima", with_name(Nul("ab")))),
             StatusIs(kInvalidArgument, "field n"));
  for (size_t size = 0; size < data.size(); ++size) {
    CHECK_THAT(StatusOf(Parse(
                   "ima", std::vector<uint8_t>(
                              data.begin(),
                              data.begin() + static_cast<ptrdiff_t>(size)))),
               StatusIs(kInvalidArgument, "field "));
  }
  data.push_back(0);
  CHECK_THAT(StatusOf(Parse("ima", data)),
             StatusIs(kInvalidArgument, "left over"));
}

TEST_CASE("the version 2 digest says what it is of", "[ima]") {
  const auto file = Data({"ima:" + Sha256(), Path()});
  const auto fields = Parse("ima-ngv2", file);
  REQUIRE_THAT(StatusOf(fields), IsOk());
  CHECK(fields->digest->type == DigestType::kFile);
  CHECK(fields->digest->algorithm == HashAlgorithm::kSha256);
  const auto verity = Data({"verity:" + Sha256(), Path(), ""});
  const auto verity_fields = Parse("ima-sigv2", verity);
  REQUIRE_THAT(StatusOf(verity_fields), IsOk());
  CHECK(verity_fields->digest->type == DigestType::kVerity);
  CHECK(verity_fields->digest->algorithm_name == "sha256");
}

TEST_CASE("a name may be longer than any path, and no longer", "[ima]") {
  const auto name = [](size_t size) {
    return std::string(size, '/') + std::string(1, '\0');
  };
  const auto longest = Data({Sha256(), name(kMaxNameSize)});
  CHECK_THAT(StatusOf(Parse("ima-ng", longest)), IsOk());
  const auto longer = Data({Sha256(), name(kMaxNameSize + 1)});
  CHECK_THAT(StatusOf(Parse("ima-ng", longer)),
             StatusIs(kInvalidArgument, "longer than 8192 bytes"));
}

TEST_CASE("a digest of an unknown algorithm parses and has none", "[ima]") {
  for (const size_t size : {0U, 1U, 32U, 100U}) {
    const auto data = Data({DigestNg("sha9000", size), Path()});
    const auto fields = Parse("ima-ng", data);
    REQUIRE_THAT(StatusOf(fields), IsOk());
    CHECK_FALSE(fields->digest->algorithm.has_value());
    CHECK(fields->digest->algorithm_name == "sha9000");
    CHECK(fields->digest->bytes.size() == size);
  }
}

TEST_CASE("buffers and appended signatures", "[ima]") {
  const auto buf = Data({Sha256(), Path(), ""});
  const auto empty = Parse("ima-buf", buf);
  REQUIRE_THAT(StatusOf(empty), IsOk());
  CHECK(empty->buffer.has_value());  // empty, but there
  const auto modsig =
      Data({Sha256(), Path(), "", DigestNg("sha1", 20), "pkcs7"});
  const auto fields = Parse("ima-modsig", modsig);
  REQUIRE_THAT(StatusOf(fields), IsOk());
  CHECK(fields->modsig_digest->algorithm == HashAlgorithm::kSha1);
  CHECK(AsText(fields->modsig) == "pkcs7");
  const auto without = Data({Sha256(), Path(), "sig", "", ""});
  const auto unsigned_fields = Parse("ima-modsig", without);
  REQUIRE_THAT(StatusOf(unsigned_fields), IsOk());
  CHECK_FALSE(unsigned_fields->modsig_digest.has_value());
}

// The fields of an evm-sig entry with two extended attributes.
std::vector<std::string> EvmFields() {
  return {Sha256(),
          Path(),
          "\x05portable",
          Nul("security.ima|security.selinux"),
          Bytes("0300000002000000"),
          "abcde",
          Bytes("e8030000"),
          Bytes("64000000"),
          Bytes("ed81")};
}

TEST_CASE("evm-sig", "[ima]") {
  const auto data = Data(EvmFields());
  const auto fields = Parse("evm-sig", data);
  REQUIRE_THAT(StatusOf(fields), IsOk());
  CHECK(AsText(fields->evm_signature) == "\x05portable");
  CHECK(fields->xattr_names == "security.ima|security.selinux");
  CHECK(fields->xattr_lengths.size() == 8);
  CHECK(AsText(fields->xattr_values) == "abcde");
  CHECK(fields->inode_uid == 1000U);
  CHECK(fields->inode_gid == 100U);
  CHECK(fields->inode_mode == 0100755);

  const auto nothing = Data({Sha256(), Path(), "", "", "", "", "", "", ""});
  const auto no_file = Parse("evm-sig", nothing);
  REQUIRE_THAT(StatusOf(no_file), IsOk());
  CHECK_FALSE(no_file->inode_uid.has_value());
  CHECK_FALSE(no_file->inode_mode.has_value());
}

TEST_CASE("one wrong field is refused and named", "[ima]") {
  struct Case {
    const char* description;
    const char* name;
    std::vector<std::string> fields;
    size_t changed;
    std::string value;
    const char* message;
  };
  const std::vector<std::string> ng = {Sha256(), Path()};
  const std::vector<std::string> v2 = {"ima:" + Sha256(), Path()};
  const std::vector<std::string> d_n = {std::string(20, 'd'), Path()};
  const std::vector<std::string> modsig = {Sha256(), Path(), "",
                                           DigestNg("sha256", 32), "p"};
  const std::vector<std::string> evm = EvmFields();
  const std::vector<Case> cases = {
      {"empty digest", "ima-ng", ng, 0, "", "field d-ng "},
      {"31 bytes of SHA-256", "ima-ng", ng, 0, DigestNg("sha256", 31),
       "field d-ng digest is not of"},
      {"33 bytes of SHA-256", "ima-ng", ng, 0, DigestNg("sha256", 33),
       "field d-ng digest is not of"},
      {"no bytes of SHA-256", "ima-ng", ng, 0, DigestNg("sha256", 0),
       "field d-ng digest is not of"},
      {"32 bytes of SHA-1", "ima-ng", ng, 0, DigestNg("sha1", 32),
       "field d-ng digest is not of"},
      {"no colon", "ima-ng", ng, 0, std::string(40, 'x'), "no algorithm"},
      {"no algorithm", "ima-ng", ng, 0, DigestNg("", 20), "no algorithm"},
      {"algorithm with a space", "ima-ng", ng, 0, DigestNg("sha 256", 32),
       "not printable"},
      {"algorithm with a NUL", "ima-ng", ng, 0,
       DigestNg(std::string("sha\0x", 5), 32), "not printable"},
      {"no NUL", "ima-ng", ng, 0, "sha256:" + std::string(33, 'x'),
       "no NUL after"},
      {"nothing after the colon", "ima-ng", ng, 0, "sha256:", "no NUL after"},
      {"version 2 digest in d-ng", "ima-ng", ng, 0, "ima:" + Sha256(),
       "no NUL after"},
      {"plain digest in d-ngv2", "ima-ngv2", v2, 0, Sha256(),
       "field d-ngv2 neither \"ima:\""},
      {"other prefix in d-ngv2", "ima-ngv2", v2, 0, "imb:" + Sha256(),
       "field d-ngv2 neither"},
      {"two prefixes in d-ngv2", "ima-ngv2", v2, 0, "ima:ima:" + Sha256(),
       "field d-ngv2 no NUL"},
      {"wrong size in d-ngv2", "ima-ngv2", v2, 0,
       "verity:" + DigestNg("sha256", 20), "field d-ngv2 digest is not of"},
      {"empty path without its NUL", "ima-ng", ng, 1, "", "field n-ng "},
      {"path without NUL", "ima-ng", ng, 1, "/x", "field n-ng does not end"},
      {"path with two NULs", "ima-ng", ng, 1, Nul(Nul("/x")),
       "field n-ng has a NUL inside"},
      {"path with a NUL inside", "ima-ng", ng, 1, std::string("/x\0y\0", 5),
       "field n-ng has a NUL inside"},
      {"19 bytes in d", "d|n", d_n, 0, std::string(19, 'd'), "field d "},
      {"32 bytes in d", "d|n", d_n, 0, std::string(32, 'd'), "field d "},
      {"256 bytes in n", "d|n", d_n, 1, Nul(std::string(256, 'a')),
       "field n longer than 255"},
      {"no NUL in n", "d|n", d_n, 1, "/x", "field n does not end"},
      {"wrong d-modsig", "ima-modsig", modsig, 3, DigestNg("sha256", 20),
       "field d-modsig digest is not of"},
      {"names without NUL", "evm-sig", evm, 3, "security.ima|security.selinux",
       "field xattrnames does not end"},
      {"only a NUL for names", "evm-sig", evm, 3, Nul(""),
       "field xattrnames has an empty"},
      {"empty first name", "evm-sig", evm, 3, Nul("|security.ima"),
       "field xattrnames has an empty"},
      {"empty last name", "evm-sig", evm, 3, Nul("security.ima|"),
       "field xattrnames has an empty"},
      {"empty middle name", "evm-sig", evm, 3, Nul("a||b"),
       "field xattrnames has an empty"},
      {"one name less", "evm-sig", evm, 3, Nul("security.ima"),
       "field xattrlengths has another number"},
      {"no names", "evm-sig", evm, 3, "",
       "field xattrlengths has another number"},
      {"lengths cut", "evm-sig", evm, 4, Bytes("03000000020000"),
       "field xattrlengths is no array"},
      {"one length less", "evm-sig", evm, 4, Bytes("05000000"),
       "field xattrlengths has another number"},
      {"sum too large", "evm-sig", evm, 4, Bytes("0300000003000000"),
       "field xattrlengths does not add up"},
      {"sum that wraps", "evm-sig", evm, 4, Bytes("ffffffff06000000"),
       "field xattrlengths does not add up"},
      {"value too long", "evm-sig", evm, 5, "abcdef",
       "field xattrlengths does not add up"},
      {"uid of 2 bytes", "evm-sig", evm, 6, Bytes("e803"), "field iuid "},
      {"gid of 8 bytes", "evm-sig", evm, 7, Bytes("6400000000000000"),
       "field igid "},
      {"mode of 4 bytes", "evm-sig", evm, 8, Bytes("ed810000"), "field imode "},
  };
  for (const Case& c : cases) {
    CAPTURE(c.description);
    REQUIRE_THAT(StatusOf(Parse(c.name, Data(c.fields))), IsOk());
    std::vector<std::string> fields = c.fields;
    fields[c.changed] = c.value;
    CHECK_THAT(StatusOf(Parse(c.name, Data(fields))),
               StatusIs(kInvalidArgument, c.message));
  }
}

TEST_CASE("extreme field sizes are refused", "[ima]") {
  for (const char* size : {"ffffffff", "29000000", "00000080"}) {
    std::vector<uint8_t> data = Data({Sha256(), Path()});
    std::ranges::copy(HexDecode(size).value(), data.begin());
    CHECK_THAT(StatusOf(Parse("ima-ng", data)), StatusIs(kInvalidArgument));
  }
}

TEST_CASE("an unknown template is unimplemented, whatever its data", "[ima]") {
  for (const char* name : {"ima-future", "d-ng|n-ng|what", "d-ng|n-ng|n-ng"}) {
    CAPTURE(name);
    CHECK_FALSE(FindTemplateFormat(name).has_value());
    CHECK_THAT(StatusOf(Parse(name, Data({Sha256(), Path()}))),
               StatusIs(kUnimplemented, name));
  }
  CHECK(FindTemplateFormat("ima-ng").has_value());
  CHECK(FindTemplateFormat("d-ng|n-ng").has_value());
}

TEST_CASE("custom formats take their fields in their own order", "[ima]") {
  const auto data = Data({Path(), Bytes("ed81"), Sha256()});
  const auto fields = Parse("n-ng|imode|d-ng", data);
  REQUIRE_THAT(StatusOf(fields), IsOk());
  CHECK(fields->path == "/usr/bin/x");
  CHECK(fields->inode_mode == 0100755);
  CHECK(fields->digest->algorithm == HashAlgorithm::kSha256);
  // MD5 is the other algorithm that `d` can have.
  const auto md5 = Data({std::string(16, 'd')});
  const auto md5_fields = Parse("d", md5);
  REQUIRE_THAT(StatusOf(md5_fields), IsOk());
  CHECK(md5_fields->digest->algorithm == HashAlgorithm::kMd5);
  CHECK(md5_fields->path.empty());
  // Lengths alone can be checked against nothing.
  CHECK_THAT(StatusOf(Parse("xattrlengths", Data({Bytes("ffffffff")}))),
             IsOk());
  CHECK_THAT(StatusOf(Parse("xattrvalues|xattrlengths",
                            Data({"abc", Bytes("04000000")}))),
             StatusIs(kInvalidArgument, "add up"));
}

}  // namespace
}  // namespace cupel::ima
