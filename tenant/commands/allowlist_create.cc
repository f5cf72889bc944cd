#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "CLI/App.hpp"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "common/policy/digest_table.h"
#include "common/policy/policy_writer.h"
#include "common/util/escape.h"
#include "common/util/file.h"
#include "common/util/status_macros.h"
#include "tenant/commands/commands.h"
#include "tenant/console.h"
#include "tenant/help_formatter.h"
#include "tenant/reference/initramfs.h"
#include "tenant/reference_inputs.h"

namespace cupel::tenant {
namespace {

struct AllowlistCreateFlags {
  std::string output;
  std::string algorithm = "sha256";
  ReferenceFlags reference;
  bool no_initramfs = false;
  bool json = false;
};

struct Created {
  ReferenceCounts counts;
  size_t line_count = 0;
};

absl::StatusOr<Created> Create(const AllowlistCreateFlags& flags) {
  CUPEL_ASSIGN_OR_RETURN(const auto algorithm, ParseAlgorithm(flags.algorithm));
  if (flags.no_initramfs && !flags.reference.initramfs.empty()) {
    return absl::InvalidArgumentError(
        "--initramfs or --no-initramfs, not both");
  }
  if (flags.json && flags.output == "-") {
    return absl::InvalidArgumentError(
        "--json prints on standard output what was done, so the allowlist "
        "can't go there: name a file");
  }
  ReferenceFlags reference = flags.reference;
  if (reference.initramfs.empty() && !flags.no_initramfs) {
    CUPEL_ASSIGN_OR_RETURN(
        reference.initramfs,
        FindInitramfsImages(absl::StrCat(reference.root, "/boot")));
  }
  policy::DigestTable::Builder builder;
  Created created;
  CUPEL_ASSIGN_OR_RETURN(created.counts,
                         AddReferenceFiles(reference, algorithm, builder));
  const policy::DigestTable digests = std::move(builder).Build();
  created.line_count = digests.digest_count();
  if (created.line_count == 0) {
    return absl::NotFoundError(
        absl::StrCat(EscapeForDisplay(reference.root),
                     ": no file is there, so there is nothing to allow"));
  }
  CUPEL_RETURN_IF_ERROR(
      WriteFile(flags.output, policy::WriteAllowlist(digests)));
  return created;
}

ExitCode Run(const AllowlistCreateFlags& flags) {
  const auto created = Create(flags);
  if (!created.ok()) return Fail(created.status());
  if (flags.json) {
    nlohmann::ordered_json json = created->counts.ToJson();
    json["lines"] = created->line_count;
    PrintLine(DumpJson(json, 2));
  } else if (flags.output != "-") {
    const ReferenceCounts& counts = created->counts;
    PrintLine(absl::StrCat(EscapeForDisplay(flags.output), ": ",
                           created->line_count, " digests, of ",
                           counts.file_count, " files and ",
                           counts.initramfs_count, " in the initramfs"));
  }
  return ExitCode::kOk;
}

}  // namespace

void RegisterAllowlistCreate(CLI::App& parent, ExitCode& exit_code) {
  const auto flags = std::make_shared<AllowlistCreateFlags>();
  flags->reference.root = "/";
  CLI::App* command = parent.add_subcommand(
      "create",
      "Hash every file of this system, or of a root filesystem, and those of "
      "its initramfs images: a digest and a path a line, as sha256sum prints "
      "them. Left out are /proc, /sys, /dev and /run, and what is mounted "
      "elsewhere of the file systems that an IMA policy leaves out. Do it on a "
      "machine that is known to be good.");
  command
      ->add_option("output", flags->output,
                   "Where to write, replaced in one step; - for standard "
                   "output")
      ->required()
      ->type_name("OUT");
  command
      ->add_option("algorithm", flags->algorithm,
                   "The one that the kernel measures with: sha256 (the "
                   "default), sha1, sha384, sha512; sha256sum and so on mean "
                   "the same")
      ->type_name("ALGO");
  command
      ->add_option("--root", flags->reference.root,
                   "A root filesystem in place of this system's")
      ->type_name("DIR");
  flags->reference.Register(*command);
  command->add_flag("--no-initramfs", flags->no_initramfs,
                    "Leave the images out. Unless some are named they are "
                    "those of the root's /boot, by names that begin with "
                    "initr");
  command->add_flag("--json", flags->json, "Print what was done as JSON");
  AddExamples(
      *command,
      {"cupel-tenant allowlist create allowlist.txt",
       "cupel-tenant allowlist create allowlist.txt sha1sum",
       "cupel-tenant allowlist create - --root /srv/image --skip-path /var"});
  command->callback([flags, &exit_code] { exit_code = Run(*flags); });
}

}  // namespace cupel::tenant
