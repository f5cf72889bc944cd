#include <algorithm>
#include <iterator>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "CLI/App.hpp"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "common/appraisal/reference_values.h"
#include "common/policy/digest_table.h"
#include "common/policy/policy_writer.h"
#include "common/policy/runtime_policy.h"
#include "common/util/escape.h"
#include "common/util/file.h"
#include "common/util/status_macros.h"
#include "tenant/commands/commands.h"
#include "tenant/console.h"
#include "tenant/help_formatter.h"
#include "tenant/inputs.h"
#include "tenant/reference/initramfs.h"
#include "tenant/reference_inputs.h"

namespace cupel::tenant {
namespace {

using ::cupel::policy::RuntimePolicy;

struct PolicyCreateFlags {
  ReferenceFlags reference;
  std::string ramdisk_folder;
  std::string ima_list;
  bool buffers = false;
  ListFlags list;
  std::string base_policy;
  std::string allowlist;
  std::string excludes;
  std::string algorithm = "sha256";
  std::string output = "-";
  bool json = false;
};

// A policy that others are added to. What can stand in it once only is the
// first one's.
class PolicyBuilder {
 public:
  policy::DigestTable::Builder& digests() { return digests_; }

  absl::Status Add(const RuntimePolicy& from) {
    absl::Status status;
    from.digests.ForEach(
        [&](absl::string_view path, std::span<const crypto::Digest> digests) {
          if (status.ok()) status = digests_.AddPath(path);
          for (const crypto::Digest& digest : digests) {
            if (!status.ok()) return;
            status = digests_.AddDigest(digest.algorithm(), digest.bytes());
          }
        });
    CUPEL_RETURN_IF_ERROR(status);
    const auto append = [](const auto& items, auto& to) {
      std::ranges::copy(items, std::back_inserter(to));
    };
    append(from.excludes, policy_.excludes);
    append(from.deny, policy_.deny);
    append(from.ignored_keyrings, policy_.ignored_keyrings);
    append(from.warnings, policy_.warnings);
    for (const auto& [ring, keys] : from.keyrings) {
      append(keys, policy_.keyrings[ring]);
    }
    for (const auto& [name, buffers] : from.buffers) {
      append(buffers, policy_.buffers[name]);
    }
    const auto take = [](const std::string& text, std::string& to) {
      if (to.empty()) to = text;
    };
    take(from.log_hash_alg, policy_.log_hash_alg);
    take(from.dm_policy_json, policy_.dm_policy_json);
    take(from.verification_keys, policy_.verification_keys);
    policy_.release = std::max(policy_.release, from.release);
    return absl::OkStatus();
  }

  RuntimePolicy Build() && {
    policy_.digests = std::move(digests_).Build();
    return std::move(policy_);
  }

