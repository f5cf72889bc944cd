#include "common/policy/boot_rule.h"

#include <algorithm>
#include <cstddef>
#include <set>
#include <variant>

#include "common/util/bytes.h"

namespace cupel::policy {
namespace {

using crypto::Digest;
using crypto::HashAlgorithm;

constexpr uint32_t kBootPcrs = 10;

void CheckValues(uint32_t pcr, const std::vector<Digest>& allowed,
                 PcrLookup lookup, std::vector<BootMismatch>& out) {
  std::set<HashAlgorithm> banks;
  for (const Digest& value : allowed) banks.insert(value.algorithm());
  bool is_quoted = false;
  for (const HashAlgorithm bank : banks) {
    const std::optional<Digest> found = lookup(bank, pcr);
    if (!found) continue;
    is_quoted = true;
    if (std::ranges::find(allowed, *found) != allowed.end()) continue;
    std::vector<Digest> expected;
    for (const Digest& value : allowed) {
      if (value.algorithm() == bank) expected.push_back(value);
    }
    out.push_back({.kind = BootMismatch::Kind::kValue,
                   .pcr = pcr,
                   .expected = std::move(expected),
                   .found = found});
  }
  if (!is_quoted) {
    out.push_back({.kind = BootMismatch::Kind::kNotQuoted,
                   .pcr = pcr,
                   .expected = allowed,
                   .found = std::nullopt});
  }
}

std::vector<BootMismatch> Check(const StaticPcrs& rule, PcrLookup lookup) {
  std::vector<BootMismatch> mismatches;
  for (uint32_t pcr = 0; pcr < kPcrCount; ++pcr) {
    if (const auto listed = rule.values.find(pcr);
        listed != rule.values.end()) {
      CheckValues(pcr, listed->second, lookup, mismatches);
      continue;
    }
    if ((rule.mask >> pcr & 1) == 0) continue;
    const bool is_quoted = std::ranges::any_of(
        crypto::kPcrBanks,
        [&](HashAlgorithm bank) { return lookup(bank, pcr).has_value(); });
    if (!is_quoted) {
      mismatches.push_back({.kind = BootMismatch::Kind::kNotQuoted,
                            .pcr = pcr,
                            .expected = {},
                            .found = std::nullopt});
    }
  }
  return mismatches;
}

std::vector<BootMismatch> Check(const PinnedBoot& rule, PcrLookup lookup) {
  const HashAlgorithm bank = rule.composite.algorithm();
  std::vector<BootMismatch> mismatches;
  for (uint32_t pcr = 0; pcr < kBootPcrs; ++pcr) {
    if (lookup(bank, pcr)) continue;
    mismatches.push_back({.kind = BootMismatch::Kind::kNotQuoted,
                          .pcr = pcr,
                          .expected = {},
                          .found = std::nullopt});
  }
  if (!mismatches.empty()) return mismatches;
  const std::optional<Digest> composite = ComputeBootComposite(bank, lookup);
  if (composite != rule.composite) {
    mismatches.push_back({.kind = BootMismatch::Kind::kComposite,
                          .pcr = 0,
                          .expected = {rule.composite},
                          .found = composite});
  }
  return mismatches;
}

}  // namespace

std::optional<Digest> ComputeBootComposite(HashAlgorithm bank,
                                           PcrLookup lookup) {
  if (!crypto::CanHash(bank)) return std::nullopt;
  std::vector<uint8_t> values;
  for (uint32_t pcr = 0; pcr < kBootPcrs; ++pcr) {
    const std::optional<Digest> value = lookup(bank, pcr);
    if (!value || value->algorithm() != bank) return std::nullopt;
    Append(values, value->bytes());
  }
  return crypto::Hash(bank, values);
}

bool AllowsAnyBoot(const BootRule& rule) {
  if (std::holds_alternative<AnyBoot>(rule)) return true;
  const auto* pcrs = std::get_if<StaticPcrs>(&rule);
  return pcrs != nullptr &&
         std::ranges::none_of(pcrs->values, [](const auto& pcr_and_values) {
           return pcr_and_values.first < crypto::kFirstResettablePcr &&
                  !pcr_and_values.second.empty();
         });
}

std::vector<BootMismatch> CheckBoot(const BootRule& rule, PcrLookup lookup) {
  if (const auto* pcrs = std::get_if<StaticPcrs>(&rule)) {
    return Check(*pcrs, lookup);
  }
  if (const auto* pinned = std::get_if<PinnedBoot>(&rule)) {
    return Check(*pinned, lookup);
  }
  return {};  // AnyBoot
}

}  // namespace cupel::policy
