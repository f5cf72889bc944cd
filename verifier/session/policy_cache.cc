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

}  // namespace

absl::StatusOr<std::shared_ptr<const policy::CompiledPolicy>> PolicyCache::Get(
    absl::string_view tenant, const std::vector<std::string>& given_names,
    const std::vector<std::string>& without_excludes) {
  if (given_names.empty()) {
    return absl::FailedPreconditionError(
        "the agent has no policy: give it one with update");
  }
  struct Assigned {
    std::string name;
    bool allow_excludes;
    std::string KeyFor(absl::string_view tenant,
                       absl::string_view content_id) const {
      return absl::StrCat(KeyOf(tenant, name, content_id),
                          allow_excludes ? "" : " without excludes");
    }
  };
  std::vector<Assigned> assigned;
  assigned.reserve(given_names.size());
  for (const std::string& name : given_names) {
    assigned.push_back(
        {.name = QualifiedPolicyName(tenant, name),
         .allow_excludes = std::ranges::find(without_excludes, name) ==
                           without_excludes.end()});
  }
  // Without the files: with thousands of agents a policy's name is looked up
  // far more often than its content changes.
  absl::flat_hash_map<std::string, std::string> content_ids;
  CUPEL_ASSIGN_OR_RETURN(const std::vector<PolicyRecord> records,
                         store_.ListPolicies(tenant));
  for (const PolicyRecord& record : records) {
    content_ids[QualifiedPolicyName(tenant, record.name)] = record.content_id;
  }
  const auto find_all = [&]() -> Compiled {
    std::vector<std::string> key;
    for (const Assigned& one : assigned) {
      const auto content_id = content_ids.find(one.name);
      if (content_id == content_ids.end()) return nullptr;
      key.push_back(one.KeyFor(tenant, content_id->second));
    }
    return FindCompiled(absl::StrJoin(key, ","));
  };
  if (Compiled found = find_all(); found != nullptr) return found;

  const std::lock_guard<std::mutex> loading(loading_);
  if (Compiled found = find_all(); found != nullptr) return found;
  std::vector<policy::PolicyAssignment> assignments;
  std::vector<std::string> key;
  for (const Assigned& one : assigned) {
    Content content;
    if (const auto id = content_ids.find(one.name); id != content_ids.end()) {
      content = FindContent(KeyOf(tenant, one.name, id->second));
    }
    if (content == nullptr) {
      CUPEL_ASSIGN_OR_RETURN(content, Load(tenant, one.name));
    }
    key.push_back(one.KeyFor(tenant, content->content_id));
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
  const std::lock_guard<std::mutex> loading(loading_);
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
  auto record = store_.GetPolicy(tenant, name);
  if (absl::IsNotFound(record.status())) {
    return absl::FailedPreconditionError(
        absl::StrCat("policy \"", EscapeForDisplay(name),
                     "\" is missing: add it, or take it from the agent"));
  }
  CUPEL_RETURN_IF_ERROR(record.status());
  if (policy::PolicyContentId(record->file) != record->content_id) {
    return absl::DataLossError(
        absl::StrCat("policy \"", EscapeForDisplay(name),
                     "\": the store's file is not what was put there"));
  }
  // Another name may have had the same content.
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
