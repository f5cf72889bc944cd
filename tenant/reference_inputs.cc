#include "tenant/reference_inputs.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/policy/digest_text.h"
#include "common/util/escape.h"
#include "common/util/file.h"
#include "common/util/status_context.h"
#include "common/util/status_macros.h"
#include "tenant/console.h"
#include "tenant/inputs.h"
#include "tenant/reference/file_tree.h"
#include "tenant/reference/initramfs.h"
#include "tenant/reference/kernel_path.h"

namespace cupel::tenant {
namespace {

using ::cupel::crypto::HashAlgorithm;

constexpr size_t kMaxImageSize = size_t{2} << 30;
constexpr size_t kShownProblems = 50;

// Names the files, a line each, up to a number that people read.
void PrintNotes(absl::string_view what, const std::vector<PathNote>& notes) {
  for (size_t i = 0; i < std::min(notes.size(), kShownProblems); ++i) {
    PrintError(absl::StrCat(what, EscapeForDisplay(notes[i].path), ": ",
                            EscapeForDisplay(notes[i].text)));
  }
  if (notes.size() > kShownProblems) {
    PrintError(absl::StrCat(what, notes.size() - kShownProblems, " more"));
  }
}

absl::Status AddOne(policy::DigestTable::Builder& digests,
                    absl::string_view path, const crypto::Digest& digest) {
  if (path.size() > kMaxKernelPathSize) {
    PrintError(absl::StrCat("warning: left out, the kernel can't name it: ",
                            Quoted(path, 100)));
    return absl::OkStatus();
  }
  return digests.Add(KernelPath(path), digest);
}

absl::Status AddTree(const ReferenceFlags& flags, HashAlgorithm algorithm,
                     policy::DigestTable::Builder& digests,
                     ReferenceCounts& counts) {
  ProgressMeter meter("files hashed");
  FileTreeOptions options;
  options.algorithm = algorithm;
  options.skip_paths = flags.skip_paths;
  options.progress = [&meter](uint64_t count) { meter.Update(count); };
  CUPEL_ASSIGN_OR_RETURN(const FileTreeDigests tree,
                         HashFileTree(flags.root, options));
  meter.Clear();
  PrintNotes("warning: left out, a file system whose files change elsewhere: ",
             tree.left_out);
  if (!tree.unreadable.empty() && !flags.skip_unreadable) {
    PrintNotes("can't be read: ", tree.unreadable);
    return absl::InvalidArgumentError(absl::StrCat(
        tree.unreadable.size(),
        " files or folders can't be read, so nothing is written; run it as "
        "root, leave them out by --skip-path, or take what can be read by "
        "--skip-unreadable"));
  }
  PrintNotes("warning: skipped, can't be read: ", tree.unreadable);
  for (const auto& file : tree.files) {
    CUPEL_RETURN_IF_ERROR(AddOne(digests, file.path, file.digest));
  }
  counts.file_count += tree.files.size();
  counts.skipped_count += tree.unreadable.size();
  counts.vanished_count += tree.vanished_count;
  return absl::OkStatus();
}

absl::Status AddInitramfs(const std::string& path, HashAlgorithm algorithm,
                          policy::DigestTable::Builder& digests,
                          ReferenceCounts& counts) {
  CUPEL_ASSIGN_OR_RETURN(const auto image, ReadFile(path, kMaxImageSize));
  ProgressMeter meter(absl::StrCat("entries of ", InputName(path)));
  InitramfsOptions options;
  options.algorithm = algorithm;
  options.progress = [&meter](uint64_t count) { meter.Update(count); };
  const auto tree = ReadInitramfs(image, options);
  meter.Clear();
  if (!tree.ok()) return WithContext(tree.status(), InputName(path));
  absl::Status status;
  tree->ForEachFile([&](absl::string_view name, const crypto::Digest& digest) {
    if (status.ok()) status = AddOne(digests, name, digest);
    ++counts.initramfs_count;
  });
  return status;
}

}  // namespace

absl::StatusOr<HashAlgorithm> ParseAlgorithm(absl::string_view name) {
  const auto algorithm =
      crypto::HashAlgorithmFromName(absl::StripSuffix(name, "sum"));
  for (const auto known : {HashAlgorithm::kSha1, HashAlgorithm::kSha256,
                           HashAlgorithm::kSha384, HashAlgorithm::kSha512}) {
    if (algorithm == known) return known;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "the algorithm is sha1, sha256, sha384 or sha512 (with or without a "
      "\"sum\" behind it), not ",
      Quoted(name, 100)));
}

void ReferenceFlags::Register(CLI::App& command) {
  command
      .add_option("--initramfs", initramfs,
                  "An initramfs image, each of its files by the path that it "
                  "has once the kernel has unpacked it. May be given several "
                  "times")
      ->allow_extra_args(false)
      ->type_name("FILE");
  command
      .add_option("--skip-path", skip_paths,
                  "A path within the root that is left out, with all below "
                  "it. May be given several times")
      ->allow_extra_args(false)
      ->type_name("PATH");
  command.add_flag("--skip-unreadable", skip_unreadable,
                   "Go on without what can't be read, and say so");
}

nlohmann::ordered_json ReferenceCounts::ToJson() const {
  return {{"files", file_count},
          {"initramfs_files", initramfs_count},
          {"skipped_unreadable", skipped_count},
          {"vanished", vanished_count}};
}

absl::StatusOr<ReferenceCounts> AddReferenceFiles(
    const ReferenceFlags& flags, HashAlgorithm algorithm,
    policy::DigestTable::Builder& digests) {
  CUPEL_RETURN_IF_ERROR(CheckStandardInput(flags.initramfs));
  ReferenceCounts counts;
  // The images first: a wrong one is found in no time.
  for (const std::string& path : flags.initramfs) {
    CUPEL_RETURN_IF_ERROR(AddInitramfs(path, algorithm, digests, counts));
  }
  if (!flags.root.empty()) {
    CUPEL_RETURN_IF_ERROR(AddTree(flags, algorithm, digests, counts));
  }
  if (algorithm == HashAlgorithm::kSha1) {
    PrintError(absl::StrCat(
        "warning: ",
        policy::Sha1Warning(counts.file_count + counts.initramfs_count)));
  }
  return counts;
}

}  // namespace cupel::tenant
