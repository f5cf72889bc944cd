#include "agent/doctor/ima_policy.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/util/escape.h"

namespace cupel::agent {
namespace {

struct FileSystem {
  uint32_t magic;
  const char* name;
  // Nobody can put a file there and execute it.
  bool is_pseudo;
};
// Linux include/uapi/linux/magic.h.
constexpr FileSystem kFileSystems[] = {
    {0x00009fa0, "proc", true},        {0x62656572, "sysfs", true},
    {0x64626720, "debugfs", true},     {0x74726163, "tracefs", true},
    {0x73636673, "securityfs", true},  {0xf97cff8c, "selinuxfs", true},
    {0x43415d53, "smackfs", true},     {0x00001cd1, "devpts", true},
    {0x42494e4d, "binfmt_misc", true}, {0x0027e0eb, "cgroup", true},
    {0x63677270, "cgroup2", true},     {0x6e736673, "nsfs", true},
    {0xde5e81e4, "efivarfs", true},    {0x6165676c, "pstore", true},
    {0x62656570, "configfs", true},    {0xcafe4a11, "bpf", true},
    {0x19800202, "mqueue", true},      {0x01021994, "tmpfs", false},
    {0x858458f6, "ramfs", false},      {0x794c7630, "overlayfs", false},
    {0x65735546, "fuse", false},       {0x0000ef53, "ext4", false},
    {0x58465342, "xfs", false},        {0x9123683e, "btrfs", false},
    {0x00006969, "nfs", false},        {0x73717368, "squashfs", false},
};

const FileSystem* FindFileSystem(absl::string_view magic) {
  uint32_t number = 0;
  if (!absl::SimpleHexAtoi(magic, &number)) return nullptr;
  const auto* const found =
      std::ranges::find(kFileSystems, number, &FileSystem::magic);
  return found == std::end(kFileSystems) ? nullptr : found;
}

struct Func {
  const char* name;
  const char* old_name;
  const char* what;
  const char* mask;  // that the kernel asks with
};
constexpr Func kFuncs[] = {
    {"BPRM_CHECK", "", "programs", "MAY_EXEC"},
    {"MMAP_CHECK", "FILE_MMAP", "libraries", "MAY_EXEC"},
    {"MODULE_CHECK", "", "kernel modules", "MAY_READ"},
    {"FIRMWARE_CHECK", "", "firmware", "MAY_READ"},
    {"POLICY_CHECK", "", "IMA policies", "MAY_READ"},
    {"KEXEC_KERNEL_CHECK", "", "kernels for kexec", "MAY_READ"},
};

// Conditions that say how something is measured, not what.
constexpr const char* kManner[] = {
    "func",          "mask",           "pcr",
    "template",      "digest_type",    "appraise_type",
    "appraise_flag", "appraise_algos", "permit_directio"};

bool IsManner(absl::string_view name) {
  return std::ranges::find(kManner, name) != std::end(kManner);
}

bool AppliesTo(const ImaRule& rule, const Func& func) {
  if (rule.Has("func")) {
    const std::string name = rule.Get("func");
    const bool is_it =
        name == func.name || (*func.old_name != '\0' && name == func.old_name);
    // Root opens the kernel's file before it is loaded.
    const bool is_opening =
        absl::string_view(func.name) == "KEXEC_KERNEL_CHECK" &&
        rule.action == "measure" && name == "FILE_CHECK" &&
        (rule.Get("uid") == "0" || rule.Get("euid") == "0");
    if (!is_it) return is_opening;
  }
  const std::string mask = rule.Get("mask");
  return mask.empty() || mask == func.mask ||
         mask == absl::StrCat("^", func.mask);
}

// True if the rule leaves out nothing that could be executed.
bool IsAboutPseudo(const ImaRule& rule) {
  const FileSystem* const file_system = FindFileSystem(rule.Get("fsmagic"));
  return file_system != nullptr && file_system->is_pseudo;
}

bool IsForAll(const ImaRule& rule) {
  return std::ranges::all_of(rule.conditions, [](const auto& condition) {
    return IsManner(condition.first);
  });
}

ImaCoverage CoverageOf(const Func& func, const std::vector<ImaRule>& rules) {
  ImaCoverage coverage{.func = func.name, .what = func.what};
  for (const ImaRule& rule : rules) {
    const bool measures = rule.action == "measure";
    if ((!measures && rule.action != "dont_measure") ||
        !AppliesTo(rule, func)) {
      continue;
    }
    if (measures) {
      const bool by_opening = rule.Get("func") == "FILE_CHECK";
      if (IsForAll(rule) || by_opening) {
        coverage.is_measured = true;
        coverage.restricted.clear();
        return coverage;
      }
      coverage.restricted = rule.text;
    } else if (!IsAboutPseudo(rule)) {
      coverage.holes.push_back(
          rule.Has("fsmagic")
              ? absl::StrCat(rule.text, " (",
                             FileSystemName(rule.Get("fsmagic")), ")")
              : rule.text);
      if (IsForAll(rule)) return coverage;  // nothing gets past it
    }
  }
  return coverage;
}

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
  const bool tcb = std::ranges::find(words, "tcb") != words.end();
  if (!tcb && !legacy_tcb) return {};
  std::string text;
  for (const char* const condition : kNotMeasured) {
    absl::StrAppend(&text, "dont_measure ", condition, "\n");
  }
  if (tcb) {
    for (const char* const rule : kTcb) absl::StrAppend(&text, rule, "\n");
  } else {
    for (const char* const rule : kLegacyTcb) {
      absl::StrAppend(&text, rule, "\n");
    }
  }
  return ParseImaPolicy(text);
}

std::vector<ImaCoverage> CoverageOf(const std::vector<ImaRule>& rules) {
  std::vector<ImaCoverage> all;
  for (const Func& func : kFuncs) all.push_back(CoverageOf(func, rules));
  return all;
}

std::string FileSystemName(absl::string_view magic) {
  const FileSystem* const found = FindFileSystem(magic);
  return found == nullptr ? EscapeForDisplay(magic) : found->name;
}

}  // namespace cupel::agent
