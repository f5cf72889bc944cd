// Loader for runtime policies as JSON: Keylime's runtime policy (version 1),
// its older JSON allowlist, either of them in a DSSE envelope, and Cupel's own
// member "deny". docs/formats/policy.md has the grammar.
//
// Trust: a policy comes from the operator, yet is parsed as if it were hostile:
// tenants share a verifier. Where a file is ambiguous (a key twice in an
// object, two spellings of one path) it is refused, never guessed at.
#ifndef CUPEL_COMMON_POLICY_POLICY_FILE_H_
#define CUPEL_COMMON_POLICY_POLICY_FILE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/crypto/public_key.h"
#include "common/policy/runtime_policy.h"

namespace cupel::policy {

inline constexpr size_t kMaxPolicyFileSize = size_t{512} << 20;

struct PolicyFileOptions {
  // How messages call the file: raw bytes, a path usually.
  std::string origin = "policy";
  // The key that must have signed it: then only a DSSE envelope is accepted.
  std::optional<crypto::PublicKey> key;
};

// Loads what runs: a member that Keylime's schema requires and Cupel does not
// need may be missing, which is a warning. A member of the wrong type is an
// error, and so is any exclude that can't be compiled.
//
// Pass `bytes` with std::move: a copy of 10^6 digests is 130 MB.
//
// Errors: kInvalidArgument names file, line and member, or the reason why a
// pattern is refused; kResourceExhausted past kMaxPolicyFileSize;
// kFailedPrecondition for a signed policy without a key, and for an unsigned
// one with a key; kPermissionDenied if no signature is valid.
absl::StatusOr<RuntimePolicy> LoadPolicyFile(std::vector<uint8_t> bytes,
                                             const PolicyFileOptions& options);

// The content address of a policy file: SHA-256 of its bytes, as hex.
std::string PolicyContentId(std::span<const uint8_t> bytes);

}  // namespace cupel::policy

#endif  // CUPEL_COMMON_POLICY_POLICY_FILE_H_
