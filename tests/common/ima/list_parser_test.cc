#include "common/ima/list_parser.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "common/util/hex.h"
#include "tests/support/real_lists.h"
#include "tests/support/status_matchers.h"

namespace cupel::ima {
namespace {

using ::cupel::testing::IsOk;
using ::cupel::testing::ParseWhole;
using ::cupel::testing::RealList;
using ::cupel::testing::RealListNamed;
using ::cupel::testing::RealLists;
using ::cupel::testing::StatusIs;
using ::cupel::testing::ToBigEndian;
using enum absl::StatusCode;

std::vector<uint8_t> Hex(absl::string_view hex) {
  return HexDecode(hex).value();
}

// PCR 10, template "ima-ng", four bytes of template data.
constexpr char kPcr[] = "0a000000";
constexpr char kDigest[] = "1d8d532d463c9f8c205d0df7787669a85f93e260";
constexpr char kName[] = "06000000696d612d6e67";
constexpr char kData[] = "04000000deadbeef";
// PCR 10, the template "ima", the file name "/x".
constexpr char kLegacyName[] = "03000000696d61";
constexpr char kLegacyFile[] = "020000002f78";

std::string Record() { return absl::StrCat(kPcr, kDigest, kName, kData); }
std::string LegacyRecord() {
  return absl::StrCat(kPcr, kDigest, kLegacyName, kDigest, kLegacyFile);
}

// An entry with its own copies, to outlive the call that gave it.
struct OwnedEntry {
  uint32_t pcr;
  std::vector<uint8_t> template_digest;
  std::string template_name;
  std::vector<uint8_t> template_data;
  uint64_t index;
  uint64_t offset;
  uint32_t record_size;