 private:
  policy::DigestTable::Builder digests_;
  RuntimePolicy policy_;
};

absl::Status AddPolicyFiles(const PolicyCreateFlags& flags,
                            PolicyBuilder& builder) {
  PolicyFlags files;
  if (!flags.base_policy.empty()) files.policies = {flags.base_policy};
  files.allowlist = flags.allowlist;
  files.excludes = flags.excludes;
  if (files.Paths().empty()) return absl::OkStatus();
  CUPEL_ASSIGN_OR_RETURN(const auto policies, LoadPolicies(files));
  for (const NamedPolicy& named : policies) {
    CUPEL_RETURN_IF_ERROR(builder.Add(*named.policy));
  }
  return absl::OkStatus();
}

absl::Status AddList(const PolicyCreateFlags& flags, PolicyBuilder& builder) {
  if (flags.ima_list.empty()) return absl::OkStatus();
  CUPEL_ASSIGN_OR_RETURN(const auto list, LoadList(flags.ima_list, flags.list));
  const auto policy = appraisal::MakePolicyFromList(
      list, flags.list.ToOptions(),
      {.origin = flags.ima_list == "-" ? "standard input" : flags.ima_list,
       .include_buffers = flags.buffers});
  if (!policy.ok()) return InFile(policy.status(), flags.ima_list);
  return builder.Add(*policy);
}

struct Created {
  ReferenceCounts counts;
  RuntimePolicy policy;
};

absl::StatusOr<Created> Create(const PolicyCreateFlags& flags) {
  CUPEL_ASSIGN_OR_RETURN(const auto algorithm, ParseAlgorithm(flags.algorithm));
  std::vector<std::string> inputs = {flags.base_policy, flags.allowlist,
                                     flags.excludes, flags.ima_list};
  inputs.insert(inputs.end(), flags.reference.initramfs.begin(),
                flags.reference.initramfs.end());
  CUPEL_RETURN_IF_ERROR(CheckStandardInput(inputs));
  if (flags.json && flags.output == "-") {
    return absl::InvalidArgumentError(
        "--json prints on standard output what was done, so the policy can't "
        "go there: give -o FILE");
  }
  ReferenceFlags reference = flags.reference;
  if (!flags.ramdisk_folder.empty()) {
    CUPEL_ASSIGN_OR_RETURN(const auto images,
                           FindInitramfsImages(flags.ramdisk_folder));
    if (images.empty()) {
      return absl::NotFoundError(
          absl::StrCat(EscapeForDisplay(flags.ramdisk_folder),
                       ": no file there begins with initr"));
    }
    std::ranges::copy(images, std::back_inserter(reference.initramfs));
  }
  if (flags.buffers && flags.ima_list.empty()) {
    return absl::InvalidArgumentError(
        "--buffers is about a measurement list: give --ima-list FILE");
  }
  if (reference.root.empty() && reference.initramfs.empty() &&
      flags.ima_list.empty() && flags.allowlist.empty() &&
      flags.base_policy.empty()) {
    return absl::InvalidArgumentError(
        "nothing to make a policy of: give --rootfs DIR, --initramfs FILE, "
        "--ima-list FILE, --allowlist FILE or --base-policy FILE");
  }
  PolicyBuilder builder;
  CUPEL_RETURN_IF_ERROR(AddPolicyFiles(flags, builder));
  CUPEL_RETURN_IF_ERROR(AddList(flags, builder));
  Created created;
  CUPEL_ASSIGN_OR_RETURN(created.counts, AddReferenceFiles(reference, algorithm,
                                                           builder.digests()));
  created.policy = std::move(builder).Build();
  // What is written has to be usable.
  CUPEL_RETURN_IF_ERROR(
      Compile({{"the new policy",
                std::make_shared<const RuntimePolicy>(created.policy)}})
          .status());
  CUPEL_RETURN_IF_ERROR(
      WriteFile(flags.output, policy::WritePolicyJson(created.policy)));
  return created;
}

ExitCode Run(const PolicyCreateFlags& flags) {
  const auto created = Create(flags);
  if (!created.ok()) return Fail(created.status());
  const RuntimePolicy& policy = created->policy;
  PrintWarnings(policy.warnings);
  if (flags.json) {
    nlohmann::ordered_json json = created->counts.ToJson();
    json["paths"] = policy.digests.path_count();
    json["digest_count"] = policy.digests.digest_count();
    json["excludes"] = policy.excludes.size();
    PrintLine(DumpJson(json, 2));
  } else if (flags.output != "-") {
    PrintLine(absl::StrCat(EscapeForDisplay(flags.output), ": ",
                           policy.digests.digest_count(), " digests of ",
                           policy.digests.path_count(), " paths, ",
                           policy.excludes.size(), " excludes"));
  }
  return ExitCode::kOk;
}

}  // namespace

void RegisterPolicyCreate(CLI::App& parent, ExitCode& exit_code) {
  const auto flags = std::make_shared<PolicyCreateFlags>();
  CLI::App* command = parent.add_subcommand(
      "create",
      "Make a policy of what a machine may run: the files of its root "
      "filesystem and its initramfs, what a good machine has measured, lists "
      "and policies that there are. All of them together count. It is written "
      "as Keylime's runtime policy (JSON).");
  const auto option = [&](const char* name, std::string& value,
                          const char* help, const char* type) {
    command->add_option(name, value, help)->type_name(type);
  };
  option("--rootfs", flags->reference.root,
         "A root filesystem, mounted or unpacked; / for this system's", "DIR");
  flags->reference.Register(*command);
  option("--ramdisk-dir", flags->ramdisk_folder,
         "Every initramfs image in this folder, by names that begin with initr",
         "DIR");
  option("-m,--ima-list,--ima-measurement-list", flags->ima_list,
         "The measurement list, binary or ASCII, of a machine that is known to "
         "be good: every file in it, with the digest that it had",
         "FILE");
  command->add_flag("--buffers", flags->buffers,
                    "With --ima-list: also what was measured that is no file: "
                    "keys, kernel command lines, critical data");
  flags->list.Register(*command);
  option("-a,--allowlist", flags->allowlist,
         "An allowlist: a digest and a path a line, or Keylime's JSON", "FILE");
  option("-e,--exclude,--excludelist", flags->excludes,
         "Excludes: a Python regular expression a line", "FILE");
  option("--base-policy", flags->base_policy,
         "A policy that the new one begins with (JSON)", "FILE");
  option("--algo", flags->algorithm,
         "The one that the kernel measures with, for --rootfs and --initramfs: "
         "sha256 (the default), sha1, sha384, sha512",
         "ALGO");
  option("-o,--output", flags->output,
         "Where to write, replaced in one step; - (the default) for standard "
         "output",
         "FILE");
  command->add_flag("--json", flags->json, "Print what was done as JSON");
  AddExamples(
      *command,
      {"cupel-tenant policy create --rootfs / --ramdisk-dir /boot -o base.json",
       "cupel-tenant policy create --rootfs /srv/image --skip-path /var/lib \\",
       "    --exclude exclude.txt -o image.json",
       "cupel-tenant policy create --base-policy base.json \\",
       "    --ima-list binary_runtime_measurements -o site.json"});
  command->callback([flags, &exit_code] { exit_code = Run(*flags); });
}

}  // namespace cupel::tenant
