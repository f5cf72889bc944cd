#include "common/policy/special_names.h"

#include "absl/strings/match.h"

namespace cupel::policy {
namespace {

constexpr absl::string_view kNames[] = {kBootAggregate, kBootAggregateLate,
                                        "kexec-cmdline"};
constexpr absl::string_view kPrefixes[] = {"memfd:", "dev/", "SYSV",
                                           "anon_inode:"};

}  // namespace

bool IsSpecialName(absl::string_view name) {
  for (const absl::string_view special : kNames) {
    if (name == special) return true;
  }
  for (const absl::string_view prefix : kPrefixes) {
    if (absl::StartsWith(name, prefix)) return true;
  }
  return false;
}

}  // namespace cupel::policy
