#include "verifier/pki/pem_files.h"

#include <filesystem>
#include <string>
#include <vector>

#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_folder.h"

namespace cupel::verifier {
namespace {

using ::cupel::testing::IsOk;
using ::cupel::testing::StatusIs;
using ::cupel::testing::TemporaryFolder;

std::string KeyFile() {
  return std::string(CUPEL_VECTORS_DIR) + "/policy/signed-policy.pub.pem";
}

TEST_CASE("Keys come from a file, or from a folder's PEM files") {
  const auto one = LoadPublicKeys(KeyFile());
  REQUIRE_THAT(one.status(), IsOk());
  CHECK(one->size() == 1);

  const TemporaryFolder folder;
  CHECK_THAT(LoadPublicKeys(folder.path()).status(),
             StatusIs(absl::StatusCode::kFailedPrecondition, "no key"));
  for (const char* const name : {"b.pem", "a.pem", "c.txt"}) {
    std::filesystem::copy_file(KeyFile(), folder / name);
  }
  const auto files = PemFiles(folder.path());
  REQUIRE_THAT(files.status(), IsOk());
  CHECK(*files == std::vector<std::string>{folder / "a.pem", folder / "b.pem"});
  CHECK(LoadPublicKeys(folder.path())->size() == 2);
}

TEST_CASE("A file that holds no key is named") {
  const TemporaryFolder folder;
  CHECK_THAT(LoadPublicKeys(folder / "none.pem").status(),
             StatusIs(absl::StatusCode::kNotFound, "none.pem"));
  REQUIRE_THAT(WriteFile(folder / "bad.pem", "no key"), IsOk());
  CHECK_THAT(LoadPublicKeys(folder.path()).status(),
             StatusIs(absl::StatusCode::kInvalidArgument, "bad.pem"));
}

}  // namespace
}  // namespace cupel::verifier
