#include <unistd.h>

#include <map>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "agent/doctor/active_ima_policy.h"
#include "agent/doctor/checks.h"
#include "agent/doctor/ima_coverage.h"
#include "agent/doctor/kernel_command_line.h"
#include "agent/doctor/kernel_config.h"
#include "common/util/escape.h"

namespace cupel::agent {
namespace {

constexpr char kSecurityfs[] = "/sys/kernel/security";

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
  const auto mounts = machine.ReadText("/proc/mounts");
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
  const bool has_folder = access(machine.Path(kImaFolder).c_str(), F_OK) == 0;
  const auto config = ReadKernelConfig(machine.root, machine.kernel_release);
  if (!config.ok()) {
    if (has_folder) {
      found.Warn(absl::StrCat("IMA is there, but its options can't be seen: ",
                              config.status().message()),
                 "put the kernel's configuration into /boot, where its package "
                 "has it");
    } else if (absl::IsNotFound(config.status())) {
      found.CouldNotCheck(
          absl::StrCat(config.status().message(), ", and ", kImaFolder,
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
  auto line = ReadKernelCommandLine(machine);
  if (!line.ok()) {
    found.CouldNotCheck(std::string(line.status().message()),
                        "mount /proc, or run it outside of a sandbox");
    return;
  }
  if (line->values["ima"] == "off") {
    found.Fail("ima=off turns IMA off", "boot without ima=off");
    return;
  }
  if (line->values["ima_template"] == "ima") {
    found.Warn(
        "ima_template=ima records SHA-1 or MD5 digests and cuts names off",
        "boot with ima_template=ima-ng or ima-sig");
  }
  WarnOfWeakHash(line->values["ima_hash"], "ima_hash=", found);
  std::vector<std::string> ours;
  for (const auto& [name, value] : line->values) {
    if (absl::StartsWith(name, "ima_") && !value.empty()) {
      ours.push_back(EscapeForDisplay(absl::StrCat(name, "=", value)));
    }
  }
  found.Ok(ours.empty() ? "asks nothing of IMA" : absl::StrJoin(ours, " "));
}

namespace {

std::string Counts(const ActiveImaPolicy& policy) {
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

}  // namespace

void CheckImaPolicy(const Machine& machine, Observations& found) {
  if (IsEmulated(machine, found)) return;
  const auto policy = FindActiveImaPolicy(machine);
  if (!policy.ok()) {
    found.CouldNotCheck(
        absl::StrCat("what the active policy measures is unknown: ",
                     policy.status().message()),
        absl::StrCat("run it as root; where the kernel shows no policy, have "
                     "the list tell: boot with ima_policy=tcb, which measures "
                     "policies, and load one by its path (echo ",
                     kImaPolicyFile, " > ", kImaPolicyPath, ")"));
    return;
  }
  if (policy->rules.empty()) {
    found.Fail(absl::StrCat("no policy is active: nothing is measured but the "
                            "boot (",
                            policy->origin, ")"),
               absl::StrCat("boot with ima_policy=tcb, or load a policy from ",
                            kImaPolicyFile));
    return;
  }
  found.Ok(Counts(*policy));
  for (const ImaGap& gap : GapsOf(policy->rules)) {
    if (gap.is_vital) {
      found.Fail(gap.text, gap.cure);
    } else {
      found.Warn(gap.text, gap.cure);
    }
  }
}

}  // namespace cupel::agent
