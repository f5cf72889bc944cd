// The allowlist as text: what sha256sum and its kin print, a digest and a path
// a line.
#ifndef CUPEL_COMMON_POLICY_ALLOWLIST_H_
#define CUPEL_COMMON_POLICY_ALLOWLIST_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/policy/runtime_policy.h"

namespace cupel::policy {

// Parses
//
//   line      = ["\"] digest separator path
//   digest    = HEX | ALGORITHM ":" HEX          (digest_text.h, either case)
//   separator = SP | SP SP | SP "*" | TAB
//
// into a policy that has digests and warnings only. After a leading backslash
// `\\`, `\n` and `\r` in the path stand for what they say, as sha256sum escapes
// them. A path may occur on any number of lines; all its digests count. Blank
// lines are skipped; a CR before the end of a line is dropped, with a warning.
//
// Warning codes: allowlist.relative_path, allowlist.crlf,
// allowlist.trailing_blank, allowlist.empty, digest.sha1.
//
// `origin` is raw bytes, a path usually (runtime_policy.h says who escapes it).
//
// kInvalidArgument, "`origin`:LINE: ...", for the first line that is anything
// else: a comment, no path, a NUL, three blanks before the path (which of them
// belong to it?), another escape; and for a digest that must not allow a file
// (CheckMayAllow of digest_text.h). kResourceExhausted past kMaxPolicyFileSize.
absl::StatusOr<RuntimePolicy> ParseAllowlist(absl::string_view text,
                                             absl::string_view origin);

// The same lines as a list of what to deny, into a policy that has deny rules
// and warnings only. Here a digest may be of any algorithm, and the paths are
// for messages. Warning codes: allowlist.crlf, deny.empty. Errors as above.
absl::StatusOr<RuntimePolicy> ParseDenyList(absl::string_view text,
                                            absl::string_view origin);

}  // namespace cupel::policy

#endif  // CUPEL_COMMON_POLICY_ALLOWLIST_H_
