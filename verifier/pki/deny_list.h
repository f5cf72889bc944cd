// Operators' keys that are refused although their certificates are valid.
#ifndef CUPEL_VERIFIER_PKI_DENY_LIST_H_
#define CUPEL_VERIFIER_PKI_DENY_LIST_H_

#include <mutex>
#include <optional>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "verifier/pki/file_version.h"

namespace cupel::verifier {

// The SHA-256 digests, in lower-case hex, that `text` lists: one a line, in hex
// of either case. What follows a '#' is a comment, and empty lines don't count.
// kInvalidArgument, with the line's number, for anything else.
absl::StatusOr<std::set<std::string>> ParseDenyList(absl::string_view text);

// A file of the above, which may change at any time.
//
// Threads: any.
class DenyList {
 public:
  // An empty path: nobody is denied. Nothing is read yet.
  explicit DenyList(std::string path) : path_(std::move(path)) {}
  DenyList(const DenyList&) = delete;
  DenyList& operator=(const DenyList&) = delete;

  // Looks at the file again if it is another one, or was written to. Call it
  // for each request: it costs one stat().
  //
  // OK unless the key is listed: kPermissionDenied. A list that is missing or
  // can't be read denies everybody, with an error that names the cure:
  // kFailedPrecondition.
  absl::Status Check(absl::string_view spki_sha256);

 private:
  absl::Status Refresh();

  const std::string path_;
  std::mutex mutex_;
  std::optional<FileVersion> version_;  // of `denied_`; nullopt: none was read
  std::set<std::string> denied_;
};

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_PKI_DENY_LIST_H_
