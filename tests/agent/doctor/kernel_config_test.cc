#include "agent/doctor/kernel_config.h"

#include <cstdlib>

#include "catch2/catch.hpp"
#include "common/util/file.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_folder.h"

namespace cupel::agent {
namespace {

using ::cupel::testing::IsOk;
using ::cupel::testing::StatusIs;
using ::cupel::testing::StatusOf;
using ::cupel::testing::TemporaryFolder;

TEST_CASE("options that are set are there, and their quotes are not") {
  const KernelConfig config{
      .path = "config",
      .options = ParseKernelConfig("CONFIG_IMA=y\n# CONFIG_EVM is not set\n"
                                   "CONFIG_HASH=\"sha256\"\nCONFIG_E=\"a=b\"\n"
                                   "CONFIG_NONE\nOTHER=y\n")};
  CHECK(config.Get("CONFIG_IMA") == "y");
  CHECK(config.Get("CONFIG_EVM").empty());
  CHECK(config.Get("CONFIG_HASH") == "sha256");
  CHECK(config.Get("CONFIG_E") == "a=b");
  CHECK(config.Get("CONFIG_NONE").empty());
  CHECK(config.Get("OTHER").empty());
}

TEST_CASE("a kernel's configuration is found where it may be") {
  const TemporaryFolder root;
  CHECK_THAT(StatusOf(ReadKernelConfig(root.path(), "6.1")),
             StatusIs(absl::StatusCode::kNotFound, "6.1"));
  for (const char* const path : {"lib/modules/6.1/config", "boot/config-6.1"}) {
    std::filesystem::create_directories(
        std::filesystem::path(root / path).parent_path());
    REQUIRE_THAT(WriteFile(root / path, "CONFIG_IMA=y\n"), IsOk());
    const auto config = ReadKernelConfig(root.path(), "6.1");
    REQUIRE_THAT(StatusOf(config), IsOk());
    CHECK(config->path == std::string("/") + path);
    CHECK(config->Get("CONFIG_IMA") == "y");
  }
  // Of the running kernel, so that it is the first to be believed.
  std::filesystem::create_directories(root / "proc");
  const std::string plain = root / "proc/config";
  REQUIRE_THAT(WriteFile(plain, "CONFIG_IMA=m\n"), IsOk());
  REQUIRE(std::system(("gzip " + plain).c_str()) == 0);
  const auto config = ReadKernelConfig(root.path(), "6.1");
  REQUIRE_THAT(StatusOf(config), IsOk());
  CHECK(config->path == "/proc/config.gz");
  CHECK(config->Get("CONFIG_IMA") == "m");
  const auto packed = *ReadFile(plain + ".gz", 1 << 16);
  REQUIRE_THAT(
      WriteFile(plain + ".gz", {reinterpret_cast<const char*>(packed.data()),
                                packed.size() - 5}),
      IsOk());
  CHECK_THAT(StatusOf(ReadKernelConfig(root.path(), "6.1")),
             StatusIs(absl::StatusCode::kInvalidArgument, "gzip"));
}

}  // namespace
}  // namespace cupel::agent
