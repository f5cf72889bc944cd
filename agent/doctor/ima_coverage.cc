#include "agent/doctor/ima_coverage.h"

#include <algorithm>
#include <cstdint>
#include <iterator>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
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
  const char* mask;  // that the kernel asks with; "": with none
  // It is about no file: a rule has to name it (ima_match_rules).
  bool is_buffer;
  const char* what;
  const char* verb;
  const char* why;
  const char* line;  // strict.policy's
  const char* since;
};
constexpr Func kFuncs[] = {
    {"BPRM_CHECK", "", "MAY_EXEC", false, "programs", "are",
     "what is executed leaves no trace", "measure func=BPRM_CHECK", ""},
    {"MMAP_CHECK", "FILE_MMAP", "MAY_EXEC", false, "libraries", "are",
     "code that programs map leaves no trace",
     "measure func=MMAP_CHECK mask=MAY_EXEC", ""},
    {"MODULE_CHECK", "", "MAY_READ", false, "kernel modules", "are",
     "a module can do everything, and whoever has CAP_SYS_MODULE loads it",
     "measure func=MODULE_CHECK", ""},
    {"FIRMWARE_CHECK", "", "MAY_READ", false, "firmware", "is",
     "devices run it, some with access to all memory",
     "measure func=FIRMWARE_CHECK", ""},
    {"POLICY_CHECK", "", "MAY_READ", false, "IMA policies", "are",
     "one that measures less can be loaded unseen", "measure func=POLICY_CHECK",
     ""},
    {"KEXEC_KERNEL_CHECK", "", "MAY_READ", false, "kernels for kexec", "are",
     "nothing else tells which kernel runs next",
     "measure func=KEXEC_KERNEL_CHECK", ""},
    {"KEXEC_INITRAMFS_CHECK", "", "MAY_READ", false,
     "initramfs images for kexec", "are",
     "nothing else tells what the next kernel runs first",
     "measure func=KEXEC_INITRAMFS_CHECK", ""},
    {"KEXEC_CMDLINE", "", "", false, "command lines for kexec", "are",
     "one can tell the next kernel to measure nothing",
     "measure func=KEXEC_CMDLINE", "5.3"},
    {"KEY_CHECK", "", "", true, "keys that come into keyrings", "are",
     "whoever can add one can sign", "measure func=KEY_CHECK", "5.6"},
    {"CRITICAL_DATA", "", "", true, "the kernel's critical data", "is",
     "device-mapper tables and SELinux's state decide what is allowed",
     "measure func=CRITICAL_DATA", "5.12"},
};

// Conditions that say how something is measured, not what.
constexpr const char* kManner[] = {
    "func",          "mask",           "pcr",
    "template",      "digest_type",    "appraise_type",
    "appraise_flag", "appraise_algos", "permit_directio"};

bool IsManner(absl::string_view name) {
  return std::ranges::find(kManner, name) != std::end(kManner);
}

bool IsFileCheck(absl::string_view name) {
  return name == "FILE_CHECK" || name == "PATH_CHECK";
}

// True if it is only by being opened that `func`'s files fit the rule.
bool IsByOpening(const ImaRule& rule, const Func& func) {
  const absl::string_view name = func.name;
  return rule.action == "measure" && IsFileCheck(rule.Get("func")) &&
         (name == "KEXEC_KERNEL_CHECK" || name == "KEXEC_INITRAMFS_CHECK");
}

