// The files that several commands take, found out and loaded.
#ifndef CUPEL_TENANT_INPUTS_H_
#define CUPEL_TENANT_INPUTS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "CLI/App.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/crypto/digest.h"
#include "common/ima/list_parser.h"
#include "common/policy/compiled_policy.h"
#include "common/policy/exclude_list.h"
#include "common/policy/runtime_policy.h"
#include "common/policy/tpm_policy.h"
#include "common/tpm/pcr_file.h"
#include "common/tpm/pcr_selection.h"

namespace cupel::tenant {

// --- files

// How messages call the input file `path`, escaped.
std::string InputName(const std::string& path);

// `status`, escaped, with the file's name before it.
absl::Status InFile(const absl::Status& status, const std::string& path);

// kInvalidArgument if more than one of `paths` is "-": standard input can be
// read once.
absl::Status CheckStandardInput(const std::vector<std::string>& paths);

// --- measurement lists

struct ListFlags {
  bool big_endian = false;
  size_t digest_size = 20;

  void Register(CLI::App& command);
  ima::ListOptions ToOptions() const;
};

// Reads a list, "-" for standard input, and returns it in its binary form: a
// text list is turned into that. Errors name the file and what to do.
absl::StatusOr<std::vector<uint8_t>> LoadList(const std::string& path,
                                              const ListFlags& flags);

// `status` of reading the binary list at `path`, of which `entry_count` entries
// could be read: escaped, with the file's name before it, and with what to do.
absl::Status InBinaryList(const absl::Status& status, const std::string& path,
                          uint64_t entry_count);

// --- policies

// --policy, --allowlist, --exclude, --deny, --policy-key.
struct PolicyFlags {
  std::vector<std::string> policies;
  std::string allowlist;
  std::string excludes;
  std::string deny;
  std::string key;

  // `positional`: FILE... on the command line are policies as well.
  void Register(CLI::App& command, bool positional);
  // Every file named.
  std::vector<std::string> Paths() const;
};

struct NamedPolicy {
  std::string name;  // its files', escaped
  std::shared_ptr<const policy::RuntimePolicy> policy;
};

// Every file that the flags name, in the order policies, then allowlist with
// excludes and deny list as one policy. A file may be JSON or a text allowlist,
// as its first character says. Warnings stand in each policy.
//
// Errors name the file and line or member; kInvalidArgument if no file is
// named, or if a key is that no file is to be checked with.
absl::StatusOr<std::vector<NamedPolicy>> LoadPolicies(const PolicyFlags& flags);

// A policy that came otherwise than from a file: JSON or a text allowlist, as
// its first character says. `origin` is what messages call it, `key` the path
// of a public key, empty for none. Errors as above.
absl::StatusOr<policy::RuntimePolicy> ParsePolicy(std::vector<uint8_t> bytes,
                                                  const std::string& origin,
                                                  const std::string& key);

// Compiles `policies` in their order, each with its excludes.
absl::StatusOr<std::shared_ptr<const policy::CompiledPolicy>> Compile(
    const std::vector<NamedPolicy>& policies);

// The warnings of all of them, in their order.
std::vector<policy::PolicyWarning> WarningsOf(
    const std::vector<NamedPolicy>& policies);

// Prints warnings on standard error, a line for each kind: a policy can have
// thousands.
void PrintWarnings(std::span<const policy::PolicyWarning> warnings);

// Reads patterns of paths whose violations are tolerated, as
// policy::CompileViolationPatterns takes them: a file as an exclude list.
absl::StatusOr<policy::ExcludeList> LoadViolationPatterns(
    const std::string& path);

// Reads a tpm_policy.
absl::StatusOr<policy::TpmPolicy> LoadTpmPolicy(const std::string& path);

// --- PCR values

// Reads any file that tpm::ParsePcrFile takes.
absl::StatusOr<tpm::PcrFile> LoadPcrs(const std::string& path,
                                      const tpm::PcrSelection* selection);

// --pad-sha1, which may be given several times.
void RegisterPadSha1(CLI::App& command, std::vector<std::string>& banks);
// The banks that it names. kInvalidArgument for one that can't be replayed.
absl::StatusOr<std::vector<crypto::HashAlgorithm>> PaddedBanks(
    const std::vector<std::string>& names);

// --list-pcr, which may be given several times: 11 to 15; 10 adds nothing.
void RegisterListPcrs(CLI::App& command, std::vector<uint32_t>& pcrs);

// --ima-policy, which may be given several times: paths, or "none".
void RegisterImaPolicies(CLI::App& command, std::vector<std::string>& paths);
// The paths that it names, no one for "none". Errors as
// policy::ValidateImaPolicyPaths, for "none" beside a path as well.
absl::StatusOr<std::vector<std::string>> ImaPolicies(
    const std::vector<std::string>& given);

}  // namespace cupel::tenant

#endif  // CUPEL_TENANT_INPUTS_H_
