#include "agent/doctor/ima_policy.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/util/escape.h"

namespace cupel::agent {
namespace {

// As the kernel shows them.
constexpr const char* kNotMeasured[] = {
    "fsmagic=0x9fa0",     "fsmagic=0x62656572", "fsmagic=0x64626720",
    "fsmagic=0x1021994",  "fsmagic=0x1cd1",     "fsmagic=0x42494e4d",
    "fsmagic=0x73636673", "fsmagic=0xf97cff8c", "fsmagic=0x43415d53",
    "fsmagic=0x27e0eb",   "fsmagic=0x63677270", "fsmagic=0x6e736673",
    "fsmagic=0xde5e81e4"};
constexpr const char* kTcb[] = {"measure func=MMAP_CHECK mask=MAY_EXEC",
                                "measure func=BPRM_CHECK mask=MAY_EXEC",
                                "measure func=FILE_CHECK mask=^MAY_READ euid=0",
                                "measure func=FILE_CHECK mask=^MAY_READ uid=0",
                                "measure func=MODULE_CHECK",
                                "measure func=FIRMWARE_CHECK",
                                "measure func=POLICY_CHECK"};
constexpr const char* kLegacyTcb[] = {
    "measure func=MMAP_CHECK mask=MAY_EXEC",
    "measure func=BPRM_CHECK mask=MAY_EXEC",
    "measure func=FILE_CHECK mask=MAY_READ uid=0",
    "measure func=MODULE_CHECK",
    "measure func=FIRMWARE_CHECK",
    "measure func=POLICY_CHECK"};

}  // namespace

std::string ImaRule::Get(absl::string_view name) const {
  const auto found = std::ranges::find_if(
      conditions, [&](const auto& one) { return one.first == name; });
  return found == conditions.end() ? "" : found->second;
}

bool ImaRule::Has(absl::string_view name) const {
  return std::ranges::any_of(
      conditions, [&](const auto& one) { return one.first == name; });
}

std::vector<ImaRule> ParseImaPolicy(absl::string_view text) {
  std::vector<ImaRule> rules;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    line = absl::StripAsciiWhitespace(line);
    if (line.empty() || line.front() == '#') continue;
    ImaRule rule{
        .text = EscapeForDisplay(line), .action = {}, .conditions = {}};
    for (const absl::string_view word :
         absl::StrSplit(line, absl::ByAnyChar(" \t"), absl::SkipEmpty())) {
      if (rule.action.empty()) {
        rule.action = std::string(word);
        continue;
      }
      // uid<0, euid>1000 and the like are conditions of that name.
      const size_t at = word.find_first_of("=<>");
      if (at == absl::string_view::npos) {
        rule.conditions.emplace_back(word, "");
      } else {
        rule.conditions.emplace_back(
            word.substr(0, at),
            word[at] == '=' ? word.substr(at + 1) : word.substr(at));
      }
    }
    rules.push_back(std::move(rule));
  }
  return rules;
}

std::vector<ImaRule> BuiltinImaRules(const std::vector<std::string>& words,
                                     bool legacy_tcb) {
  const auto has = [&words](absl::string_view word) {
    return std::ranges::find(words, word) != words.end();
  };
  std::string text;
  if (has("tcb") || legacy_tcb) {
    for (const char* const condition : kNotMeasured) {
      absl::StrAppend(&text, "dont_measure ", condition, "\n");
    }
  }
  if (has("tcb")) {
    absl::StrAppend(&text, absl::StrJoin(kTcb, "\n"), "\n");
  } else if (legacy_tcb) {
    absl::StrAppend(&text, absl::StrJoin(kLegacyTcb, "\n"), "\n");
  }
  if (has("critical_data")) {
    absl::StrAppend(&text, "measure func=CRITICAL_DATA\n");
  }
  return ParseImaPolicy(text);
}

}  // namespace cupel::agent
