// Labels of agents, as operators write them.
#ifndef CUPEL_TENANT_LABELS_H_
#define CUPEL_TENANT_LABELS_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace cupel::tenant {

// "KEY=VALUE" texts as labels. kInvalidArgument for one without "=", with an
// empty key, or a key that is given twice.
absl::StatusOr<std::map<std::string, std::string>> ParseLabels(
    const std::vector<std::string>& texts);

}  // namespace cupel::tenant

#endif  // CUPEL_TENANT_LABELS_H_
