#include "tenant/inputs.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <optional>
#include <utility>

#include "CLI/Validators.hpp"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/crypto/public_key.h"
#include "common/ima/ascii_list.h"
#include "common/policy/allowlist.h"
#include "common/policy/exclude_list.h"
#include "common/policy/ima_policy_paths.h"
#include "common/policy/policy_file.h"
#include "common/policy/violation_patterns.h"
#include "common/tpm/constants.h"
#include "common/util/bytes.h"
#include "common/util/escape.h"
#include "common/util/file.h"
#include "common/util/status_context.h"
#include "common/util/status_macros.h"
#include "tenant/console.h"

namespace cupel::tenant {
namespace {

using ::cupel::crypto::HashAlgorithm;
using ::cupel::policy::RuntimePolicy;

// A list of 10^7 entries is about 2 GB.
constexpr size_t kMaxListSize = size_t{4} << 30;
constexpr size_t kMaxKeySize = size_t{1} << 20;

// What a policy's parser is told: raw, as it escapes what it shows.
std::string OriginName(const std::string& path) {
  return path == "-" ? "standard input" : path;
}

bool LooksLikeJson(std::span<const uint8_t> bytes) {
  const absl::string_view text =
      absl::StripLeadingAsciiWhitespace(AsText(bytes));
  return !text.empty() && text.front() == '{';
}

// A file that holds text. A binary one would only be refused at some line, in
// words that help nobody.
absl::StatusOr<std::vector<uint8_t>> ReadTextFile(const std::string& path,
                                                  absl::string_view form) {
  CUPEL_ASSIGN_OR_RETURN(auto bytes,
                         ReadFile(path, policy::kMaxPolicyFileSize));
  if (AsText(bytes).find('\0') != absl::string_view::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat(InputName(path), ": a binary file, and not ", form));
  }
  return bytes;
}

absl::StatusOr<std::optional<crypto::PublicKey>> LoadPolicyKey(
    const std::string& path) {
  if (path.empty()) return std::nullopt;
  CUPEL_ASSIGN_OR_RETURN(const auto bytes, ReadFile(path, kMaxKeySize));
  auto key = crypto::PublicKey::FromPem(AsText(bytes));
  if (!key.ok()) return InFile(key.status(), path);
  return *std::move(key);
}

absl::StatusOr<RuntimePolicy> ParseWithKey(
    std::vector<uint8_t> bytes, const std::string& origin,
    const std::optional<crypto::PublicKey>& key) {
  if (!LooksLikeJson(bytes) && !key.has_value()) {
    return policy::ParseAllowlist(AsText(bytes), origin);
  }
  policy::PolicyFileOptions options;
  options.origin = origin;
  options.key = key;
  return policy::LoadPolicyFile(std::move(bytes), options);
}

absl::StatusOr<RuntimePolicy> LoadPolicy(
    const std::string& path, const std::optional<crypto::PublicKey>& key) {
  CUPEL_ASSIGN_OR_RETURN(
      auto bytes,
      ReadTextFile(path, "a policy (JSON, or a digest and a path a line)"));
  return ParseWithKey(std::move(bytes), OriginName(path), key);
}

absl::StatusOr<policy::ExcludeList> LoadExcludeList(const std::string& path) {
  CUPEL_ASSIGN_OR_RETURN(
      const auto bytes,
      ReadTextFile(path, "an exclude list (a regular expression a line)"));
  return policy::ParseExcludeList(AsText(bytes), OriginName(path));
}

absl::Status AddExcludes(const std::string& path, RuntimePolicy& policy) {
  CUPEL_ASSIGN_OR_RETURN(policy::ExcludeList list, LoadExcludeList(path));
  std::ranges::move(list.patterns, std::back_inserter(policy.excludes));
  std::ranges::move(list.warnings, std::back_inserter(policy.warnings));
  return absl::OkStatus();
}

// Adds the denied digests of a file in the allowlist's form.
absl::Status AddDenyList(const std::string& path, RuntimePolicy& policy) {
  CUPEL_ASSIGN_OR_RETURN(
      const auto bytes,
      ReadTextFile(path, "a deny list (a digest and a path a line)"));
  CUPEL_ASSIGN_OR_RETURN(
      RuntimePolicy list,
      policy::ParseDenyList(AsText(bytes), OriginName(path)));
  std::ranges::move(list.deny, std::back_inserter(policy.deny));
  std::ranges::move(list.warnings, std::back_inserter(policy.warnings));
  return absl::OkStatus();
}

// The text files, which together are one policy; nullopt if there are none.
absl::StatusOr<std::optional<NamedPolicy>> LoadTextPolicy(
    const PolicyFlags& flags) {
  RuntimePolicy text;
  std::vector<std::string> names;
  if (!flags.allowlist.empty()) {
    // JSON or text, as for Keylime's option of this name.
    CUPEL_ASSIGN_OR_RETURN(text, LoadPolicy(flags.allowlist, std::nullopt));
    names.push_back(InputName(flags.allowlist));
  }
  if (!flags.excludes.empty()) {
    CUPEL_RETURN_IF_ERROR(AddExcludes(flags.excludes, text));
    names.push_back(InputName(flags.excludes));
  }
  if (!flags.deny.empty()) {
    CUPEL_RETURN_IF_ERROR(AddDenyList(flags.deny, text));
    names.push_back(InputName(flags.deny));
  }
  if (names.empty()) return std::nullopt;
  text.content_id.clear();  // no longer one file's
  return NamedPolicy{absl::StrJoin(names, " + "),
                     std::make_shared<const RuntimePolicy>(std::move(text))};
}

// What to do about a text that is no list.
std::string TextCure(absl::string_view text, const ListFlags& flags) {
  const auto digest_size = ima::AsciiTemplateDigestSize(text);
  if (digest_size.has_value() && *digest_size != flags.digest_size) {
    return absl::StrCat("it is a bank's list: give --digest-size ",
                        *digest_size);
  }
  return "a newline in a name splits its line, and nothing tells the parts "
         "from records: give the binary list instead";
}

absl::StatusOr<ima::AsciiList> ParseText(std::span<const uint8_t> bytes,
                                         const std::string& path,
                                         const ListFlags& flags) {
  auto text = ima::AsciiList::Parse(AsText(bytes), flags.ToOptions());
  if (!text.ok()) {
    return InFile(absl::Status(text.status().code(),
                               absl::StrCat("read as an ASCII list: ",
                                            text.status().message(), "; ",
                                            TextCure(AsText(bytes), flags))),
                  path);
  }
  return text;
}

}  // namespace

