#include "tenant/reference/kernel_path.h"

#include <algorithm>

namespace cupel::tenant {

std::string KernelPath(absl::string_view path) {
  std::string name(path);
  std::ranges::replace(name, ' ', '_');
  return name;
}

}  // namespace cupel::tenant
