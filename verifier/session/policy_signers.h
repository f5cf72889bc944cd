// Whose signatures count on policies.
#ifndef CUPEL_VERIFIER_SESSION_POLICY_SIGNERS_H_
#define CUPEL_VERIFIER_SESSION_POLICY_SIGNERS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/crypto/public_key.h"
#include "common/policy/runtime_policy.h"

namespace cupel::verifier {

struct PolicySigners {
  std::vector<crypto::PublicKey> keys = {};
  // A policy that is not signed is refused.
  bool required = false;
};

// Loads a policy's file as policy::LoadPolicyFile does; `origin` is how
// messages call it. A signed one (DSSE) has to be signed by one of the keys:
// kPermissionDenied else, and kFailedPrecondition where there are no keys. An
// unsigned one is kFailedPrecondition where a signature is required.
absl::StatusOr<policy::RuntimePolicy> LoadPolicy(std::vector<uint8_t> bytes,
                                                 const std::string& origin,
                                                 const PolicySigners& signers);

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_SESSION_POLICY_SIGNERS_H_