std::string InputName(const std::string& path) {
  return EscapeForDisplay(OriginName(path));
}

absl::Status InFile(const absl::Status& status, const std::string& path) {
  return WithContext(
      absl::Status(status.code(), EscapeForDisplay(status.message())),
      InputName(path));
}

absl::Status CheckStandardInput(const std::vector<std::string>& paths) {
  if (std::ranges::count(paths, "-") > 1) {
    return absl::InvalidArgumentError(
        "- is given more than once, and standard input can be read only once");
  }
  return absl::OkStatus();
}

void ListFlags::Register(CLI::App& command) {
  command.add_flag("--big-endian", big_endian,
                   "The list was written on a big-endian machine");
  command
      .add_option("--digest-size", digest_size,
                  "Bytes of a template digest: 20 (the default), or the bank's "
                  "size for a file like binary_runtime_measurements_sha256")
      ->check(CLI::IsMember({"20", "32", "48", "64"}))
      ->type_name("BYTES");
}

ima::ListOptions ListFlags::ToOptions() const {
  ima::ListOptions options;
  options.byte_order = big_endian ? ByteOrder::kBig : ByteOrder::kLittle;
  options.template_digest_size = digest_size;
  return options;
}

absl::StatusOr<std::vector<uint8_t>> LoadList(const std::string& path,
                                              const ListFlags& flags) {
  CUPEL_ASSIGN_OR_RETURN(auto bytes, ReadFile(path, kMaxListSize));
  const auto format = ima::DetectListFormat(bytes);
  if (!format.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(
        InputName(path), ": ", format.status().message(),
        "; give a copy of /sys/kernel/security/ima/binary_runtime_measurements "
        "(or ascii_runtime_measurements)"));
  }
  if (*format == ima::ListFormat::kBinary) return bytes;
  CUPEL_ASSIGN_OR_RETURN(const ima::AsciiList text,
                         ParseText(bytes, path, flags));
  return ToVector(text.binary());
}

