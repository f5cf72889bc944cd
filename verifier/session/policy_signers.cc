#include "verifier/session/policy_signers.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/crypto/dsse.h"
#include "common/policy/policy_file.h"
#include "common/util/escape.h"

namespace cupel::verifier {

absl::StatusOr<policy::RuntimePolicy> LoadPolicy(std::vector<uint8_t> bytes,
                                                 const std::string& origin,
                                                 const PolicySigners& signers) {
  policy::PolicyFileOptions options;
  options.origin = origin;
  if (signers.keys.empty() && !signers.required) {
    return policy::LoadPolicyFile(std::move(bytes), options);
  }
  const auto envelope = crypto::ParseDsseEnvelope(bytes);
  if (!envelope.ok() && signers.required) {
    return absl::FailedPreconditionError(
        absl::StrCat(EscapeForDisplay(origin),
                     ": the policy is not signed, which this verifier "
                     "requires"));
  }
  if (envelope.ok()) {
    // Which one it is the loader finds out again: here they are only told
    // apart.
    const auto signer =
        std::ranges::find_if(signers.keys, [&](const crypto::PublicKey& key) {
          return crypto::VerifyDsse(*envelope, key).ok();
        });
    if (signer == signers.keys.end()) {
      return absl::PermissionDeniedError(
          absl::StrCat(EscapeForDisplay(origin),
                       ": none of the keys that this verifier takes has signed "
                       "the policy"));
    }
    options.key = *signer;
  }
  return policy::LoadPolicyFile(std::move(bytes), options);
}

}  // namespace cupel::verifier
