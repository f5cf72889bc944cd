#include "common/policy/boot_rule.h"

#include <iterator>
#include <map>
#include <utility>

#include "catch2/catch.hpp"
#include "common/tpm/constants.h"

namespace cupel::policy {
namespace {

using crypto::Digest;
using crypto::HashAlgorithm;
using Kind = BootMismatch::Kind;

using Quoted = std::map<std::pair<HashAlgorithm, uint32_t>, Digest>;

Digest Sha256(uint8_t fill) {
  return Digest::Filled(HashAlgorithm::kSha256, fill);
}
Digest Sha1(uint8_t fill) { return Digest::Filled(HashAlgorithm::kSha1, fill); }

std::vector<BootMismatch> Check(const BootRule& rule, const Quoted& quoted) {
  return CheckBoot(rule, [&](HashAlgorithm bank, uint32_t pcr) {
    const auto found = quoted.find({bank, pcr});
    return found == quoted.end() ? std::nullopt
                                 : std::optional<Digest>(found->second);
  });
}

// PCR n of the SHA-256 bank is n everywhere.
Quoted QuotedBoot() {
  Quoted quoted;
  for (uint8_t pcr = 0; pcr < 24; ++pcr) {
    quoted.insert_or_assign({HashAlgorithm::kSha256, pcr}, Sha256(pcr));
  }
  return quoted;
}

TEST_CASE("Any boot passes where any may") {
  CHECK(Check(AnyBoot{}, {}).empty());
}

TEST_CASE("Static values pass if each PCR has an allowed one") {
  const StaticPcrs rule{
      .values = {{0, {Sha256(9), Sha256(0)}}, {7, {Sha256(7)}}}, .mask = 0x81};
  CHECK(Check(rule, QuotedBoot()).empty());
}

TEST_CASE("Every PCR that differs is reported, with what was allowed") {
  const StaticPcrs rule{.values = {{0, {Sha256(8), Sha256(9)}},
                                   {4, {Sha256(4)}},
                                   {7, {Sha256(1)}}},
                        .mask = 0x91};
  const auto mismatches = Check(rule, QuotedBoot());
  REQUIRE(mismatches.size() == 2);
  CHECK(mismatches[0].kind == Kind::kValue);
  CHECK(mismatches[0].pcr == 0);
  CHECK(mismatches[0].expected == std::vector{Sha256(8), Sha256(9)});
  CHECK(mismatches[0].found == Sha256(0));
  CHECK(mismatches[1].pcr == 7);
}

TEST_CASE("A PCR that is not quoted fails, with values or by the mask") {
  Quoted quoted = QuotedBoot();
  quoted.erase({HashAlgorithm::kSha256, 5});
  quoted.erase({HashAlgorithm::kSha256, 6});
  const StaticPcrs rule{.values = {{5, {Sha256(5)}}}, .mask = 0x60};
  const auto mismatches = Check(rule, quoted);
  REQUIRE(mismatches.size() == 2);
  CHECK(mismatches[0].kind == Kind::kNotQuoted);
  CHECK(mismatches[0].pcr == 5);
  CHECK(mismatches[0].expected == std::vector{Sha256(5)});
  CHECK(mismatches[1].kind == Kind::kNotQuoted);
  CHECK(mismatches[1].pcr == 6);
  CHECK(mismatches[1].expected.empty());
}

TEST_CASE("A PCR of the mask alone may have any value in any bank") {
  const StaticPcrs rule{.values = {}, .mask = 0x400};
  CHECK(Check(rule, QuotedBoot()).empty());
  CHECK(Check(rule, {{{HashAlgorithm::kSha384, 10},
                      Digest::Filled(HashAlgorithm::kSha384, 1)}})
            .empty());
  CHECK(Check(rule, {}).size() == 1);
}

TEST_CASE("A mask takes every bank that a quote can have") {
  const StaticPcrs rule{.values = {}, .mask = 0x400};
  size_t banks = 0;
  for (int i = 0; i <= static_cast<int>(HashAlgorithm::kSha3_512); ++i) {
    const auto bank = static_cast<HashAlgorithm>(i);
    CAPTURE(i);
    const bool can_be_quoted = tpm::AlgIdFromHash(bank).has_value();
    if (can_be_quoted) ++banks;
    CHECK(Check(rule, {{{bank, 10}, Digest::Filled(bank, 1)}}).empty() ==
          can_be_quoted);
  }
  CHECK(banks == std::size(crypto::kPcrBanks));
}

TEST_CASE("Values of another bank than the quoted one don't count") {
  const StaticPcrs rule{.values = {{0, {Sha1(0)}}}, .mask = 1};
  const auto mismatches = Check(rule, QuotedBoot());
  REQUIRE(mismatches.size() == 1);
  CHECK(mismatches[0].kind == Kind::kNotQuoted);
}

TEST_CASE("With values in two banks, each quoted bank must have one") {
  const StaticPcrs rule{.values = {{0, {Sha1(1), Sha256(0)}}}, .mask = 1};
  Quoted quoted = QuotedBoot();
  CHECK(Check(rule, quoted).empty());
  quoted.insert_or_assign({HashAlgorithm::kSha1, 0}, Sha1(1));
  CHECK(Check(rule, quoted).empty());
  quoted.insert_or_assign({HashAlgorithm::kSha1, 0}, Sha1(2));
  const auto mismatches = Check(rule, quoted);
  REQUIRE(mismatches.size() == 1);
  CHECK(mismatches[0].expected == std::vector{Sha1(1)});
}

TEST_CASE("A pinned boot passes unchanged, and fails when any PCR changes") {
  const Quoted quoted = QuotedBoot();
  const auto lookup = [&](HashAlgorithm bank,
                          uint32_t pcr) -> std::optional<Digest> {
    const auto found = quoted.find({bank, pcr});
    if (found == quoted.end()) return std::nullopt;
    return found->second;
  };
  const auto composite = ComputeBootComposite(HashAlgorithm::kSha256, lookup);
  REQUIRE(composite.has_value());
  const PinnedBoot rule{.composite = *composite};
  CHECK(Check(rule, quoted).empty());

  for (uint8_t pcr = 0; pcr < 24; ++pcr) {
    Quoted changed = quoted;
    changed.insert_or_assign({HashAlgorithm::kSha256, pcr}, Sha256(0x77));
    const auto mismatches = Check(rule, changed);
    REQUIRE(mismatches.empty() == (pcr >= 10));
    if (pcr < 10) {
      CHECK(mismatches[0].kind == Kind::kComposite);
      CHECK(mismatches[0].expected == std::vector{*composite});
      CHECK(mismatches[0].found.has_value());
    }
    Quoted missing = quoted;
    missing.erase({HashAlgorithm::kSha256, pcr});
    const auto absent = Check(rule, missing);
    REQUIRE(absent.empty() == (pcr >= 10));
    if (pcr < 10) CHECK(absent[0].kind == Kind::kNotQuoted);
  }
}

TEST_CASE("A composite is the hash of PCR 0 to 9, and needs all of them") {
  std::vector<uint8_t> values;
  for (uint8_t pcr = 0; pcr < 10; ++pcr) values.insert(values.end(), 32, pcr);
  const auto lookup = [](HashAlgorithm bank,
                         uint32_t pcr) -> std::optional<Digest> {
    if (bank != HashAlgorithm::kSha256) return std::nullopt;
    return Sha256(static_cast<uint8_t>(pcr));
  };
  CHECK(ComputeBootComposite(HashAlgorithm::kSha256, lookup) ==
        crypto::Hash(HashAlgorithm::kSha256, values));
  CHECK(ComputeBootComposite(HashAlgorithm::kSha1, lookup) == std::nullopt);
  CHECK(ComputeBootComposite(HashAlgorithm::kSm3_256, lookup) == std::nullopt);
}

}  // namespace
}  // namespace cupel::policy
