#include "common/policy/compiled_policy.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "common/policy/digest_text.h"
#include "common/util/bytes.h"
#include "common/util/status_macros.h"

namespace cupel::policy {
namespace {

// A digest as a hash table's key: the algorithm and the digest's bytes, at
// most 65.
struct DigestKey {
  DigestKey(crypto::HashAlgorithm algorithm, std::span<const uint8_t> digest)
      : size(1 + std::min(digest.size(), crypto::kMaxDigestSize)) {
    bytes[0] = static_cast<char>(algorithm);
    std::ranges::copy(digest.first(size - 1), bytes + 1);
  }
  absl::string_view view() const { return {bytes, size}; }

  char bytes[1 + crypto::kMaxDigestSize];
  size_t size;
};

// The better of two answers: listed, then another digest, then not at all.
DigestMatch Better(DigestMatch a, DigestMatch b) { return std::min(a, b); }

std::string ContentIdOf(const std::vector<PolicyAssignment>& policies) {
  std::vector<uint8_t> message;
  for (const PolicyAssignment& assignment : policies) {
    const std::string& id = assignment.policy->content_id;
    if (id.empty()) return "";
    AppendBe(message, static_cast<uint64_t>(id.size()));
    Append(message, AsBytes(id));
    message.push_back(assignment.allow_excludes ? 1 : 0);
  }
  return crypto::Hash(crypto::HashAlgorithm::kSha256, message).Hex();
}

}  // namespace

absl::StatusOr<std::shared_ptr<const CompiledPolicy>> CompiledPolicy::Create(
    std::vector<PolicyAssignment> policies) {
  auto compiled = std::shared_ptr<CompiledPolicy>(new CompiledPolicy());
  std::vector<ExcludePattern> excludes;
  for (const PolicyAssignment& assignment : policies) {
    if (assignment.policy == nullptr) {
      return absl::InvalidArgumentError("an assignment without a policy");
    }
    const RuntimePolicy& policy = *assignment.policy;
    if (policy.digests.path_count() > 0) {
      compiled->tables_.push_back(&policy.digests);
    }
    for (const DenyRule& rule : policy.deny) {
      const DigestKey key(rule.digest.algorithm(), rule.digest.bytes());
      // The first rule is the one that messages show.
      compiled->deny_.try_emplace(key.view(), &rule);
    }
    if (assignment.allow_excludes) {
      std::ranges::copy(policy.excludes, std::back_inserter(excludes));
    }
  }
  CUPEL_ASSIGN_OR_RETURN(compiled->excludes_,
                         ExcludeSet::Create(std::move(excludes)));
  compiled->content_id_ = ContentIdOf(policies);
  compiled->assignments_ = std::move(policies);
  return compiled;
}

DigestMatch CompiledPolicy::MatchDigest(absl::string_view path,
                                        crypto::HashAlgorithm algorithm,
                                        std::span<const uint8_t> digest) const {
  return MatchDigest(HashPath(path), path, algorithm, digest);
}

DigestMatch CompiledPolicy::MatchDigest(uint32_t hash, absl::string_view path,
                                        crypto::HashAlgorithm algorithm,
                                        std::span<const uint8_t> digest) const {
  DigestMatch best = DigestMatch::kUnlisted;
  for (const DigestTable* table : tables_) {
    best = Better(best, table->Match(hash, path, algorithm, digest));
    if (best == DigestMatch::kListed) break;
  }
  return best;
}

void CompiledPolicy::Prefetch(uint32_t hash) const {
  for (const DigestTable* table : tables_) table->Prefetch(hash);
}

void CompiledPolicy::PrefetchRecord(uint32_t hash) const {
  for (const DigestTable* table : tables_) table->PrefetchRecord(hash);
}

std::vector<crypto::Digest> CompiledPolicy::FindDigests(
    absl::string_view path) const {
  std::vector<crypto::Digest> digests;
  absl::flat_hash_set<std::string> seen;
  for (const DigestTable* table : tables_) {
    for (const crypto::Digest& digest : table->Find(path)) {
      const DigestKey key(digest.algorithm(), digest.bytes());
      if (seen.insert(std::string(key.view())).second) {
        digests.push_back(digest);
      }
    }
  }
  return digests;
}

const DenyRule* CompiledPolicy::FindDeny(
    crypto::HashAlgorithm algorithm, std::span<const uint8_t> digest) const {
  if (deny_.empty() || digest.size() != crypto::DigestSize(algorithm)) {
    return nullptr;
  }
  const auto found = deny_.find(DigestKey(algorithm, digest).view());
  return found == deny_.end() ? nullptr : found->second;
}

bool CompiledPolicy::IsExcluded(absl::string_view path) const {
  return excludes_.Matches(path);
}

DigestMatch CompiledPolicy::MatchBuffer(absl::string_view name,
                                        crypto::HashAlgorithm algorithm,
                                        std::span<const uint8_t> digest) const {
  const auto same = [&](const crypto::Digest& listed) {
    return listed.algorithm() == algorithm &&
           std::ranges::equal(listed.bytes(), digest);
  };
  // Keyrings have their digests as text.
  const auto given = crypto::Digest::Create(algorithm, digest);
  const std::string text = given.ok() ? FormatDigestText(*given) : "";
  DigestMatch best = DigestMatch::kUnlisted;
  const auto add = [&best](bool is_listed) {
    best =
        Better(best, is_listed ? DigestMatch::kListed : DigestMatch::kMismatch);
  };
  for (const PolicyAssignment& assignment : assignments_) {
    const RuntimePolicy& policy = *assignment.policy;
    if (const auto found = policy.buffers.find(name);
        found != policy.buffers.end()) {
      add(std::ranges::any_of(found->second, same));
    }
    if (const auto found = policy.keyrings.find(name);
        found != policy.keyrings.end()) {
      add(given.ok() &&
          std::ranges::find(found->second, text) != found->second.end());
    }
  }
  return best;
}

}  // namespace cupel::policy
