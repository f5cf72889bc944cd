#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "tenant/reference/initramfs.h"
#include "tenant/reference/kernel_path.h"

// Any image ends in files or in an error, within its limits, and no name leads
// out of the root.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  cupel::tenant::InitramfsOptions options;
  options.max_unpacked_size = size_t{1} << 20;
  options.max_names = 4096;
  const auto tree =
      cupel::tenant::ReadInitramfs(std::span(data, size), options);
  if (!tree.ok()) {
    if (tree.status().message().empty()) std::abort();
    return 0;
  }
  // One entry can make a thousand folders.
  if (tree->size() > options.max_names) std::abort();
  tree->ForEachFile([](absl::string_view path, const auto& /*digest*/) {
    if (!absl::StartsWith(path, "/") ||
        path.size() > cupel::tenant::kMaxKernelPathSize ||
        path.find('\0') != path.npos) {
      std::abort();
    }
    for (const absl::string_view name :
         absl::StrSplit(path.substr(1), absl::ByChar('/'))) {
      if (name.empty() || name == "." || name == "..") std::abort();
    }
  });
  return 0;
}
