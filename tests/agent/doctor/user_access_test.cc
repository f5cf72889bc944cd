#include "agent/doctor/user_access.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "catch2/catch.hpp"
#include "common/util/file.h"
#include "tests/support/skip.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_folder.h"

namespace cupel::agent {
namespace {

using ::cupel::testing::IsOk;
using ::cupel::testing::StatusIs;
using ::cupel::testing::StatusOf;
using ::cupel::testing::TemporaryFolder;

TEST_CASE("the kernel says what another user may open") {
  if (geteuid() != 0) testing::Skip("needs root");
  const TemporaryFolder folder;
  REQUIRE(chmod(folder.path().c_str(), 0755) == 0);
  const std::string path = folder / "file";
  REQUIRE_THAT(WriteFile(path, "x"), IsOk());
  const auto may = [&](bool write) {
    const auto answer = MayOpen("nobody", path, write);
    REQUIRE_THAT(StatusOf(answer), IsOk());
    return *answer;
  };
  REQUIRE(chmod(path.c_str(), 0600) == 0);
  CHECK_FALSE(may(false));
  REQUIRE(chmod(path.c_str(), 0644) == 0);
  CHECK(may(false));
  CHECK_FALSE(may(true));
  REQUIRE(chmod(path.c_str(), 0666) == 0);
  CHECK(may(true));
  // A folder on the way counts as well.
  REQUIRE(chmod(folder.path().c_str(), 0700) == 0);
  CHECK_FALSE(may(false));
  CHECK(geteuid() == 0);
}

TEST_CASE("a user who is not there may nothing") {
  CHECK_THAT(StatusOf(MayOpen("no-such-user", "/", false)),
             StatusIs(absl::StatusCode::kNotFound, "no-such-user"));
}

}  // namespace
}  // namespace cupel::agent