absl::Status InBinaryList(const absl::Status& status, const std::string& path,
                          uint64_t entry_count) {
  if (status.ok()) return status;
  // Read in another form than it has, a list rarely gives one entry.
  return InFile(
      absl::Status(
          status.code(),
          absl::StrCat(status.message(),
                       entry_count == 0
                           ? "; is it a list at all, of a big-endian machine "
                             "(--big-endian), or a bank's (--digest-size)?"
                           : "; copy the list again")),
      path);
}

void PolicyFlags::Register(CLI::App& command, bool positional) {
  command
      .add_option(positional ? "file,--policy" : "--policy", policies,
                  "A policy: Keylime's JSON, signed (DSSE) or not, or a text "
                  "allowlist. May be given several times")
      ->allow_extra_args(positional)
      ->type_name("FILE");
  command
      .add_option("--allowlist", allowlist,
                  "A text allowlist: a digest and a path a line")
      ->type_name("FILE");
  command
      .add_option("--exclude", excludes,
                  "A text exclude list: a regular expression a line")
      ->type_name("FILE");
  command
      .add_option("--deny", deny,
                  "Digests that nothing may allow, in the allowlist's form")
      ->type_name("FILE");
  command
      .add_option("--policy-key", key,
                  "The public key (PEM) that must have signed every --policy")
      ->type_name("FILE");
}

std::vector<std::string> PolicyFlags::Paths() const {
  std::vector<std::string> paths = policies;
  for (const std::string& path : {allowlist, excludes, deny, key}) {
    if (!path.empty()) paths.push_back(path);
  }
  return paths;
}

absl::StatusOr<std::vector<NamedPolicy>> LoadPolicies(
    const PolicyFlags& flags) {
  if (!flags.key.empty() && flags.policies.empty()) {
    return absl::InvalidArgumentError(
        "--policy-key is about --policy, and there is none");
  }
  std::vector<NamedPolicy> policies;
  CUPEL_ASSIGN_OR_RETURN(const auto key, LoadPolicyKey(flags.key));
  for (const std::string& path : flags.policies) {
    CUPEL_ASSIGN_OR_RETURN(auto policy, LoadPolicy(path, key));
    policies.push_back({InputName(path), std::make_shared<const RuntimePolicy>(
                                             std::move(policy))});
  }
  CUPEL_ASSIGN_OR_RETURN(auto text, LoadTextPolicy(flags));
  if (text.has_value()) policies.push_back(*std::move(text));
  if (policies.empty()) {
    return absl::InvalidArgumentError(
        "no policy: give --policy FILE or --allowlist FILE");
  }
  return policies;
}

absl::StatusOr<RuntimePolicy> ParsePolicy(std::vector<uint8_t> bytes,
                                          const std::string& origin,
                                          const std::string& key) {
  CUPEL_ASSIGN_OR_RETURN(const auto public_key, LoadPolicyKey(key));
  return ParseWithKey(std::move(bytes), origin, public_key);
}

absl::StatusOr<std::shared_ptr<const policy::CompiledPolicy>> Compile(
    const std::vector<NamedPolicy>& policies) {
  std::vector<policy::PolicyAssignment> assignments;
  assignments.reserve(policies.size());
  for (const NamedPolicy& named : policies) {
    assignments.push_back({named.policy, /*allow_excludes=*/true});
  }
  return policy::CompiledPolicy::Create(std::move(assignments));
}

std::vector<policy::PolicyWarning> WarningsOf(
    const std::vector<NamedPolicy>& policies) {
  std::vector<policy::PolicyWarning> warnings;
  for (const NamedPolicy& named : policies) {
    std::ranges::copy(named.policy->warnings, std::back_inserter(warnings));
  }
  return warnings;
}

