// The form of an agent's policies that appraisal asks: compiled once,
// immutable, shared by any number of agents and threads.
#ifndef CUPEL_COMMON_POLICY_COMPILED_POLICY_H_
#define CUPEL_COMMON_POLICY_COMPILED_POLICY_H_

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/crypto/digest.h"
#include "common/policy/digest_table.h"
#include "common/policy/exclude_list.h"
#include "common/policy/runtime_policy.h"

namespace cupel::policy {

// A policy in an agent's ordered list.
struct PolicyAssignment {
  std::shared_ptr<const RuntimePolicy> policy;
  // An exclude weakens every policy beside it: the assignment says whether this
  // one's count (docs/protocol.md, 7).
  bool allow_excludes = true;
};

class CompiledPolicy {
 public:
  // Digests unite, a deny from any policy wins, excludes count from those that
  // may have them. The policies are shared, not copied. Errors as from
  // ExcludeSet::Create (exclude_list.h), for all their patterns together.
  static absl::StatusOr<std::shared_ptr<const CompiledPolicy>> Create(
      std::vector<PolicyAssignment> policies);

  // The union's answer for a path and a digest. Denied digests are not
  // considered: ask FindDeny first.
  DigestMatch MatchDigest(absl::string_view path,
                          crypto::HashAlgorithm algorithm,
                          std::span<const uint8_t> digest) const;
  // For batches, which hash each path once: `hash` is HashPath(path). The
  // prefetches are hints only: Prefetch for all paths, then PrefetchRecord for
  // all, then MatchDigest.
  static uint32_t HashPath(absl::string_view path) {
    return DigestTable::HashPath(path);
  }
  void Prefetch(uint32_t hash) const;
  void PrefetchRecord(uint32_t hash) const;
  DigestMatch MatchDigest(uint32_t hash, absl::string_view path,
                          crypto::HashAlgorithm algorithm,
                          std::span<const uint8_t> digest) const;

  // The digests that any of the policies lists for `path`, for messages.
  std::vector<crypto::Digest> FindDigests(absl::string_view path) const;

  // The rule that denies this digest, or nullptr.
  const DenyRule* FindDeny(crypto::HashAlgorithm algorithm,
                           std::span<const uint8_t> digest) const;
  bool denies_anything() const { return !deny_.empty(); }

  // True if an exclude matches the start of `path`; exclude_list.h says which
  // patterns are asked about which names, and what it costs.
  bool IsExcluded(absl::string_view path) const;

  // As MatchDigest, for the measured buffer called `name`: what the policies
  // list in "ima-buf", and for a key in "keyrings".
  DigestMatch MatchBuffer(absl::string_view name,
                          crypto::HashAlgorithm algorithm,
                          std::span<const uint8_t> digest) const;

  const std::vector<PolicyAssignment>& assignments() const {
    return assignments_;
  }

  // SHA-256, as hex, over the policies' content ids in their order, and whose
  // excludes count: equal for equal policies only. Empty if one of them has no
  // content id.
  const std::string& content_id() const { return content_id_; }

 private:
  CompiledPolicy() = default;

  std::vector<PolicyAssignment> assignments_;
  std::string content_id_;
  // Pointers into `assignments_`' policies.
  std::vector<const DigestTable*> tables_;
  absl::flat_hash_map<std::string, const DenyRule*> deny_;
  ExcludeSet excludes_;
};

}  // namespace cupel::policy

#endif  // CUPEL_COMMON_POLICY_COMPILED_POLICY_H_
