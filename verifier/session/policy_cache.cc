#include "verifier/session/policy_cache.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/policy/policy_file.h"
#include "common/policy/violation_patterns.h"
#include "common/util/escape.h"
#include "common/util/status_context.h"
#include "common/util/status_macros.h"
#include "verifier/store/policy_names.h"

namespace cupel::verifier {
namespace {

// Of the tenant whose policy it is, so that shared ones are kept once: what is
// loaded remembers the name that it was loaded by, and shows it in findings.
std::string KeyOf(absl::string_view tenant, absl::string_view name,
                  absl::string_view content_id) {
  return absl::StrCat(ResolvePolicyName(tenant, name).tenant, " ", content_id);
}

// A policy as an agent's settings name it.
struct Assigned {
  std::string name;  // as QualifiedPolicyName gives it
  bool allow_excludes;
  std::string KeyFor(absl::string_view tenant,
                     absl::string_view content_id) const {
    return absl::StrCat(KeyOf(tenant, name, content_id),
                        allow_excludes ? "" : " without excludes");
  }
};

std::vector<Assigned> AssignedBy(const PolicyRequest& request) {
  std::vector<Assigned> assigned;
  assigned.reserve(request.names.size());
  for (const std::string& name : request.names) {
    assigned.push_back(
        {.name = QualifiedPolicyName(request.tenant, name),
         .allow_excludes = std::ranges::find(request.without_excludes, name) ==
                           request.without_excludes.end()});
  }
  return assigned;
}

absl::Status MissingPolicy(absl::string_view name) {
  return absl::FailedPreconditionError(
      absl::StrCat("policy \"", EscapeForDisplay(name),
                   "\" is missing: add it, or take it from the agent"));
}

// What the combination is kept by, as the store has it now. kFailedPrecondition
// where a policy is missing.
absl::StatusOr<std::string> CombinationKey(
    Store& store, absl::string_view tenant,
    const std::vector<Assigned>& assigned) {
  std::vector<std::string> key;
  key.reserve(assigned.size());
  for (const Assigned& one : assigned) {
    // Without the file: with thousands of agents a policy's name is looked up
    // far more often than its content changes.
    const auto content_id = store.PolicyContentId(tenant, one.name);
    if (absl::IsNotFound(content_id.status())) return MissingPolicy(one.name);
    CUPEL_RETURN_IF_ERROR(content_id.status());
    key.push_back(one.KeyFor(tenant, *content_id));
  }
  return absl::StrJoin(key, ",");
}

}  // namespace

absl::StatusOr<PolicyCache::Compiled> PolicyCache::Find(
    const PolicyRequest& request) {
  if (request.names.empty()) return nullptr;
  const auto key = CombinationKey(store_, request.tenant, AssignedBy(request));
  if (absl::IsFailedPrecondition(key.status())) return nullptr;
  CUPEL_RETURN_IF_ERROR(key.status());
  return FindCompiled(*key);
}

absl::StatusOr<PolicyCache::Compiled> PolicyCache::Get(
    const PolicyRequest& request) {
  if (request.names.empty()) {
    return absl::FailedPreconditionError(
        "the agent has no policy: give it one with update");
  }
  const std::vector<Assigned> assigned = AssignedBy(request);
  // Where one is missing nothing is loaded, nor anybody kept waiting.
  CUPEL_ASSIGN_OR_RETURN(const std::string wanted,
                         CombinationKey(store_, request.tenant, assigned));
  const SingleFlight::Hold hold(compiling_, wanted);
  if (Compiled found = FindCompiled(wanted); found != nullptr) return found;
  std::vector<policy::PolicyAssignment> assignments;
  std::vector<std::string> key;
  for (const Assigned& one : assigned) {
    CUPEL_ASSIGN_OR_RETURN(Content content, Load(request.tenant, one.name));
    key.push_back(one.KeyFor(request.tenant, content->content_id));
    assignments.push_back({std::move(content), one.allow_excludes});
  }
  auto compiled = policy::CompiledPolicy::Create(std::move(assignments));
  CUPEL_RETURN_IF_ERROR(WithContext(compiled.status(), "policies"));
  const std::lock_guard<std::mutex> lock(mutex_);
  ++compile_count_;
  Forget();
  compiled_[absl::StrJoin(key, ",")] = *compiled;
  return *std::move(compiled);
}

absl::StatusOr<std::shared_ptr<const policy::ExcludeSet>>
PolicyCache::ViolationPatterns(const std::vector<std::string>& texts) {
  if (texts.empty()) return nullptr;
  std::string key;
  std::vector<policy::ExcludePattern> patterns;
  for (const std::string& text : texts) {
    absl::StrAppend(&key, text.size(), " ", text);
    patterns.push_back(
        {text, absl::StrCat("tolerated_violations[", patterns.size(), "]")});
  }
  const auto find = [&] {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = violations_.find(key);
    return found == violations_.end() ? nullptr : found->second.lock();
  };
  if (auto found = find(); found != nullptr) return found;
  const SingleFlight::Hold hold(compiling_, absl::StrCat("violations ", key));
  if (auto found = find(); found != nullptr) return found;
  CUPEL_ASSIGN_OR_RETURN(policy::ExcludeSet compiled,
                         policy::CompileViolationPatterns(std::move(patterns)));
  auto set = std::make_shared<const policy::ExcludeSet>(std::move(compiled));
  const std::lock_guard<std::mutex> lock(mutex_);
  Forget();
  violations_[key] = set;
  return set;
}

absl::StatusOr<PolicyCache::Content> PolicyCache::Load(
    absl::string_view tenant, const std::string& name) {
  const auto content_id = store_.PolicyContentId(tenant, name);
  if (absl::IsNotFound(content_id.status())) return MissingPolicy(name);
  CUPEL_RETURN_IF_ERROR(content_id.status());
  const std::string wanted = KeyOf(tenant, name, *content_id);
  const SingleFlight::Hold hold(loading_, wanted);
  if (Content known = FindContent(wanted); known != nullptr) return known;
  auto record = store_.GetPolicy(tenant, name);
  if (absl::IsNotFound(record.status())) return MissingPolicy(name);
  CUPEL_RETURN_IF_ERROR(record.status());
  if (policy::PolicyContentId(record->file) != record->content_id) {
    return absl::DataLossError(
        absl::StrCat("policy \"", EscapeForDisplay(name),
                     "\": the store's file is not what was put there"));
  }
  // It may have changed since.
  const std::string key = KeyOf(tenant, name, record->content_id);
  if (Content known = FindContent(key); known != nullptr) return known;
  CUPEL_ASSIGN_OR_RETURN(policy::RuntimePolicy loaded,
                         LoadPolicy(std::move(record->file), name, signers_));
  Content content =
      std::make_shared<const policy::RuntimePolicy>(std::move(loaded));
  const std::lock_guard<std::mutex> lock(mutex_);
  ++load_count_;
  contents_[key] = content;
  return content;
}

PolicyCache::Content PolicyCache::FindContent(const std::string& key) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = contents_.find(key);
  return found == contents_.end() ? nullptr : found->second.lock();
}

PolicyCache::Compiled PolicyCache::FindCompiled(const std::string& key) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = compiled_.find(key);
  return found == compiled_.end() ? nullptr : found->second.lock();
}

// Under mutex_: drops what nobody uses any more.
void PolicyCache::Forget() {
  absl::erase_if(contents_,
                 [](const auto& one) { return one.second.expired(); });
  absl::erase_if(compiled_,
                 [](const auto& one) { return one.second.expired(); });
  absl::erase_if(violations_,
                 [](const auto& one) { return one.second.expired(); });
}

uint64_t PolicyCache::load_count() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return load_count_;
}

uint64_t PolicyCache::compile_count() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return compile_count_;
}

}  // namespace cupel::verifier