void PrintWarnings(std::span<const policy::PolicyWarning> warnings) {
  struct Kind {
    const policy::PolicyWarning* first;
    size_t count;
  };
  std::map<std::string, Kind> kinds;
  for (const policy::PolicyWarning& warning : warnings) {
    const auto [kind, is_new] =
        kinds.try_emplace(warning.code, Kind{&warning, 0});
    kind->second.count += warning.count;
  }
  for (const auto& [code, kind] : kinds) {
    PrintError(absl::StrCat(
        "warning: ", EscapeForDisplay(kind.first->origin), ": ",
        EscapeForDisplay(kind.first->message), " [", code,
        kind.count == 1
            ? ""
            : absl::StrCat(", ", kind.count, " in all: see policy lint"),
        "]"));
  }
}

absl::StatusOr<policy::ExcludeList> LoadViolationPatterns(
    const std::string& path) {
  CUPEL_ASSIGN_OR_RETURN(policy::ExcludeList list, LoadExcludeList(path));
  CUPEL_RETURN_IF_ERROR(
      policy::CompileViolationPatterns(list.patterns).status());
  return list;
}

absl::StatusOr<policy::TpmPolicy> LoadTpmPolicy(const std::string& path) {
  CUPEL_ASSIGN_OR_RETURN(const auto bytes,
                         ReadFile(path, policy::kMaxTpmPolicySize));
  return policy::ParseTpmPolicy(AsText(bytes), OriginName(path));
}

absl::StatusOr<tpm::PcrFile> LoadPcrs(const std::string& path,
                                      const tpm::PcrSelection* selection) {
  CUPEL_ASSIGN_OR_RETURN(const auto bytes,
                         ReadFile(path, tpm::kMaxPcrFileSize));
  auto file = tpm::ParsePcrFile(bytes, selection);
  if (!file.ok()) return InFile(file.status(), path);
  return file;
}

void RegisterPadSha1(CLI::App& command, std::vector<std::string>& banks) {
  command
      .add_option("--pad-sha1", banks,
                  "The kernel fills this bank (sha256, sha384 or sha512) with "
                  "SHA-1 digests padded with zeros, as one does that lacks the "
                  "bank's hash when IMA starts. May be given several times")
      ->allow_extra_args(false)
      ->type_name("BANK");
}

absl::StatusOr<std::vector<HashAlgorithm>> PaddedBanks(
    const std::vector<std::string>& names) {
  std::vector<HashAlgorithm> banks;
  for (const std::string& name : names) {
    const auto bank = tpm::BankFromName(name);
    if (bank != HashAlgorithm::kSha256 && bank != HashAlgorithm::kSha384 &&
        bank != HashAlgorithm::kSha512) {
      return absl::InvalidArgumentError(absl::StrCat(
          "--pad-sha1 takes sha256, sha384 or sha512, not ", Quoted(name)));
    }
    banks.push_back(*bank);
  }
  return banks;
}

void RegisterListPcrs(CLI::App& command, std::vector<uint32_t>& pcrs) {
  command
      .add_option("--list-pcr", pcrs,
                  "A PCR that the machine's IMA policy extends beside PCR 10 "
                  "(pcr= in its rules), 11 to 15: its value has to be what the "
                  "list gives it. May be given several times; 10 alone takes "
                  "back what was given before")
      ->allow_extra_args(false)
      ->check(CLI::Range(10, 15))
      ->type_name("PCR");
}

void RegisterImaPolicies(CLI::App& command, std::vector<std::string>& paths) {
  command
      .add_option("--ima-policy", paths,
                  "Where the machine's IMA policy is loaded from: the list of "
                  "each boot has to show that file, with a digest that a "
                  "policy lists. May be given several times: one of them is "
                  "enough; none takes them back")
      ->allow_extra_args(false)
      ->type_name("PATH");
}

absl::StatusOr<std::vector<std::string>> ImaPolicies(
    const std::vector<std::string>& given) {
  if (given.size() == 1 && given.front() == "none") {
    return std::vector<std::string>();
  }
  CUPEL_RETURN_IF_ERROR(WithContext(policy::ValidateImaPolicyPaths(given),
                                    "--ima-policy takes paths, or none alone"));
  return given;
}

}  // namespace cupel::tenant