bool AppliesTo(const ImaRule& rule, const Func& func) {
  const std::string name = rule.Get("func");
  const bool is_named =
      name == func.name || (*func.old_name != '\0' && name == func.old_name);
  if (func.is_buffer) return is_named;
  if (rule.Has("func") && !is_named && !IsByOpening(rule, func)) return false;
  const std::string mask = rule.Get("mask");
  return mask.empty() ||
         (*func.mask != '\0' &&
          (mask == func.mask || mask == absl::StrCat("^", func.mask)));
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

// True if whatever fits `narrow` fits `wide` as well.
bool Contains(const ImaRule& wide, const ImaRule& narrow) {
  return std::ranges::all_of(wide.conditions, [&](const auto& condition) {
    return IsManner(condition.first) ||
           std::ranges::find(narrow.conditions, condition) !=
               narrow.conditions.end();
  });
}

ImaCoverage CoverageOf(const Func& func, const std::vector<ImaRule>& rules) {
  ImaCoverage coverage{.func = func.name, .shut_by = rules.size()};
  std::vector<size_t> left_out;
  for (size_t i = 0; i < rules.size(); ++i) {
    const ImaRule& rule = rules[i];
    const bool measures = rule.action == "measure";
    if ((!measures && rule.action != "dont_measure") ||
        !AppliesTo(rule, func)) {
      continue;
    }
    if (measures) {
      coverage.holes.insert(coverage.holes.end(), left_out.begin(),
                            left_out.end());
      left_out.clear();
      if (IsForAll(rule) && !IsByOpening(rule, func)) {
        coverage.is_measured = true;
        coverage.partial.clear();
        return coverage;
      }
      coverage.partial.push_back(i);
    } else {
      if (IsForAll(rule)) {
        coverage.shut_by = i;
        return coverage;
      }
      const bool is_measured_before =
          std::ranges::any_of(coverage.partial, [&](size_t earlier) {
            return !IsByOpening(rules[earlier], func) &&
                   Contains(rules[earlier], rule);
          });
      if (!IsAboutPseudo(rule) && !is_measured_before) left_out.push_back(i);
    }
  }
  return coverage;
}

std::string InQuotes(absl::string_view text) {
  return absl::StrCat("\"", text, "\"");
}

ImaGap GapOf(const Func& func, const ImaCoverage& coverage,
             const std::vector<ImaRule>& rules) {
  ImaGap gap{.is_vital = absl::string_view(func.name) == "BPRM_CHECK",
             .text = absl::StrCat(func.what, " ", func.verb),
             .cure = {}};
  const bool is_shut = coverage.shut_by < rules.size();
  if (!coverage.partial.empty()) {
    absl::StrAppend(&gap.text, " measured for some alone (",
                    absl::StrJoin(coverage.partial, ", ",
                                  [&](std::string* out, size_t place) {
                                    absl::StrAppend(out, rules[place].text);
                                  }),
                    ")");
  } else if (is_shut) {
    absl::StrAppend(&gap.text, " not measured (", rules[coverage.shut_by].text,
                    " comes first)");
  } else {
    absl::StrAppend(&gap.text, " not measured (no rule with ", func.name, ")");
  }
  absl::StrAppend(&gap.text, ": ", func.why);
  gap.cure = is_shut
                 ? absl::StrCat("put ", InQuotes(func.line), " before ",
                                InQuotes(rules[coverage.shut_by].text))
                 : absl::StrCat("add ", InQuotes(func.line), " to the policy");
  if (*func.since != '\0') {
    absl::StrAppend(&gap.cure, ", which kernels know since ", func.since);
  }
  return gap;
}

// Why it matters that a rule doesn't look there.
std::string WhoIsThere(const std::string& file_system) {
  if (file_system == "tmpfs") {
    return "/tmp, /run, /dev/shm and memfds are tmpfs, and anybody can write "
           "there";
  }
  if (file_system == "ramfs") {
    return "an initramfs is one, and whatever root mounts as such";
  }
  return "whoever can make something fit that rule goes unseen";
}

ImaGap HoleOf(const ImaRule& rule, const std::vector<const Func*>& funcs) {
  const std::string place =
      rule.Has("fsmagic") ? FileSystemName(rule.Get("fsmagic")) : "some";
  std::vector<std::string> names;
  std::vector<std::string> lines;
  for (const Func* const func : funcs) {
    names.emplace_back(func->what);
    lines.push_back(InQuotes(func->line));
  }
  return {
      .is_vital = false,
      .text = absl::StrCat(place, place == "some" ? " are" : " is",
                           " left out (", rule.text, " comes first) of ",
                           absl::StrJoin(names, ", "), ": ", WhoIsThere(place)),
      .cure =
          absl::StrCat("remove ", InQuotes(rule.text), ", or put before it ",
                       absl::StrJoin(lines, " and "))};
}

}  // namespace

std::vector<ImaCoverage> CoverageOf(const std::vector<ImaRule>& rules) {
  std::vector<ImaCoverage> all;
  for (const Func& func : kFuncs) all.push_back(CoverageOf(func, rules));
  return all;
}

std::vector<ImaGap> GapsOf(const std::vector<ImaRule>& rules) {
  std::vector<ImaGap> gaps;
  std::vector<std::vector<const Func*>> holes(rules.size());
  for (const Func& func : kFuncs) {
    const ImaCoverage coverage = CoverageOf(func, rules);
    if (!coverage.is_measured) gaps.push_back(GapOf(func, coverage, rules));
    for (const size_t place : coverage.holes) holes[place].push_back(&func);
  }
  for (size_t i = 0; i < rules.size(); ++i) {
    if (!holes[i].empty()) gaps.push_back(HoleOf(rules[i], holes[i]));
  }
  return gaps;
}

std::string FileSystemName(absl::string_view magic) {
  const FileSystem* const found = FindFileSystem(magic);
  return found == nullptr ? EscapeForDisplay(magic) : found->name;
}

}  // namespace cupel::agent
