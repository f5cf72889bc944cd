#ifndef CUPEL_COMMON_POLICY_WARNING_COLLECTOR_H_
#define CUPEL_COMMON_POLICY_WARNING_COLLECTOR_H_

#include <cstddef>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/policy/runtime_policy.h"

namespace cupel::policy {

// Collects a file's warnings, origins and messages raw (runtime_policy.h): of
// each code the first few and the number of the others, so that 10^5 odd lines
// don't hide the rest.
class WarningCollector {
 public:
  static constexpr size_t kShownPerCode = 20;

  // True if a warning of this code would still be shown: spares its text.
  bool Wants(absl::string_view code) {
    const auto found = counts_.find(code);
    return found == counts_.end() || found->second < kShownPerCode;
  }

  void Add(absl::string_view code, std::string origin, std::string message) {
    auto found = counts_.find(code);
    if (found == counts_.end()) {
      found = counts_.emplace(std::string(code), 0).first;
    }
    if (++found->second > kShownPerCode) return;
    warnings_.push_back(
        {std::string(code), std::move(origin), std::move(message), 1});
  }

  std::vector<PolicyWarning> Take(absl::string_view file) && {
    for (const auto& [code, count] : counts_) {
      if (count <= kShownPerCode) continue;
      warnings_.push_back({code, std::string(file),
                           absl::StrCat(count - kShownPerCode, " more"),
                           count - kShownPerCode});
    }
    return std::move(warnings_);
  }

 private:
  std::map<std::string, size_t, std::less<>> counts_;
  std::vector<PolicyWarning> warnings_;
};

}  // namespace cupel::policy

#endif  // CUPEL_COMMON_POLICY_WARNING_COLLECTOR_H_
