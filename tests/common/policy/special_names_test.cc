#include "common/policy/special_names.h"

#include "catch2/catch.hpp"

namespace cupel::policy {
namespace {

TEST_CASE("Names that the kernel gives to what has no path") {
  for (const char* name :
       {"boot_aggregate", "boot_aggregate_late", "kexec-cmdline", "memfd:x",
        "memfd:", "dev/zero (deleted)", "SYSV00000000", "anon_inode:[x]"}) {
    CAPTURE(name);
    CHECK(IsSpecialName(name));
  }
  for (const char* name :
       {"", "boot", "boot_aggregate2", "boot_aggregate_later", "/memfd:x",
        "memfd", "dev", "/dev/zero", "kexec-cmdline2", "sysv0", "data"}) {
    CAPTURE(name);
    CHECK_FALSE(IsSpecialName(name));
  }
}

}  // namespace
}  // namespace cupel::policy
