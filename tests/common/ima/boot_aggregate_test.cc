#include "common/ima/boot_aggregate.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "common/ima/template.h"
#include "tests/support/boot_aggregate_line.h"
#include "tests/support/real_lists.h"
#include "tests/support/status_matchers.h"

namespace cupel::ima {
namespace {

using ::cupel::crypto::Digest;
using ::cupel::crypto::HashAlgorithm;
using ::cupel::testing::IsOk;
using ::cupel::testing::ParseBootAggregateLine;
using ::cupel::testing::ParseWhole;
using ::cupel::testing::RealList;
using ::cupel::testing::RealListNamed;
using ::cupel::testing::RealLists;
using ::cupel::testing::StatusIs;
using ::cupel::testing::StatusOf;
using enum absl::StatusCode;

// The digest in a list's first entry, which must be about boot_aggregate.
Digest ListedAggregate(const RealList& list) {
  const std::vector<Entry> entries = ParseWhole(list.binary);
  const auto fields = ParseFields(entries.front());
  REQUIRE_THAT(StatusOf(fields), IsOk());
  REQUIRE(IsBootAggregatePath(fields->path));
  return Digest::Create(*fields->digest->algorithm, fields->digest->bytes)
      .value();
}

TEST_CASE("the boot_aggregate of every real list is what its PCRs give",
          "[ima]") {
  size_t sha1 = 0;
  size_t sha256 = 0;
  size_t zero = 0;
  for (const RealList& list : RealLists()) {
    CAPTURE(list.name);
    const Digest listed = ListedAggregate(list);
    const auto lookup = [&list](HashAlgorithm bank, uint32_t pcr) {
      return list.Pcr(bank, pcr);
    };
    const auto computed = ComputeBootAggregate(listed.algorithm(), lookup);
    if (listed.IsZero()) {
      // No TPM, or no bank that the kernel could use: nothing to compute.
      CHECK((list.name == "no-tpm" || list.IsPadded()));
      CHECK_THAT(StatusOf(computed), StatusIs(kNotFound));
      ++zero;
      continue;
    }
    REQUIRE_THAT(StatusOf(computed), IsOk());
    // The digest of the template "ima" is SHA-1 whatever the banks are.
    CHECK(computed->Hex() == listed.Hex());
    ++(listed.algorithm() == HashAlgorithm::kSha1 ? sha1 : sha256);
  }
  CHECK(sha1 == 4);
  CHECK(sha256 == 26);
  CHECK(zero == 3);
}

TEST_CASE("a PCR counts exactly where the algorithm takes it", "[ima]") {
  const RealList& list = RealListNamed("uefi-ovmf-direct");
  for (const HashAlgorithm bank :
       {HashAlgorithm::kSha1, HashAlgorithm::kSha256}) {
    const auto real = [&list](HashAlgorithm b, uint32_t pcr) {
      return list.Pcr(b, pcr);
    };
    const Digest before = ComputeBootAggregate(bank, real).value();
    for (uint32_t changed = 0; changed < kPcrCount; ++changed) {
      CAPTURE(crypto::HashAlgorithmName(bank), changed);
      const bool counts = changed <= (bank == HashAlgorithm::kSha1 ? 7U : 9U);
      const auto other = [&](HashAlgorithm b, uint32_t pcr) {
        std::optional<Digest> value = list.Pcr(b, pcr);
        if (pcr == changed) value->mutable_bytes()[0] ^= 1;
        return value;
      };
      CHECK((ComputeBootAggregate(bank, other).value() == before) != counts);
      const auto missing = [&](HashAlgorithm b, uint32_t pcr) {
        return pcr == changed ? std::nullopt : list.Pcr(b, pcr);
      };
      const auto without = ComputeBootAggregate(bank, missing);
      if (counts) {
        CHECK_THAT(
            StatusOf(without),
            StatusIs(kNotFound, absl::StrCat("PCR ", changed, " of the ",
                                             crypto::HashAlgorithmName(bank),
                                             " bank is missing")));
      } else {
        CHECK_THAT(StatusOf(without), IsOk());
      }
    }
  }
}

TEST_CASE("what can't be computed is an error, not a digest", "[ima]") {
  const auto sha256 = [](HashAlgorithm, uint32_t) {
    return std::optional<Digest>(Digest(HashAlgorithm::kSha256));
  };
  CHECK_THAT(StatusOf(ComputeBootAggregate(HashAlgorithm::kSm3_256, sha256)),
             StatusIs(kUnimplemented, "sm3"));
  CHECK_THAT(StatusOf(ComputeBootAggregate(HashAlgorithm::kSha1, sha256)),
             StatusIs(kInvalidArgument, "sha256 bank, not sha1"));
  CHECK_THAT(StatusOf(ComputeBootAggregate(HashAlgorithm::kSha256, sha256)),
             IsOk());
}

TEST_CASE("the names of boot_aggregate", "[ima]") {
  CHECK(IsBootAggregatePath("boot_aggregate"));
  CHECK(IsBootAggregatePath("boot_aggregate_late"));
  CHECK_FALSE(IsBootAggregatePath("boot_aggregate_"));
  CHECK_FALSE(IsBootAggregatePath("/boot_aggregate"));
  CHECK_FALSE(IsBootAggregatePath(""));
}

constexpr char kZeros[] = "0000000000000000000000000000000000000000";
constexpr char kSha256Text[] =
    "4242424242424242424242424242424242424242424242424242424242424242";

TEST_CASE("a line about boot_aggregate gives its digest", "[ima]") {
  const auto legacy = ParseBootAggregateLine(
      absl::StrCat("10 ", kZeros, " ima ", kZeros, " boot_aggregate"));
  REQUIRE_THAT(StatusOf(legacy), IsOk());
  CHECK(*legacy == Digest(HashAlgorithm::kSha1));
  const auto ng = ParseBootAggregateLine(absl::StrCat(
      "10 ", kZeros, " ima-ng sha256:", kSha256Text, " boot_aggregate\n"));
  REQUIRE_THAT(StatusOf(ng), IsOk());
  CHECK(*ng == Digest::Filled(HashAlgorithm::kSha256, 0x42));
  // A list of a SHA-256 bank has a wider column.
  const auto wide = ParseBootAggregateLine(
      absl::StrCat("10 ", kSha256Text, " ima-sig sha256:", kSha256Text,
                   " boot_aggregate_late "));
  REQUIRE_THAT(StatusOf(wide), IsOk());
  CHECK(*wide == *ng);
}

TEST_CASE("any other line is refused", "[ima]") {
  const std::string good = absl::StrCat(
      "10 ", kZeros, " ima-ng sha256:", kSha256Text, " boot_aggregate");
  REQUIRE_THAT(StatusOf(ParseBootAggregateLine(good)), IsOk());
  for (const std::string& line : {
           std::string(),
           std::string("\n"),
           std::string("boot_aggregate"),
           absl::StrCat("10 ", kZeros, " ima 0", kZeros, " boot_aggregate"),
           absl::StrCat("10 ", kZeros, " ima-ng unknown:", kSha256Text,
                        " boot_aggregate"),
           absl::StrCat("10 ", kZeros, " ima-ng sha256:fff boot_aggregate"),
           absl::StrCat("10 ", kZeros, " ima-ng sha256:", kZeros,
                        " boot_aggregate"),
           absl::StrCat("10 ", kZeros, " ima-ng sha256:", kSha256Text,
                        " /boot_aggregate"),
           absl::StrCat("10 abc ima-ng sha256:", kSha256Text,
                        " boot_aggregate"),
           absl::StrCat("x ", kZeros, " ima-ng sha256:", kSha256Text,
                        " boot_aggregate"),
           absl::StrCat(good, "\n", good),
       }) {
    CAPTURE(line);
    CHECK_THAT(StatusOf(ParseBootAggregateLine(line)),
               StatusIs(kInvalidArgument));
  }
}

}  // namespace
}  // namespace cupel::ima
