#include "verifier/pki/pem_files.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "common/util/status_context.h"
#include "common/util/status_macros.h"

namespace cupel::verifier {
namespace {

constexpr size_t kMaxPemSize = size_t{1} << 20;

}  // namespace

absl::StatusOr<std::vector<std::string>> PemFiles(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) {
    return std::vector<std::string>{path};
  }
  std::vector<std::string> files;
  for (auto entry = std::filesystem::directory_iterator(path, error);
       !error && entry != std::filesystem::directory_iterator();
       entry.increment(error)) {
    const std::string extension = entry->path().extension().string();
    if (extension == ".pem" || extension == ".crt") {
      files.push_back(entry->path().string());
    }
  }
  if (error) {
    return absl::UnavailableError(absl::StrCat(path, ": ", error.message()));
  }
  std::ranges::sort(files);
  return files;
}

absl::StatusOr<std::vector<crypto::PublicKey>> LoadPublicKeys(
    const std::string& path) {
  CUPEL_ASSIGN_OR_RETURN(const std::vector<std::string> files, PemFiles(path));
  std::vector<crypto::PublicKey> keys;
  for (const std::string& file : files) {
    CUPEL_ASSIGN_OR_RETURN(const auto bytes, ReadFile(file, kMaxPemSize));
    auto key = crypto::PublicKey::FromPem(AsText(bytes));
    CUPEL_RETURN_IF_ERROR(WithContext(key.status(), file));
    keys.push_back(*std::move(key));
  }
  if (keys.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, ": there is no key (.pem) in it"));
  }
  return keys;
}

}  // namespace cupel::verifier
