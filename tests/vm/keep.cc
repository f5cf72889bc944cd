#include "tests/vm/keep.h"

#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/crypto/digest.h"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "common/util/status_macros.h"
#include "nlohmann/json.hpp"

namespace cupel::vm {
namespace {

namespace fs = std::filesystem;

constexpr char kIma[] = "/sys/kernel/security/ima/";
constexpr char kEventLog[] =
    "/sys/kernel/security/tpm0/binary_bios_measurements";
// In the guest.
constexpr char kEvidence[] = "/run/evidence/";

absl::Status KeepFile(Lab& lab, const std::string& from,
                      const std::string& to) {
  CUPEL_ASSIGN_OR_RETURN(const std::string content, lab.machine().Read(from));
  return WriteFile(to, content);
}

absl::Status KeepQuote(Lab& lab, const std::string& name,
                       const std::string& folder) {
  const crypto::Digest nonce =
      crypto::Hash(crypto::HashAlgorithm::kSha256, AsBytes(name));
  CUPEL_RETURN_IF_ERROR(
      lab.machine()
          .Do(absl::StrCat("mkdir -p ", kEvidence, "; echo ",
                           absl::Base64Escape(AsText(nonce.bytes())),
                           " | base64 -d > ", kEvidence, "nonce; quote-tool ",
                           kEvidence))
          .status());
  for (const char* const file :
       {"nonce", "quote.msg", "quote.sig", "ak.pub", "ek.pub"}) {
    CUPEL_RETURN_IF_ERROR(
        KeepFile(lab, absl::StrCat(kEvidence, file), folder + file));
  }
  return absl::OkStatus();
}

// {"sha256": {"0": "3a3f...", ...}}, as tests/vectors/ima has it.
absl::Status KeepPcrs(Lab& lab, const std::string& path) {
  CUPEL_ASSIGN_OR_RETURN(
      const std::string shown,
      lab.machine().Do("cd /sys/class/tpm/tpm0; for bank in pcr-*; do for i in "
                       "$(seq 0 23); do read v <$bank/$i; echo ${bank#pcr-} $i "
                       "$v; done; done"));
  nlohmann::ordered_json pcrs;
  for (const absl::string_view line :
       absl::StrSplit(shown, '\n', absl::SkipEmpty())) {
    const std::vector<std::string> words = absl::StrSplit(line, ' ');
    if (words.size() != 3) return absl::InternalError(shown);
    pcrs[words[0]][words[1]] = absl::AsciiStrToLower(words[2]);
  }
  return WriteFile(path, absl::StrCat(pcrs.dump(1), "\n"));
}

}  // namespace

absl::Status Keep(Lab& lab, const std::string& name) {
  const char* const root = std::getenv("CUPEL_VM_KEEP");
  if (root == nullptr) return absl::OkStatus();
  const std::string folder = absl::StrCat(root, "/", name, "/");
  std::error_code error;
  fs::remove_all(folder, error);
  if (!fs::create_directories(folder, error)) {
    return absl::InternalError(absl::StrCat(folder, ": ", error.message()));
  }
  CUPEL_RETURN_IF_ERROR(KeepQuote(lab, name, folder));
  for (const char* const list :
       {"binary_runtime_measurements", "ascii_runtime_measurements"}) {
    CUPEL_RETURN_IF_ERROR(
        KeepFile(lab, absl::StrCat(kIma, list), folder + list));
  }
  CUPEL_RETURN_IF_ERROR(KeepPcrs(lab, folder + "pcrs.json"));
  CUPEL_RETURN_IF_ERROR(
      KeepFile(lab, kEventLog, folder + "binary_bios_measurements"));
  CUPEL_ASSIGN_OR_RETURN(const std::string kernel,
                         lab.machine().Do("cat /proc/version /proc/cmdline"));
  return WriteFile(folder + "kernel.txt", kernel);
}

}  // namespace cupel::vm
