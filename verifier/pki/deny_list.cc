#include "verifier/pki/deny_list.h"

#include <cerrno>
#include <cstring>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/util/bytes.h"
#include "common/util/escape.h"
#include "common/util/file.h"
#include "common/util/hex.h"
#include "common/util/status_macros.h"

namespace cupel::verifier {
namespace {

constexpr size_t kMaxDenyListSize = size_t{16} << 20;
constexpr size_t kDigestSize = 32;

absl::Status Unusable(const std::string& path, absl::string_view why) {
  return absl::FailedPreconditionError(absl::StrCat(
      "every operator is refused, as the deny list can't be read: ", why,
      "; mend ", EscapeForDisplay(path), ", or set client_deny_list anew"));
}

}  // namespace

absl::StatusOr<std::set<std::string>> ParseDenyList(absl::string_view text) {
  std::set<std::string> digests;
  int number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    line = absl::StripAsciiWhitespace(line.substr(0, line.find('#')));
    if (line.empty()) continue;
    const auto digest = HexDecode(line);
    if (!digest.ok() || digest->size() != kDigestSize) {
      return absl::InvalidArgumentError(
          absl::StrCat("line ", number, ": ", Quoted(line, 80),
                       " is no SHA-256 digest of 64 hex digits"));
    }
    digests.insert(HexEncode(*digest));
  }
  return digests;
}

absl::Status DenyList::Refresh() {
  const std::optional<FileVersion> version = VersionOfFile(path_);
  if (!version.has_value()) {
    version_.reset();
    return Unusable(path_, std::strerror(errno));
  }
  if (version_ == version) return absl::OkStatus();
  version_.reset();
  const auto bytes = ReadFile(path_, kMaxDenyListSize);
  if (!bytes.ok()) return Unusable(path_, bytes.status().message());
  auto denied = ParseDenyList(AsText(*bytes));
  if (!denied.ok()) return Unusable(path_, denied.status().message());
  denied_ = *std::move(denied);
  version_ = version;
  return absl::OkStatus();
}

absl::Status DenyList::Check(absl::string_view spki_sha256) {
  if (path_.empty()) return absl::OkStatus();
  const std::lock_guard lock(mutex_);
  CUPEL_RETURN_IF_ERROR(Refresh());
  if (denied_.contains(absl::AsciiStrToLower(spki_sha256))) {
    return absl::PermissionDeniedError(
        "this operator's key is on the deny list");
  }
  return absl::OkStatus();
}

}  // namespace cupel::verifier
