#include "tenant/labels.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/util/escape.h"

namespace cupel::tenant {

absl::StatusOr<std::map<std::string, std::string>> ParseLabels(
    const std::vector<std::string>& texts) {
  std::map<std::string, std::string> labels;
  for (const std::string& text : texts) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(Quoted(text, 100), " is no label, KEY=VALUE"));
    }
    if (!labels.emplace(text.substr(0, equals), text.substr(equals + 1))
             .second) {
      return absl::InvalidArgumentError(
          absl::StrCat("the label ", Quoted(text.substr(0, equals), 100),
                       " is given twice"));
    }
  }
  return labels;
}

}  // namespace cupel::tenant
