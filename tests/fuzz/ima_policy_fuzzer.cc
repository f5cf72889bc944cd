// Any text is rules that can be shown, and whatever they leave unmeasured is a
// gap with a cure.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "agent/doctor/ima_coverage.h"
#include "agent/doctor/ima_policy.h"
#include "common/util/bytes.h"

namespace {

using ::cupel::agent::CoverageOf;
using ::cupel::agent::GapsOf;
using ::cupel::agent::ImaCoverage;
using ::cupel::agent::ImaGap;
using ::cupel::agent::ImaRule;

void Require(bool condition) {
  if (!condition) std::abort();
}

bool IsShowable(const std::string& text) {
  return std::ranges::all_of(
      text, [](char c) { return static_cast<unsigned char>(c) >= 0x20; });
}

void Check(const std::vector<ImaRule>& rules) {
  for (const ImaRule& rule : rules) {
    Require(!rule.action.empty() && IsShowable(rule.text));
    for (const auto& [name, value] : rule.conditions) {
      Require(rule.Has(name));
    }
  }
  const std::vector<ImaCoverage> all = CoverageOf(rules);
  size_t lacking = 0;
  for (const ImaCoverage& one : all) {
    Require(!one.func.empty());
    Require(!one.is_measured || one.partial.empty());
    Require(one.shut_by <= rules.size());
    Require(one.partial.size() + one.holes.size() <= rules.size());
    if (!one.is_measured) ++lacking;
  }
  const std::vector<ImaGap> gaps = GapsOf(rules);
  Require(gaps.size() >= lacking);
  for (const ImaGap& gap : gaps) {
    Require(!gap.text.empty() && IsShowable(gap.text));
    Require(!gap.cure.empty() && IsShowable(gap.cure));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto text = cupel::AsText({data, size});
  Check(cupel::agent::ParseImaPolicy(text));
  const std::vector<std::string> words = absl::StrSplit(text, '|');
  Check(cupel::agent::BuiltinImaRules(words, size % 2 == 0));
  Require(!cupel::agent::FileSystemName(text).empty() || text.empty());
  return 0;
}