  explicit OwnedEntry(const Entry& e)
      : pcr(e.pcr),
        template_digest(ToVector(e.template_digest)),
        template_name(e.template_name),
        template_data(ToVector(e.template_data)),
        index(e.index),
        offset(e.offset),
        record_size(e.record_size) {}
  friend bool operator==(const OwnedEntry&, const OwnedEntry&) = default;
};

struct Parsed {
  std::vector<OwnedEntry> entries;
  std::vector<size_t> batch_sizes;
  absl::Status feed;
  absl::Status finish;
  uint64_t entry_count = 0;
  uint64_t byte_offset = 0;
};

// Feeds `list` in pieces of the sizes that `next_size` gives.
template <typename NextSize>
Parsed ParsePieces(std::span<const uint8_t> list, const ListOptions& options,
                   NextSize next_size) {
  Parsed parsed;
  ListParser parser(options);
  const auto keep = [&parsed](std::span<const Entry> batch) {
    parsed.batch_sizes.push_back(batch.size());
    for (const Entry& entry : batch) parsed.entries.emplace_back(entry);
    return absl::OkStatus();
  };
  // Each piece in memory of its own, which is gone when the next is fed: an
  // entry that aliased an earlier one would show under ASan.
  while (!list.empty() && parsed.feed.ok()) {
    const size_t size = std::min(next_size(), list.size());
    const std::vector<uint8_t> piece = ToVector(list.first(size));
    parsed.feed = parser.Feed(piece, keep);
    list = list.subspan(size);
  }
  parsed.finish = parser.Finish();
  parsed.entry_count = parser.entry_count();
  parsed.byte_offset = parser.byte_offset();
  return parsed;
}

Parsed Parse(std::span<const uint8_t> list, const ListOptions& options = {}) {
  return ParsePieces(list, options, [&] { return list.size(); });
}

void CheckSame(const Parsed& a, const Parsed& b) {
  CHECK(a.entries == b.entries);
  CHECK(a.feed == b.feed);
  CHECK(a.finish == b.finish);
  CHECK(a.entry_count == b.entry_count);
  CHECK(a.byte_offset == b.byte_offset);
}

TEST_CASE("an empty list has no entries", "[ima]") {
  const Parsed parsed = Parse({});
  CHECK_THAT(parsed.finish, IsOk());
  CHECK(parsed.entries.empty());
  CHECK(parsed.byte_offset == 0);
}

TEST_CASE("every member of an entry is read", "[ima]") {
  const Parsed parsed = Parse(Hex(absl::StrCat(Record(), LegacyRecord())));
  REQUIRE_THAT(parsed.finish, IsOk());
  REQUIRE(parsed.entries.size() == 2);
  const OwnedEntry& entry = parsed.entries[0];
  CHECK(entry.pcr == 10);
  CHECK(entry.template_digest == Hex(kDigest));
  CHECK(entry.template_name == "ima-ng");
  CHECK(entry.template_data == Hex("deadbeef"));
  CHECK(entry.index == 0);
  CHECK(entry.offset == 0);
  CHECK(entry.record_size == 42);
  const OwnedEntry& legacy = parsed.entries[1];
  CHECK(legacy.template_name == "ima");
  CHECK(legacy.template_data == Hex(absl::StrCat(kDigest, kLegacyFile)));
  CHECK(legacy.index == 1);
  CHECK(legacy.offset == 42);
  CHECK(legacy.record_size == 57);
  CHECK(parsed.entry_count == 2);
  CHECK(parsed.byte_offset == 99);
}

TEST_CASE("a resumed list counts on", "[ima]") {
  ListOptions options;
  options.first_index = 7;
  options.first_offset = uint64_t{5} << 32;
  const Parsed parsed = Parse(Hex(Record()), options);
  REQUIRE(parsed.entries.size() == 1);
  CHECK(parsed.entries[0].index == 7);
  CHECK(parsed.entries[0].offset == uint64_t{5} << 32);
  CHECK(parsed.entry_count == 8);
  CHECK(parsed.byte_offset == (uint64_t{5} << 32) + 42);
}

TEST_CASE("an entry within a chunk aliases it", "[ima]") {
  const std::vector<uint8_t> list = Hex(Record());
  ListParser parser(ListOptions{});
  const auto sink = [&list](std::span<const Entry> batch) {
    CHECK(batch[0].template_data.data() == list.data() + 38);
    return absl::OkStatus();
  };
  CHECK_THAT(parser.Feed(list, sink), IsOk());
  CHECK(parser.entry_count() == 1);
}

TEST_CASE("every proper prefix of a list is refused by Finish", "[ima]") {
  const std::vector<uint8_t> list =
      Hex(absl::StrCat(Record(), LegacyRecord(), Record()));
  for (size_t size = 1; size < list.size(); ++size) {
    CAPTURE(size);
    const Parsed parsed = Parse(std::span(list).first(size));
    CHECK_THAT(parsed.feed, IsOk());
    const bool whole = size == 42 || size == 99;
    CHECK_THAT(parsed.finish,
               whole ? IsOk()
                     : StatusIs(kInvalidArgument,
                                absl::StrCat("IMA entry ", size < 42   ? 0
                                                           : size < 99 ? 1
                                                                       : 2)));
    CHECK(parsed.entry_count == (size < 42 ? 0 : size < 99 ? 1 : 2));
  }
}

TEST_CASE("every prefix of a real list ends where a record ends, or is refused",
          "[ima]") {
  for (const char* name : {"legacy-ima-template", "evmsig-signed"}) {
    const std::vector<uint8_t>& list = RealListNamed(name).binary;
    std::vector<bool> boundary(list.size() + 1);
    for (const Entry& entry : ParseWhole(list)) boundary[entry.offset] = true;
    boundary[list.size()] = true;
    // One parser, fed byte by byte, is asked after each.
    ListParser parser(ListOptions{});
    size_t wrong = 0;
    for (size_t size = 0; size < list.size(); ++size) {
      wrong += parser.Finish().ok() != boundary[size];
      REQUIRE_THAT(parser.Feed(std::span(list).subspan(size, 1),
                               [](auto) { return absl::OkStatus(); }),
                   IsOk());
    }
    CHECK_THAT(parser.Finish(), IsOk());
    CHECK(wrong == 0);
  }
}

TEST_CASE("malformed records are refused with entry, offset and field",
          "[ima]") {
  struct Case {
    const char* description;
    std::string hex;  // after one valid record
    absl::StatusCode code;
    const char* message;
  };
  const auto& c = GENERATE(values<Case>({
      {"PCR 24", "18000000", kInvalidArgument, "pcr: 24"},
      {"PCR 2^32-1", "ffffffff", kInvalidArgument, "pcr: 4294967295"},
      {"ASCII", "31302038", kInvalidArgument, "pcr: "},
      {"name size 2^32-1", absl::StrCat(kPcr, kDigest, "ffffffff"),
       kResourceExhausted, "template_name: 4294967295 bytes, limit 256"},
      {"name size 257", absl::StrCat(kPcr, kDigest, "01010000"),
       kResourceExhausted, "template_name: 257 bytes"},
      {"name empty", absl::StrCat(kPcr, kDigest, "00000000"), kInvalidArgument,
       "template_name: empty"},
      {"name with NUL", absl::StrCat(kPcr, kDigest, "020000006100"),
       kInvalidArgument, "template_name: not printable"},
      {"name with space", absl::StrCat(kPcr, kDigest, "020000006120"),
       kInvalidArgument, "template_name: not printable"},
      {"name with newline", absl::StrCat(kPcr, kDigest, "020000000a61"),
       kInvalidArgument, "template_name: not printable"},
      {"name with DEL", absl::StrCat(kPcr, kDigest, "02000000617f"),
       kInvalidArgument, "template_name: not printable"},
      {"name with high byte", absl::StrCat(kPcr, kDigest, "0200000080ff"),
       kInvalidArgument, "template_name: not printable"},
      {"data size 2^32-1", absl::StrCat(kPcr, kDigest, kName, "ffffffff"),
       kResourceExhausted, "template_data: 4294967295 bytes, limit 1048576"},
      {"data size 2^20+1", absl::StrCat(kPcr, kDigest, kName, "01001000"),
       kResourceExhausted, "template_data: 1048577 bytes"},
      {"legacy file name size 256",
       absl::StrCat(kPcr, kDigest, kLegacyName, kDigest, "00010000"),
       kInvalidArgument, "file name: 256 bytes"},
      {"legacy file name size 2^32-1",
       absl::StrCat(kPcr, kDigest, kLegacyName, kDigest, "ffffffff"),
       kInvalidArgument, "file name: 4294967295 bytes"},
  }));
  CAPTURE(c.description);
  const std::vector<uint8_t> list = Hex(absl::StrCat(Record(), c.hex));
  const Parsed parsed = Parse(list);
  CHECK_THAT(parsed.feed, StatusIs(c.code, c.message));
  CHECK_THAT(parsed.feed, StatusIs(c.code, "IMA entry 1 at offset 42: "));
  CHECK(parsed.finish == parsed.feed);
  CHECK(parsed.entries.size() == 1);
  CHECK(parsed.entry_count == 1);
  // The same, and no later, when the offending field is all that has arrived;
  // and however it arrived.
  CheckSame(parsed, ParsePieces(list, {}, [] { return size_t{1}; }));
  CHECK_THAT(Parse(std::span(list).first(list.size() - 1)).feed, IsOk());
}

TEST_CASE("limits are exact", "[ima]") {
  const std::vector<uint8_t> list = Hex(absl::StrCat(Record(), Record()));
  ListOptions options;
  SECTION("entries") {
    options.limits.max_entries = 2;
    CHECK_THAT(Parse(list, options).finish, IsOk());
    options.limits.max_entries = 1;
    const Parsed parsed = Parse(list, options);
    CHECK_THAT(parsed.feed,
               StatusIs(kResourceExhausted, "more than 1 entries"));
    CHECK(parsed.entry_count == 1);
    CheckSame(parsed, ParsePieces(list, options, [] { return size_t{1}; }));
  }
  SECTION("entries of a resumed list") {
    options.limits.max_entries = 9;
    options.first_index = 7;
    CHECK_THAT(Parse(list, options).finish, IsOk());
    options.first_index = 8;
    CHECK_THAT(Parse(list, options).feed, StatusIs(kResourceExhausted));
    options.first_index = std::numeric_limits<uint64_t>::max();
    CHECK_THAT(Parse(list, options).feed, StatusIs(kResourceExhausted));
  }
  SECTION("template name") {
    options.limits.max_template_name_size = 6;
    CHECK_THAT(Parse(list, options).finish, IsOk());
    options.limits.max_template_name_size = 5;
    CHECK_THAT(Parse(list, options).feed,
               StatusIs(kResourceExhausted, "template_name: 6 bytes, limit 5"));
  }
  SECTION("template data") {
    options.limits.max_template_data_size = 4;
    CHECK_THAT(Parse(list, options).finish, IsOk());
    options.limits.max_template_data_size = 3;
    CHECK_THAT(Parse(list, options).feed,
               StatusIs(kResourceExhausted, "template_data: 4 bytes, limit 3"));
  }
  SECTION("sizes beyond any record") {
    options.limits.max_template_name_size = std::numeric_limits<size_t>::max();
    options.limits.max_template_data_size = std::numeric_limits<size_t>::max();
    CHECK_THAT(Parse(list, options).finish, IsOk());
    CHECK_THAT(
        Parse(Hex(absl::StrCat(kPcr, kDigest, kName, "ffffffff")), options)
            .feed,
        StatusIs(kResourceExhausted, "limit 1073741824"));
  }
  SECTION("legacy file name") {
    const std::string name(2 * 255, 'a');
    CHECK_THAT(Parse(Hex(absl::StrCat(kPcr, kDigest, kLegacyName, kDigest,
                                      "ff000000", name)))
                   .finish,
               IsOk());
  }
}

TEST_CASE("PCR 0 and PCR 23 are PCRs", "[ima]") {
  for (const char* pcr : {"00000000", "17000000"}) {
    CHECK_THAT(Parse(Hex(absl::StrCat(pcr, kDigest, kName, kData))).finish,
               IsOk());
  }
}

TEST_CASE("the template digest is as wide as its bank", "[ima]") {
  for (const size_t size : {20U, 32U, 48U, 64U}) {
    ListOptions options;
    options.template_digest_size = size;
    const std::string digest(2 * size, 'a');
    const Parsed parsed =
        Parse(Hex(absl::StrCat(kPcr, digest, kName, kData)), options);
    REQUIRE_THAT(parsed.finish, IsOk());
    REQUIRE(parsed.entries.size() == 1);
    CHECK(parsed.entries[0].template_digest == Hex(digest));
    CHECK(parsed.entries[0].template_data == Hex("deadbeef"));
  }
  for (const size_t size : {0U, 16U, 19U, 21U, 65U}) {
    ListOptions options;
    options.template_digest_size = size;
    CHECK_THAT(Parse(Hex(Record()), options).feed, StatusIs(kInvalidArgument));
    CHECK_THAT(Parse({}, options).finish, StatusIs(kInvalidArgument));
  }
}

TEST_CASE("an error stays", "[ima]") {
  ListParser parser(ListOptions{});
  size_t calls = 0;
  const auto count = [&calls](std::span<const Entry>) {
    ++calls;
    return absl::OkStatus();
  };
  const absl::Status error = parser.Feed(Hex("ff000000"), count);
  CHECK_THAT(error, StatusIs(kInvalidArgument));
  CHECK(parser.Feed(Hex(Record()), count) == error);
  CHECK(parser.Feed({}, count) == error);
  CHECK(parser.Finish() == error);
  CHECK(calls == 0);
}

TEST_CASE("what the sink says ends the parsing", "[ima]") {
  std::string hex;
  for (int i = 0; i < 300; ++i) absl::StrAppend(&hex, Record());
  const std::vector<uint8_t> list = Hex(hex);
  ListParser parser(ListOptions{});
  size_t calls = 0;
  const auto refuse_second = [&calls](std::span<const Entry>) {
    return ++calls == 2 ? absl::AbortedError("enough") : absl::OkStatus();
  };
  CHECK_THAT(parser.Feed(list, refuse_second), StatusIs(kAborted, "enough"));
  // The batch that was refused does not count.
  CHECK(parser.entry_count() == 256);
  CHECK(parser.byte_offset() == 256 * 42);
  CHECK_THAT(parser.Feed(list, refuse_second), StatusIs(kAborted, "enough"));
  CHECK(calls == 2);
}

TEST_CASE("batches have 1 to 256 entries", "[ima]") {
  std::string hex;
  for (int i = 0; i < 513; ++i) absl::StrAppend(&hex, Record());
  const std::vector<uint8_t> list = Hex(hex);
  CHECK(Parse(list).batch_sizes == std::vector<size_t>{256, 256, 1});
  // A record that spans chunks comes with the ones after it.
  size_t piece = 0;
  const Parsed cut = ParsePieces(
      list, {}, [&piece] { return piece++ == 0 ? size_t{21} : 257U * 42U; });
  CHECK(cut.batch_sizes == std::vector<size_t>{256, 1, 256});
  CHECK(cut.entry_count == 513);
}

TEST_CASE("how a real list is cut into chunks changes nothing", "[ima]") {
  for (const RealList& list : RealLists()) {
    CAPTURE(list.name);
    const Parsed whole = Parse(list.binary);
    REQUIRE_THAT(whole.finish, IsOk());
    // Every size up to three of the largest records of most lists, then
    // sparser.
    const size_t max = std::min<size_t>(list.binary.size(), 4000);
    for (size_t size = 1; size <= max; size += size < 300 ? 1 : 97) {
      CAPTURE(size);
      CheckSame(whole, ParsePieces(list.binary, {}, [size] { return size; }));
    }
    std::mt19937 random(1);
    for (int round = 0; round < 20; ++round) {
      CheckSame(whole, ParsePieces(list.binary, {}, [&random]() -> size_t {
                  return random() % 200;  // 0 too
                }));
    }
  }
}

TEST_CASE("one cut anywhere in a real list changes nothing", "[ima]") {
  const RealList& list = RealListNamed("legacy-ima-template");
  const Parsed whole = Parse(list.binary);
  for (size_t cut = 0; cut <= list.binary.size(); ++cut) {
    CAPTURE(cut);
    bool first = true;
    CheckSame(whole, ParsePieces(list.binary, {}, [&] {
                const size_t size = first ? cut : list.binary.size();
                first = false;
                return size;
              }));
  }
}

TEST_CASE("every real list has the entries that its text has", "[ima]") {
  size_t entries = 0;
  for (const RealList& list : RealLists()) {
    CAPTURE(list.name);
    const Parsed parsed = Parse(list.binary);
    REQUIRE_THAT(parsed.finish, IsOk());
    const auto lines =
        static_cast<size_t>(std::ranges::count(list.ascii, '\n'));
    CHECK(parsed.entries.size() == lines - (list.HasNewlineName() ? 1 : 0));
    CHECK(parsed.byte_offset == list.binary.size());
    entries += parsed.entries.size();
  }
  CHECK(entries == 1664);
}

TEST_CASE("a big-endian list has the same entries", "[ima]") {
  ListOptions big;
  big.byte_order = ByteOrder::kBig;
  for (const RealList& list : RealLists()) {
    CAPTURE(list.name);
    const std::vector<uint8_t> reversed = ToBigEndian(list.binary);
    const Parsed expected = Parse(list.binary);
    const Parsed parsed = Parse(reversed, big);
    REQUIRE_THAT(parsed.finish, IsOk());
    REQUIRE(parsed.entries.size() == expected.entries.size());
    for (size_t i = 0; i < parsed.entries.size(); ++i) {
      OwnedEntry entry = parsed.entries[i];
      CHECK(entry.template_data.size() ==
            expected.entries[i].template_data.size());
      // The sizes inside are in the other order, the rest is the same.
      entry.template_data = expected.entries[i].template_data;
      CHECK(entry == expected.entries[i]);
    }
    // Neither order is ever tried for the other.
    CHECK_THAT(Parse(reversed).feed, StatusIs(kInvalidArgument, "pcr: "));
    CHECK_THAT(Parse(list.binary, big).feed,
               StatusIs(kInvalidArgument, "pcr: "));
  }
}

TEST_CASE("a record far larger than its chunks is put together", "[ima]") {
  const std::string data(2 * (size_t{1} << 20), 'a');
  const std::vector<uint8_t> list = Hex(
      absl::StrCat(Record(), kPcr, kDigest, kName, "00001000", data, Record()));
  const Parsed whole = Parse(list);
  REQUIRE_THAT(whole.finish, IsOk());
  CHECK(whole.entries.size() == 3);
  CheckSame(whole, ParsePieces(list, {}, [] { return size_t{4095}; }));
}

TEST_CASE("a million entries in chunks of 64 KiB", "[ima]") {
  constexpr uint32_t kEntries = 1'000'000;
  constexpr size_t kChunk = 64 << 10;
  // Written as it is parsed, with the entry's number for its data, padded to
  // sizes that no chunk divides.
  std::vector<uint8_t> pending;
  const std::vector<uint8_t> head = Hex(absl::StrCat(kPcr, kDigest, kName));
  uint64_t expected = 0;
  bool same = true;
  const auto check = [&](std::span<const Entry> batch) {
    for (const Entry& entry : batch) {
      uint32_t number = 0;
      for (size_t i = 4; i-- > 0;)
        number = number << 8 | entry.template_data[i];
      same = same && number == expected && entry.index == expected &&
             entry.template_data.size() == 4 + expected % 61;
      ++expected;
    }
    return absl::OkStatus();
  };
  ListParser parser(ListOptions{});
  uint64_t total = 0;
  for (uint32_t i = 0; i < kEntries; ++i) {
    Append(pending, head);
    const uint32_t size = 4 + i % 61;
    for (const uint32_t value : {size, i}) {
      for (size_t b = 0; b < 4; ++b) {
        pending.push_back(static_cast<uint8_t>(value >> 8 * b));
      }
    }
    pending.resize(pending.size() + i % 61);
    if (pending.size() >= kChunk || i + 1 == kEntries) {
      const std::span<const uint8_t> chunk =
          std::span(pending).first(std::min(pending.size(), kChunk));
      REQUIRE_THAT(parser.Feed(chunk, check), IsOk());
      total += chunk.size();
      pending.erase(pending.begin(),
                    pending.begin() + static_cast<ptrdiff_t>(chunk.size()));
    }
  }
  REQUIRE_THAT(parser.Feed(pending, check), IsOk());
  total += pending.size();
  CHECK_THAT(parser.Finish(), IsOk());
  CHECK(same);
  CHECK(parser.entry_count() == kEntries);
  CHECK(parser.byte_offset() == total);
}

TEST_CASE("an all-zero template digest is a violation", "[ima]") {
  size_t violations = 0;
  for (const Entry& entry :
       ParseWhole(RealListNamed("ng-tcb-violations").binary)) {
    if (entry.IsViolation()) ++violations;
  }
  CHECK(violations == 5);
}

}  // namespace
}  // namespace cupel::ima
