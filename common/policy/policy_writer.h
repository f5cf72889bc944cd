// Writers for policy files. What they write, this folder's loaders read back
// as the same policy; the same policy always gives the same bytes.
#ifndef CUPEL_COMMON_POLICY_POLICY_WRITER_H_
#define CUPEL_COMMON_POLICY_POLICY_WRITER_H_

#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "common/policy/digest_table.h"
#include "common/policy/runtime_policy.h"

namespace cupel::policy {

// Keylime's runtime policy, version 1, with every member that its schema
// requires ("sha1" for log_hash_alg where the policy has none, as Keylime
// does), and "deny" where the policy has one. Paths in ascending order of their
// bytes. A byte that is not part of UTF-8 is written as \udc80 to \udcff.
std::string WritePolicyJson(const RuntimePolicy& policy);

// The digests as sha256sum would print them, in ascending order of paths; a
// path without a digest is left out, since a text allowlist can't say it.
std::string WriteAllowlist(const DigestTable& digests);

// A pattern a line. kInvalidArgument for one that can't be a line: it has a
// newline, is blank, or ends in a CR.
absl::StatusOr<std::string> WriteExcludeList(
    std::span<const ExcludePattern> patterns);

}  // namespace cupel::policy

#endif  // CUPEL_COMMON_POLICY_POLICY_WRITER_H_
