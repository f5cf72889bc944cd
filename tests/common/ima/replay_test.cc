#include "common/ima/replay.h"

#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "common/ima/list_parser.h"
#include "common/util/bytes.h"
#include "tests/support/list_builder.h"
#include "tests/support/status_matchers.h"

namespace cupel::ima {
namespace {

using ::cupel::crypto::Digest;
using ::cupel::crypto::HashAlgorithm;
using ::cupel::testing::FileDigestOf;
using ::cupel::testing::IsOk;
using ::cupel::testing::ListBuilder;
using ::cupel::testing::StatusIs;
using ::cupel::testing::StatusOf;

constexpr HashAlgorithm kBanks[] = {
    HashAlgorithm::kSha1, HashAlgorithm::kSha256, HashAlgorithm::kSha384,
    HashAlgorithm::kSha512};

std::vector<Entry> Parse(const std::vector<uint8_t>& list) {
  std::vector<Entry> entries;
  ListParser parser{ListOptions{}};
  REQUIRE_THAT(parser.Feed(list,
                           [&](std::span<const Entry> batch) {
                             entries.insert(entries.end(), batch.begin(),
                                            batch.end());
                             return absl::OkStatus();
                           }),
               IsOk());
  REQUIRE_THAT(parser.Finish(), IsOk());
  return entries;
}

Replayer Make(std::vector<Bank> banks) {
  auto replayer = Replayer::Create(std::move(banks));
  REQUIRE_THAT(StatusOf(replayer), IsOk());
  return *std::move(replayer);
}

// `count` entries, some of them violations, legacy or on PCR 11.
ListBuilder MixedList(int count) {
  ListBuilder list;
  for (int i = 0; i < count; ++i) {
    const std::string path = absl::StrCat(
        "/usr/bin/", std::string(static_cast<size_t>(i % 90), 'x'), i);
    if (i % 13 == 5) {
      list.AddViolation(path);
    } else if (i % 11 == 4) {
      list.AddLegacy(path, FileDigestOf(path, HashAlgorithm::kSha1));
    } else if (i % 7 == 6) {
      list.AddFile(path, FileDigestOf(path), /*pcr=*/11);
    } else {
      list.AddFile(path, FileDigestOf(path));
    }
  }
  return list;
}

std::vector<ReplayTarget::Value> StateOf(const Replayer& replayer) {
  std::vector<ReplayTarget::Value> values;
  for (const Bank& bank : replayer.banks()) {
    for (uint32_t pcr = 0; pcr < kPcrCount; ++pcr) {
      if (!replayer.extended_pcrs()[pcr]) continue;
      values.push_back(
          {bank.algorithm, pcr, replayer.Value(bank.algorithm, pcr)});
    }
  }
  return values;
}

TEST_CASE("a replay goes on from a state that was put away", "[ima]") {
  const ListBuilder list = MixedList(200);
  const std::vector<Entry> entries = Parse(list.bytes());
  const std::vector<Bank> banks = {
      {HashAlgorithm::kSha1}, {HashAlgorithm::kSha256, BankFill::kPaddedSha1}};
  for (const size_t taken : {size_t{0}, size_t{90}}) {
    CAPTURE(taken);
    Replayer first = Make(banks);
    first.Extend(std::span(entries).first(taken));
    auto second = Replayer::FromState(banks, StateOf(first));
    REQUIRE_THAT(StatusOf(second), IsOk());
    CHECK(second->extended_pcrs() == first.extended_pcrs());
    first.Extend(std::span(entries).subspan(taken));
    second->Extend(std::span(entries).subspan(taken));
    for (const Bank& bank : banks) {
      for (const uint32_t pcr : {10U, 11U, 12U}) {
        CHECK(second->Value(bank.algorithm, pcr) ==
              first.Value(bank.algorithm, pcr));
      }
    }
  }
}

TEST_CASE("a state that no replay can have is refused", "[ima]") {
  const ListBuilder list = MixedList(20);
  const std::vector<Bank> banks = {{HashAlgorithm::kSha1},
                                   {HashAlgorithm::kSha256}};
  Replayer replayer = Make(banks);
  replayer.Extend(Parse(list.bytes()));
  std::vector<ReplayTarget::Value> values = StateOf(replayer);
  const auto refused = [&] {
    CHECK_THAT(StatusOf(Replayer::FromState(banks, values)),
               StatusIs(absl::StatusCode::kInvalidArgument, "replay state"));
  };
  SECTION("valid as it is") {
    CHECK_THAT(StatusOf(Replayer::FromState(banks, values)), IsOk());
  }
  SECTION("a value twice") {
    values.push_back(values.front());
    refused();
  }
  SECTION("a PCR in one bank only") {
    values.pop_back();
    refused();
  }
  SECTION("a PCR that there isn't") {
    values.front().pcr = kPcrCount;
    refused();
  }
  SECTION("a bank that there isn't") {
    values.front().bank = HashAlgorithm::kSha512;
    values.front().digest = Digest(HashAlgorithm::kSha512);
    refused();
  }
  SECTION("a digest of another algorithm") {
    values.front().digest = Digest(HashAlgorithm::kSha512);
    refused();
  }
  SECTION("no bank") {
    CHECK_THAT(StatusOf(Replayer::FromState({}, {})),
               StatusIs(absl::StatusCode::kInvalidArgument, "no PCR bank"));
  }
}

TEST_CASE("every bank and PCR is replayed on its own", "[ima]") {
  const ListBuilder list = MixedList(700);
  Replayer replayer = Make({{HashAlgorithm::kSha1},
                            {HashAlgorithm::kSha256},
                            {HashAlgorithm::kSha384},
                            {HashAlgorithm::kSha512}});
  replayer.Extend(Parse(list.bytes()));
  for (const HashAlgorithm bank : kBanks) {
    CAPTURE(HashAlgorithmName(bank));
    CHECK(replayer.Value(bank, 10) == list.Pcr(bank, 10));
    CHECK(replayer.Value(bank, 11) == list.Pcr(bank, 11));
    CHECK(replayer.Value(bank, 12) == Digest(bank));
  }
  CHECK(replayer.extended_pcrs() == PcrSet(1u << 10 | 1u << 11));
}

TEST_CASE("a bank may be filled with padded SHA-1 digests", "[ima]") {
  const ListBuilder list = ListBuilder().AddFile("/a", FileDigestOf("a"));
  const std::vector<Entry> entries = Parse(list.bytes());
  Replayer replayer = Make({{HashAlgorithm::kSha384, BankFill::kPaddedSha1}});
  replayer.Extend(entries);
  std::vector<uint8_t> padded = ToVector(entries[0].template_digest);
  padded.resize(48);
  Digest expected(HashAlgorithm::kSha384);
  crypto::ExtendPcr(expected, padded);
  CHECK(replayer.Value(HashAlgorithm::kSha384, 10) == expected);
  CHECK_FALSE(expected == list.Pcr(HashAlgorithm::kSha384));
}

TEST_CASE("entries in pieces give what they give at once", "[ima]") {
  const ListBuilder list = MixedList(600);
  const std::vector<Entry> entries = Parse(list.bytes());
  std::mt19937 random(3);
  for (int round = 0; round < 20; ++round) {
    Replayer replayer = Make({{HashAlgorithm::kSha256}});
    std::span<const Entry> rest = entries;
    while (!rest.empty()) {
      const size_t size = std::min<size_t>(rest.size(), random() % 300);
      replayer.Extend(rest.first(size));
      rest = rest.subspan(size);
      // A copy is a resumption point.
      const Replayer copy = replayer;
      replayer = copy;
    }
    CHECK(replayer.Value(HashAlgorithm::kSha256, 10) ==
          list.Pcr(HashAlgorithm::kSha256, 10));
  }
}

TEST_CASE("the first prefix that explains the values is found", "[ima]") {
  ListBuilder list;
  std::vector<Digest> after = {Digest(HashAlgorithm::kSha256)};
  for (int i = 0; i < 600; ++i) {
    list.AddFile(absl::StrCat("/f", i), FileDigestOf(absl::StrCat(i)));
    after.push_back(list.Pcr(HashAlgorithm::kSha256));
  }
  const std::vector<Entry> entries = Parse(list.bytes());
  for (const size_t want : {1U, 2U, 255U, 256U, 257U, 511U, 512U, 513U, 600U}) {
    CAPTURE(want);
    const auto target =
        ReplayTarget::FromValues({{HashAlgorithm::kSha256, 10, after[want]}});
    Replayer replayer = Make({{HashAlgorithm::kSha256}});
    CHECK_FALSE(replayer.Explains(target));
    CHECK(replayer.ExtendUntil(entries, target) == want);
    CHECK(replayer.Explains(target));
    CHECK(replayer.Value(HashAlgorithm::kSha256, 10) == after[want]);
    // What is left can be added later.
    replayer.Extend(std::span(entries).subspan(want));
    CHECK(replayer.Value(HashAlgorithm::kSha256, 10) == after[600]);
  }
}

TEST_CASE("no prefix explains a value that is off by one bit", "[ima]") {
  const ListBuilder list = MixedList(50);
  Digest wrong = list.Pcr(HashAlgorithm::kSha256);
  wrong.mutable_bytes()[31] ^= 1;
  Replayer replayer = Make({{HashAlgorithm::kSha256}});
  CHECK(replayer.ExtendUntil(
            Parse(list.bytes()),
            ReplayTarget::FromValues({{HashAlgorithm::kSha256, 10, wrong}})) ==
        std::nullopt);
}

TEST_CASE("all wanted values have to fit at one and the same prefix", "[ima]") {
  ListBuilder list;
  list.AddFile("/a", FileDigestOf("a")).AddFile("/b", FileDigestOf("b"), 11);
  const Digest pcr10 = list.Pcr(HashAlgorithm::kSha256, 10);
  const Digest pcr11 = list.Pcr(HashAlgorithm::kSha256, 11);
  const Digest sha1 = list.Pcr(HashAlgorithm::kSha1, 10);
  list.AddFile("/c", FileDigestOf("c"));
  const std::vector<Entry> entries = Parse(list.bytes());
  const std::vector<Bank> banks = {{HashAlgorithm::kSha256},
                                   {HashAlgorithm::kSha1}};
  SECTION("they do") {
    Replayer replayer = Make(banks);
    CHECK(replayer.ExtendUntil(entries,
                               ReplayTarget::FromValues(
                                   {{HashAlgorithm::kSha256, 10, pcr10},
                                    {HashAlgorithm::kSha256, 11, pcr11},
                                    {HashAlgorithm::kSha1, 10, sha1}})) == 2u);
  }
  SECTION("PCR 11 still zero: the first entry alone") {
    Replayer replayer = Make(banks);
    CHECK(replayer.ExtendUntil(entries,
                               ReplayTarget::FromValues(
                                   {{HashAlgorithm::kSha256, 10, pcr10},
                                    {HashAlgorithm::kSha256, 11,
                                     Digest(HashAlgorithm::kSha256)}})) == 1u);
  }
  SECTION("one of a later state: never") {
    Replayer replayer = Make(banks);
    CHECK(replayer.ExtendUntil(
              entries,
              ReplayTarget::FromValues({{HashAlgorithm::kSha256, 10,
                                         list.Pcr(HashAlgorithm::kSha256, 10)},
                                        {HashAlgorithm::kSha256, 11,
                                         Digest(HashAlgorithm::kSha256)}})) ==
          std::nullopt);
  }
  SECTION("a bank that is not replayed: never") {
    Replayer replayer = Make({{HashAlgorithm::kSha256}});
    CHECK(replayer.ExtendUntil(
              entries, ReplayTarget::FromValues({{HashAlgorithm::kSha1, 10,
                                                  sha1}})) == std::nullopt);
  }
  SECTION("no wanted value at all: never") {
    Replayer replayer = Make(banks);
    CHECK(replayer.ExtendUntil(entries, ReplayTarget::FromValues({})) ==
          std::nullopt);
  }
}

TEST_CASE("a composite explains as the values do", "[ima]") {
  const auto hash = GENERATE(HashAlgorithm::kSha256, HashAlgorithm::kSha384);
  ListBuilder list;
  list.AddFile("/a", FileDigestOf("a")).AddFile("/b", FileDigestOf("b"), 11);
  const Digest pcr0 = FileDigestOf("firmware");
  const Digest pcr14 = FileDigestOf("shim");
  const Digest composite = crypto::Hash(
      hash, {pcr0.bytes(), list.Pcr(HashAlgorithm::kSha256, 10).bytes(),
             list.Pcr(HashAlgorithm::kSha256, 11).bytes(), pcr14.bytes()});
  list.AddFile("/c", FileDigestOf("c"));
  const std::vector<Entry> entries = Parse(list.bytes());
  std::vector<ReplayTarget::Slot> slots = {{HashAlgorithm::kSha256, 0, pcr0},
                                           {HashAlgorithm::kSha256, 10, {}},
                                           {HashAlgorithm::kSha256, 11, {}},
                                           {HashAlgorithm::kSha256, 14, pcr14}};
  SECTION("another value before what the list extends") {
    slots[0].fixed = pcr14;
    Replayer replayer = Make({{HashAlgorithm::kSha256}});
    CHECK(replayer.ExtendUntil(entries, ReplayTarget::FromComposite(
                                            composite, slots)) == std::nullopt);
  }
  SECTION("another value behind it") {
    slots[3].fixed = pcr0;
    Replayer replayer = Make({{HashAlgorithm::kSha256}});
    CHECK(replayer.ExtendUntil(entries, ReplayTarget::FromComposite(
                                            composite, slots)) == std::nullopt);
  }
  SECTION("the right slots") {
    Replayer replayer = Make({{HashAlgorithm::kSha256}});
    CHECK(replayer.ExtendUntil(
              entries, ReplayTarget::FromComposite(composite, slots)) == 2u);
  }
  SECTION("another order") {
    std::swap(slots[1], slots[2]);
    Replayer replayer = Make({{HashAlgorithm::kSha256}});
    CHECK(replayer.ExtendUntil(entries, ReplayTarget::FromComposite(
                                            composite, slots)) == std::nullopt);
  }
  SECTION("a bank that is not replayed") {
    Replayer replayer = Make({{HashAlgorithm::kSha1}});
    CHECK(replayer.ExtendUntil(entries, ReplayTarget::FromComposite(
                                            composite, slots)) == std::nullopt);
  }
}

TEST_CASE("a replay needs banks that it can compute, each once", "[ima]") {
  using enum absl::StatusCode;
  CHECK_THAT(StatusOf(Replayer::Create({})),
             StatusIs(kInvalidArgument, "no PCR bank"));
  CHECK_THAT(StatusOf(Replayer::Create({{HashAlgorithm::kSm3_256}})),
             StatusIs(kInvalidArgument, "bank sm3 is not supported"));
  CHECK_THAT(StatusOf(Replayer::Create(
                 {{HashAlgorithm::kSha256},
                  {HashAlgorithm::kSha256, BankFill::kPaddedSha1}})),
             StatusIs(kInvalidArgument, "sha256 was given twice"));
}

}  // namespace
}  // namespace cupel::ima
