#include "tenant/reference/kernel_path.h"

#include "catch2/catch.hpp"

namespace cupel::tenant {
namespace {

TEST_CASE("The kernel writes blanks as underscores, and nothing else") {
  CHECK(KernelPath("/usr/bin/ls") == "/usr/bin/ls");
  CHECK(KernelPath("/a b  c") == "/a_b__c");
  CHECK(KernelPath("/tab\tnewline\n\xff\\") == "/tab\tnewline\n\xff\\");
}

}  // namespace
}  // namespace cupel::tenant
