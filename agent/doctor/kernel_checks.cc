#include <unistd.h>

#include <map>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "agent/doctor/checks.h"
#include "agent/doctor/ima_policy.h"
#include "agent/doctor/kernel_config.h"
#include "agent/doctor/list_scan.h"
#include "common/util/bytes.h"
#include "common/util/escape.h"
#include "common/util/file.h"
#include "common/util/status_macros.h"

namespace cupel::agent {
namespace {

constexpr size_t kMaxTextSize = size_t{4} << 20;
constexpr char kSecurityfs[] = "/sys/kernel/security";
constexpr char kIma[] = "/sys/kernel/security/ima";
constexpr char kPolicy[] = "/sys/kernel/security/ima/policy";
// Where systemd loads one from.
constexpr char kPolicyFile[] = "/etc/ima/ima-policy";

absl::StatusOr<std::string> ReadText(const Machine& machine,
                                     const std::string& path) {
  CUPEL_ASSIGN_OR_RETURN(const auto bytes,
                         ReadFile(machine.Path(path), kMaxTextSize));
  return std::string(AsText(bytes));
}

// Beside an emulator there is no IMA to look at, and saying so is no pass of
// anything.
bool IsEmulated(const Machine& machine, Observations& found) {
  if (machine.HasKernelList()) return false;
  found.Warn(
      absl::StrCat(
          "the list is a plain file (",
          EscapeForDisplay(machine.config.ima_list),
          "), which proves nothing: the kernel's IMA is not looked at"),
      "leave ima_list and ima_count at their defaults where the kernel has "
      "IMA");
  return true;
}

struct CommandLine {
  std::map<std::string, std::string> values;  // the last of each name
  std::vector<std::string> policies;          // of every ima_policy=
};

CommandLine ParseCommandLine(absl::string_view text) {
  CommandLine line;
  for (const absl::string_view word :
       absl::StrSplit(text, absl::ByAnyChar(" \n\t"), absl::SkipEmpty())) {
    const std::pair<std::string, std::string> parts =
        absl::StrSplit(word, absl::MaxSplits('=', 1));
    line.values[parts.first] = parts.second;
    if (parts.first == "ima_policy") {
      for (const absl::string_view policy : absl::StrSplit(
               parts.second, absl::ByAnyChar("|\""), absl::SkipEmpty())) {
        line.policies.emplace_back(policy);
      }
    }
  }
  return line;
}

constexpr char kBuild[] =
    "boot a kernel that is built with it, such as Debian's";

// Any of these that is built in finds the TPM before IMA starts.
constexpr const char* kDrivers[] = {"CONFIG_TCG_TIS",      "CONFIG_TCG_CRB",
                                    "CONFIG_TCG_TIS_SPI",  "CONFIG_TCG_TIS_I2C",
                                    "CONFIG_TCG_INFINEON", "CONFIG_TCG_IBMVTPM",
                                    "CONFIG_TCG_FTPM_TEE"};

void CheckTpmDriver(const KernelConfig& config, Observations& found) {
  constexpr char kCure[] =
      "boot a kernel with CONFIG_TCG_TPM and the TPM's driver built in, unless "
      "tpm.replay is ok";
  if (config.Get("CONFIG_TCG_TPM") != "y") {
    found.Warn(
        "CONFIG_TCG_TPM is not built in: IMA starts before modules are "
        "loaded, and finds no TPM",
        kCure);
    return;
  }
  for (const char* const driver : kDrivers) {
    if (config.Get(driver) == "y") return;
  }
  found.Warn(
      "no driver of a TPM is built in: IMA starts before modules are loaded, "
      "and finds no TPM",
      kCure);
}

void CheckDefaults(const KernelConfig& config, Observations& found) {
  const std::string pcr = config.Get("CONFIG_IMA_MEASURE_PCR_IDX");
  if (!pcr.empty() && pcr != "10") {
    found.Warn(absl::StrCat("IMA extends PCR ", EscapeForDisplay(pcr),
                            ", not PCR 10 (CONFIG_IMA_MEASURE_PCR_IDX)"),
               "boot a kernel with CONFIG_IMA_MEASURE_PCR_IDX=10");
  }
}

void WarnOfWeakHash(const std::string& hash, absl::string_view where,
                    Observations& found) {
  if (hash != "sha1" && hash != "md5") return;
  found.Warn(absl::StrCat("files are measured with ", hash, " (", where, ")"),
             "boot with ima_hash=sha256");
}

}  // namespace

void CheckSecurityfs(const Machine& machine, Observations& found) {
  if (IsEmulated(machine, found)) return;
  const auto mounts = ReadText(machine, "/proc/mounts");
  if (!mounts.ok()) {
    found.CouldNotCheck(std::string(mounts.status().message()),
                        "mount /proc, or run it outside of a sandbox");
    return;
  }
  bool is_mounted = false;
  for (const absl::string_view line : absl::StrSplit(*mounts, '\n')) {
    const std::vector<absl::string_view> words = absl::StrSplit(line, ' ');
    is_mounted |=
        words.size() > 2 && words[1] == kSecurityfs && words[2] == "securityfs";
  }
  if (is_mounted) {
    found.Ok(absl::StrCat("mounted at ", kSecurityfs));
  } else {
    found.Fail(absl::StrCat("securityfs is not mounted at ", kSecurityfs),
               absl::StrCat("mount -t securityfs securityfs ", kSecurityfs,
                            "; in a container, run the agent on the host"));
  }
}

void CheckKernelConfig(const Machine& machine, Observations& found) {
  if (IsEmulated(machine, found)) return;
  const bool has_folder = access(machine.Path(kIma).c_str(), F_OK) == 0;
  const auto config = ReadKernelConfig(machine.root, machine.kernel_release);
  if (!config.ok()) {
    if (has_folder) {
      found.Warn(absl::StrCat("IMA is there, but its options can't be seen: ",
                              config.status().message()),
                 "put the kernel's configuration into /boot, where its package "
                 "has it");
    } else if (absl::IsNotFound(config.status())) {
      found.CouldNotCheck(
          absl::StrCat(config.status().message(), ", and ", kIma,
                       " is not there"),
          "mount securityfs, or put the kernel's configuration into /boot");
    } else {
      found.CouldNotCheck(std::string(config.status().message()),
                          "make the file readable, or run it as root");
    }
    return;
  }
  if (config->Get("CONFIG_IMA") != "y" && !has_folder) {
    found.Fail(absl::StrCat("the kernel has no IMA (CONFIG_IMA in ",
                            EscapeForDisplay(config->path), ")"),
               kBuild);
    return;
  }
  if (config->Get("CONFIG_IMA") != "y") {
    found.Warn(absl::StrCat(EscapeForDisplay(config->path),
                            " says that the kernel has no IMA, but it has: the "
                            "file is another kernel's"),
               "put the running kernel's configuration into /boot");
    return;
  }
  CheckTpmDriver(*config, found);
  CheckDefaults(*config, found);
  found.Ok(absl::StrCat("the kernel has IMA (", EscapeForDisplay(config->path),
                        ")"));
}

void CheckCommandLine(const Machine& machine, Observations& found) {
  if (IsEmulated(machine, found)) return;
  const auto text = ReadText(machine, "/proc/cmdline");
  if (!text.ok()) {
    found.CouldNotCheck(std::string(text.status().message()),
                        "mount /proc, or run it outside of a sandbox");
    return;
  }
  CommandLine line = ParseCommandLine(*text);
  if (line.values["ima"] == "off") {
    found.Fail("ima=off turns IMA off", "boot without ima=off");
    return;
  }
  if (line.values["ima_template"] == "ima") {
    found.Warn(
        "ima_template=ima records SHA-1 or MD5 digests and cuts names off",
        "boot with ima_template=ima-ng or ima-sig");
  }
  WarnOfWeakHash(line.values["ima_hash"], "ima_hash=", found);
  std::vector<std::string> ours;
  for (const auto& [name, value] : line.values) {
    if (absl::StartsWith(name, "ima_") && !value.empty()) {
      ours.push_back(EscapeForDisplay(absl::StrCat(name, "=", value)));
    }
  }
  found.Ok(ours.empty() ? "asks nothing of IMA" : absl::StrJoin(ours, " "));
}

namespace {

struct ActivePolicy {
  std::vector<ImaRule> rules;
  std::string origin;
};

// The rules that hold, if anything shows them; else why not.
absl::StatusOr<ActivePolicy> FindActivePolicy(const Machine& machine) {
  const auto shown = ReadText(machine, kPolicy);
  if (shown.ok() && !ParseImaPolicy(*shown).empty()) {
    return ActivePolicy{ParseImaPolicy(*shown), kPolicy};
  }
  // The kernel measures a policy that is loaded by its path.
  const auto file = ReadText(machine, kPolicyFile);
  if (file.ok()) {
    const auto digests = DigestsOf(machine, kPolicyFile);
    if (digests.ok() && HasDigestOf(*digests, AsBytes(*file))) {
      return ActivePolicy{
          ParseImaPolicy(*file),
          absl::StrCat(kPolicyFile, ", which the list says was loaded")};
    }
  }
  // The file goes, or can't be read, once a policy was loaded in place of the
  // built-in one, unless the kernel takes more than one.
  const auto config = ReadKernelConfig(machine.root, machine.kernel_release);
  const auto text = ReadText(machine, "/proc/cmdline");
  const bool is_there = access(machine.Path(kPolicy).c_str(), F_OK) == 0;
  if (is_there && text.ok() && config.ok() &&
      config->Get("CONFIG_IMA_WRITE_POLICY").empty() &&
      config->Get("CONFIG_IMA_READ_POLICY").empty()) {
    CommandLine line = ParseCommandLine(*text);
    return ActivePolicy{
        BuiltinImaRules(line.policies, line.values.count("ima_tcb") > 0),
        "built in, by the kernel's command line"};
  }
  return shown.ok() ? absl::NotFoundError("the kernel shows an empty policy")
                    : shown.status();
}

std::string Counts(const ActivePolicy& policy) {
  std::map<std::string, int> counts;
  for (const ImaRule& rule : policy.rules) ++counts[rule.action];
  std::vector<std::string> parts;
  parts.reserve(counts.size());
  for (const auto& [action, count] : counts) {
    parts.push_back(absl::StrCat(count, " ", EscapeForDisplay(action)));
  }
  return absl::StrCat(policy.rules.size(), " rules (",
                      absl::StrJoin(parts, ", "), "), ", policy.origin);
}

void Describe(const ImaCoverage& coverage, Observations& found) {
  if (!coverage.is_measured) {
    const std::string text =
        coverage.restricted.empty()
            ? absl::StrCat(coverage.what, " are not measured: no rule with ",
                           coverage.func)
            : absl::StrCat(coverage.what, " are measured for some alone: ",
                           coverage.restricted);
    const std::string cure =
        absl::StrCat("add \"measure func=", coverage.func, "\" to the policy");
    if (coverage.func == "BPRM_CHECK") {
      found.Fail(text, cure);
    } else {
      found.Warn(text, cure);
    }
  }
  for (const std::string& hole : coverage.holes) {
    found.Warn(absl::StrCat("a hole for ", coverage.what, ": ", hole),
               absl::StrCat("put \"measure func=", coverage.func,
                            "\" before that rule, or remove the rule"));
  }
}

}  // namespace

void CheckImaPolicy(const Machine& machine, Observations& found) {
  if (IsEmulated(machine, found)) return;
  const auto policy = FindActivePolicy(machine);
  if (!policy.ok()) {
    found.CouldNotCheck(
        absl::StrCat("the active policy can't be read: ",
                     policy.status().message()),
        absl::StrCat("run it as root; where the kernel shows no policy "
                     "(CONFIG_IMA_READ_POLICY), load it by its path (echo ",
                     kPolicyFile, " > ", kPolicy,
                     "), so that the list has its digest"));
    return;
  }
  if (policy->rules.empty()) {
    found.Fail("no policy is active: nothing is measured but the boot",
               absl::StrCat("boot with ima_policy=tcb, or load a policy from ",
                            kPolicyFile));
    return;
  }
  found.Ok(Counts(*policy));
  for (const ImaCoverage& coverage : CoverageOf(policy->rules)) {
    Describe(coverage, found);
  }
}

}  // namespace cupel::agent
