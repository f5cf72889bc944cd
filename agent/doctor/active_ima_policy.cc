#include "agent/doctor/active_ima_policy.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "agent/doctor/kernel_command_line.h"
#include "agent/doctor/kernel_config.h"
#include "agent/doctor/list_scan.h"
#include "common/util/bytes.h"
#include "common/util/status_macros.h"

namespace cupel::agent {
namespace {

bool IsThere(const Machine& machine, const std::string& path,
             struct stat& info) {
  return stat(machine.Path(path).c_str(), &info) == 0;
}

// The kernel has its file for policies, and shows none.
absl::StatusOr<ActiveImaPolicy> FindBuiltin(const Machine& machine) {
  const std::string write_only = absl::StrCat(
      kImaPolicyPath, " is write-only (no CONFIG_IMA_READ_POLICY), and ");
  const auto config = ReadKernelConfig(machine.root, machine.kernel_release);
  if (!config.ok()) {
    return absl::FailedPreconditionError(absl::StrCat(
        write_only, "whether the kernel takes several policies is unknown: ",
        config.status().message()));
  }
  if (!config->Get("CONFIG_IMA_WRITE_POLICY").empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat(write_only,
                     "the kernel takes several policies "
                     "(CONFIG_IMA_WRITE_POLICY): which were loaded, and in "
                     "which order, nothing tells"));
  }
  const auto line = ReadKernelCommandLine(machine);
  if (!line.ok()) {
    return absl::FailedPreconditionError(
        absl::StrCat(write_only,
                     "the command line, whose rules hold, can't be "
                     "read: ",
                     line.status().message()));
  }
  return ActiveImaPolicy{
      BuiltinImaRules(line->policies, line->values.contains("ima_tcb")),
      "built in, by the kernel's command line"};
}

// One was loaded in place of the built-in one, and the file for it has gone.
absl::StatusOr<ActiveImaPolicy> FindLoaded(const Machine& machine) {
  const std::string gone =
      absl::StrCat("a policy was loaded, which this kernel does not show (no ",
                   "CONFIG_IMA_READ_POLICY); tried ", kImaPolicyFile, ": ");
  const auto file = machine.ReadText(kImaPolicyFile);
  if (!file.ok()) {
    return absl::FailedPreconditionError(
        absl::StrCat(gone, file.status().message()));
  }
  const auto digests = DigestsOf(machine, kImaPolicyFile);
  if (!digests.ok()) {
    return absl::FailedPreconditionError(
        absl::StrCat(gone, digests.status().message()));
  }
  if (!HasDigestOf(*digests, AsBytes(*file))) {
    return absl::FailedPreconditionError(
        absl::StrCat(gone, "the list has no entry with its digest"));
  }
  // Whoever reads the file has it measured as well, where reading is.
  if (std::ranges::any_of(*digests, [&](const crypto::Digest& digest) {
        return digest != digests->front();
      })) {
    return absl::FailedPreconditionError(absl::StrCat(
        gone,
        "the list has several digests of it, so which one was loaded "
        "can't be told"));
  }
  return ActiveImaPolicy{
      ParseImaPolicy(*file),
      absl::StrCat(kImaPolicyFile, ", which the list says was read")};
}

}  // namespace

absl::StatusOr<ActiveImaPolicy> FindActiveImaPolicy(const Machine& machine) {
  struct stat info = {};
  if (!IsThere(machine, kImaFolder, info)) {
    return absl::FailedPreconditionError(
        absl::StrCat(kImaFolder, ": ", std::strerror(errno)));
  }
  if (!IsThere(machine, kImaPolicyPath, info)) return FindLoaded(machine);
  // Root may read whatever has the right for nobody, and the kernel refuses it.
  constexpr mode_t kReadable = S_IRUSR | S_IRGRP | S_IROTH;
  if ((info.st_mode & kReadable) == 0) return FindBuiltin(machine);
  CUPEL_ASSIGN_OR_RETURN(const std::string shown,
                         machine.ReadText(kImaPolicyPath));
  return ActiveImaPolicy{ParseImaPolicy(shown), kImaPolicyPath};
}

}  // namespace cupel::agent
