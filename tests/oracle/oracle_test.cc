// Cupel and evmctl replay the same lists, real and mutated, and must say the
// same of each.
#include <algorithm>
#include <cstdint>
#include <iterator>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "catch2/catch.hpp"
#include "common/ima/hashed_data.h"
#include "common/ima/list_parser.h"
#include "common/ima/replay.h"
#include "common/util/bytes.h"
#include "tests/oracle/evmctl.h"
#include "tests/support/real_lists.h"
#include "tests/support/status_matchers.h"

namespace cupel::testing {
namespace {

using ::cupel::crypto::HashAlgorithm;
using ::cupel::ima::Bank;
using ::cupel::ima::Entry;
using ::cupel::ima::ListParser;
using ::cupel::ima::Replayer;
using ::cupel::ima::ReplayTarget;

std::vector<HashAlgorithm> BanksOf(const RealList& list) {
  std::vector<HashAlgorithm> banks;
  for (const auto& [name, values] : list.pcrs) {
    const auto bank = crypto::HashAlgorithmFromName(name);
    REQUIRE(bank);
    banks.push_back(*bank);
  }
  return banks;
}

struct OwnAnswer {
  absl::Status status;  // of the parser
  // The bytes are a list, and some prefix of its entries gives the real PCRs in
  // every bank.
  bool matched = false;
  bool bad_template_digest = false;
};

OwnAnswer Measure(const RealList& list, std::span<const uint8_t> bytes) {
  OwnAnswer answer;
  std::vector<Entry> entries;
  ListParser parser(ima::ListOptions{});
  const auto keep = [&entries](std::span<const Entry> batch) {
    entries.insert(entries.end(), batch.begin(), batch.end());
    return absl::OkStatus();
  };
  answer.status = parser.Feed(bytes, keep);
  if (answer.status.ok()) answer.status = parser.Finish();
  if (!answer.status.ok()) return answer;

  std::vector<Bank> banks;
  std::vector<ReplayTarget::Value> values;
  std::set<uint32_t> pcrs;
  for (const Entry& entry : entries) pcrs.insert(entry.pcr);
  for (const HashAlgorithm bank : BanksOf(list)) {
    banks.push_back({.algorithm = bank});
    for (const uint32_t pcr : pcrs) {
      values.push_back(
          {.bank = bank, .pcr = pcr, .digest = *list.Pcr(bank, pcr)});
    }
  }
  auto replayer = Replayer::Create(std::move(banks));
  REQUIRE_THAT(StatusOf(replayer), IsOk());
  answer.matched =
      replayer->ExtendUntil(entries, ReplayTarget::FromValues(values))
          .has_value();
  answer.bad_template_digest =
      std::ranges::any_of(entries, [](const Entry& entry) {
        return !entry.IsViolation() &&
               !std::ranges::equal(
                   ima::TemplateDigest(entry, HashAlgorithm::kSha1).bytes(),
                   entry.template_digest);
      });
  return answer;
}

// Machines without a TPM, and banks that evmctl does not read.
bool Comparable(const RealList& list) {
  return !list.pcrs.empty() && !list.IsPadded();
}

bool HasViolations(const RealList& list) {
  const std::vector<Entry> entries = ParseWhole(list.binary);
  return std::ranges::any_of(entries,
                             [](const Entry& e) { return e.IsViolation(); });
}

TEST_CASE("evmctl and Cupel agree on every real list", "[oracle]") {
  Evmctl evmctl;
  size_t compared = 0;
  for (const RealList& list : RealLists()) {
    if (!Comparable(list)) continue;
    CAPTURE(list.name);
    evmctl.SetPcrs(list.pcrs);
    const Evmctl::Answer answer =
        evmctl.Measure(list.binary, HasViolations(list));
    CAPTURE(answer.output);
    const OwnAnswer own = Measure(list, list.binary);
    const bool expected = !list.IsAfterKexec();
    CHECK_THAT(own.status, IsOk());
    CHECK(own.matched == expected);
    CHECK(answer.matched == expected);
    CHECK(answer.exit_code == (expected ? 0 : 1));
    CHECK_FALSE(own.bad_template_digest);
    CHECK_FALSE(answer.bad_template_digest);
    ++compared;
  }
  CHECK(compared == 30);
}

// A list's records, to be put together anew.
std::vector<std::vector<uint8_t>> Records(const RealList& list) {
  std::vector<std::vector<uint8_t>> records;
  for (const Entry& e : ParseWhole(list.binary)) {
    records.push_back(
        ToVector(std::span(list.binary).subspan(e.offset, e.record_size)));
  }
  return records;
}

std::vector<uint8_t> Join(const std::vector<std::vector<uint8_t>>& records) {
  std::vector<uint8_t> list;
  for (const auto& record : records) Append(list, record);
  return list;
}

enum class Mutation {
  kTemplateData,
  kTemplateDigest,
  kTemplateName,
  kPcr,
  kSwap,
  kDrop,
  kDuplicate,
  kTruncate,
  kTail,
  kZeroDigest,
};
constexpr Mutation kMutations[] = {
    Mutation::kTemplateData, Mutation::kTemplateDigest, Mutation::kTemplateName,
    Mutation::kPcr,          Mutation::kSwap,           Mutation::kDrop,
    Mutation::kDuplicate,    Mutation::kTruncate,       Mutation::kTail,
    Mutation::kZeroDigest};

std::vector<uint8_t> Mutate(const RealList& list, Mutation mutation,
                            std::mt19937& random) {
  const std::vector<Entry> entries = ParseWhole(list.binary);
  const auto below = [&random](size_t bound) { return random() % bound; };
  const size_t at = below(entries.size());
  const Entry& entry = entries[at];
  std::vector<std::vector<uint8_t>> records = Records(list);
  std::vector<uint8_t>& record = records[at];
  const auto flip = [&](size_t from, size_t size) {
    record[from + below(size)] ^= static_cast<uint8_t>(1U << below(8));
  };
  const auto index = static_cast<std::ptrdiff_t>(at);
  switch (mutation) {
    case Mutation::kTemplateData:
      flip(record.size() - entry.template_data.size(),
           entry.template_data.size());
      break;
    case Mutation::kTemplateDigest:
      flip(4, 20);
      break;
    case Mutation::kTemplateName:
      flip(28, entry.template_name.size());
      break;
    case Mutation::kPcr:
      record[0] ^= static_cast<uint8_t>(1U << below(4));
      break;
    case Mutation::kSwap:
      std::swap(record, records[(at + 1) % records.size()]);
      break;
    case Mutation::kDrop:
      records.erase(records.begin() + index);
      break;
    case Mutation::kDuplicate:
      records.insert(records.begin() + index, std::vector<uint8_t>(record));
      break;
    case Mutation::kTruncate: {
      std::vector<uint8_t> cut = Join(records);
      cut.resize(below(cut.size()));
      return cut;
    }
    case Mutation::kTail:
      records.push_back(record);
      break;
    case Mutation::kZeroDigest:
      std::fill_n(record.begin() + 4, 20, uint8_t{0});
      break;
  }
  return Join(records);
}

// Where the two differ on purpose: what Cupel's parser says, and why that
// stands although the PCRs match.
struct Difference {
  const char* message;
  const char* reason;
};
constexpr Difference kUnderstood[] = {
    {"template_name: not printable ASCII",
     "no PCR covers a template's name, so evmctl's replay does not mind; a "
     "kernel writes no such name, and Cupel takes none"},
};

TEST_CASE("evmctl and Cupel agree on mutated lists", "[oracle]") {
  constexpr int kRounds = 6;
  Evmctl evmctl;
  std::mt19937 random(20);
  size_t compared = 0;
  size_t matched = 0;
  size_t bad_digests = 0;
  size_t understood = 0;
  for (const char* name :
       {"ng-tcb-violations", "legacy-ima-template", "custom-policy-keys",
        "modsig", "evmsig-signed", "ng-sha1hash-bothbanks"}) {
    const RealList& list = RealListNamed(name);
    const bool violations = HasViolations(list);
    evmctl.SetPcrs(list.pcrs);
    for (const Mutation mutation : kMutations) {
      for (int round = 0; round < kRounds; ++round) {
        const std::vector<uint8_t> mutated = Mutate(list, mutation, random);
        const Evmctl::Answer answer = evmctl.Measure(mutated, violations);
        const OwnAnswer own = Measure(list, mutated);
        CAPTURE(name, static_cast<int>(mutation), round, answer.output,
                own.status);
        ++compared;
        if (answer.matched && !own.status.ok()) {
          CHECK(std::ranges::any_of(kUnderstood, [&](const Difference& d) {
            return absl::StrContains(own.status.message(), d.message);
          }));
          ++understood;
          continue;
        }
        CHECK(own.matched == answer.matched);
        if (own.matched) {
          ++matched;
          CHECK(own.bad_template_digest == answer.bad_template_digest);
          if (own.bad_template_digest) ++bad_digests;
        }
      }
    }
  }
  CHECK(compared == 6 * std::size(kMutations) * kRounds);
  // All kinds of answers were seen.
  CHECK(matched > 50);
  CHECK(bad_digests > 20);
  CHECK(compared - matched > 200);
  CHECK(understood > 0);
  CHECK(understood < 20);
}

}  // namespace
}  // namespace cupel::testing
