// Policies as sessions need them: compiled once a combination, shared by all
// agents that use it.
#ifndef CUPEL_VERIFIER_SESSION_POLICY_CACHE_H_
#define CUPEL_VERIFIER_SESSION_POLICY_CACHE_H_

#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/policy/compiled_policy.h"
#include "common/policy/runtime_policy.h"
#include "verifier/session/policy_signers.h"
#include "verifier/session/single_flight.h"
#include "verifier/store/store.h"

namespace cupel::verifier {

// An agent's policies: what `tenant` means by `names`, in their order. Of those
// that `without_excludes` names, too, no exclude counts.
struct PolicyRequest {
  std::string tenant;
  std::vector<std::string> names;
  std::vector<std::string> without_excludes = {};
};

// Names are looked up in the store each time; what they stand for is kept by
// content for as long as somebody uses it. What several threads want at once is
// loaded, or compiled, by one of them. Thread-safe.
class PolicyCache {
 public:
  // `store` must outlive it.
  explicit PolicyCache(Store& store, PolicySigners signers = {})
      : store_(store), signers_(std::move(signers)) {}

  // The policies as they are now. What is of shared ones alone is kept once for
  // all tenants. Blocks for the store and, where the combination is new, for
  // its loading and compilation, by this thread or another one.
  //
  // Errors, and never a policy that lacks one of them: kFailedPrecondition
  // without any name, or if a name is missing (it is named); kInvalidArgument
  // if a file does not load or their patterns don't compile; LoadPolicy's where
  // signatures are concerned; kDataLoss if the store's file is not the content
  // that it is said to be; and the store's.
  absl::StatusOr<std::shared_ptr<const policy::CompiledPolicy>> Get(
      const PolicyRequest& request);

  // What Get gives, if it would neither load nor compile anything for it; else
  // nullptr. Blocks for a read of an index for each name, no longer. The
  // store's errors, but for a policy that is missing, which is nullptr.
  absl::StatusOr<std::shared_ptr<const policy::CompiledPolicy>> Find(
      const PolicyRequest& request);

  // The patterns compiled, each combination once; nullptr for none. Errors as
  // from policy::CompileViolationPatterns.
  absl::StatusOr<std::shared_ptr<const policy::ExcludeSet>> ViolationPatterns(
      const std::vector<std::string>& texts);

  // Files loaded and combinations compiled since the start.
  uint64_t load_count() const;
  uint64_t compile_count() const;

 private:
  using Content = std::shared_ptr<const policy::RuntimePolicy>;
  using Compiled = std::shared_ptr<const policy::CompiledPolicy>;

  // `name` as QualifiedPolicyName gives it.
  absl::StatusOr<Content> Load(absl::string_view tenant,
                               const std::string& name);
  Content FindContent(const std::string& key);
  Compiled FindCompiled(const std::string& key);
  void Forget();

  Store& store_;
  const PolicySigners signers_;
  // Keys of compiled_, and of violations_. Who holds one may hold one of
  // loading_ in it, and never the reverse.
  SingleFlight compiling_;
  SingleFlight loading_;      // keys of contents_
  mutable std::mutex mutex_;  // guards all below; never held for long
  absl::flat_hash_map<std::string, std::weak_ptr<const policy::RuntimePolicy>>
      contents_;
  absl::flat_hash_map<std::string, std::weak_ptr<const policy::CompiledPolicy>>
      compiled_;
  absl::flat_hash_map<std::string, std::weak_ptr<const policy::ExcludeSet>>
      violations_;
  uint64_t load_count_ = 0;
  uint64_t compile_count_ = 0;
};

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_SESSION_POLICY_CACHE_H_
