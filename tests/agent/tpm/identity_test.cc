#include "agent/tpm/identity.h"

#include <sys/stat.h>

#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_folder.h"

namespace cupel::agent {
namespace {

using ::cupel::testing::IsOk;
using ::cupel::testing::StatusIs;
using ::cupel::testing::StatusOf;
using ::cupel::testing::TemporaryFolder;

AkBlobs SomeAk() {
  return {.ek_template = tpm::EkTemplate::kH3,
          .ek_name = {1, 2, 3},
          .public_blob = {4, 5},
          .private_blob = {6}};
}

TEST_CASE("an AK is kept for its owner alone, and comes back") {
  const TemporaryFolder folder;
  const std::string path = folder / "ak";
  REQUIRE_THAT(SaveAk(path, SomeAk()), IsOk());
  const auto loaded = LoadAk(path);
  REQUIRE_THAT(StatusOf(loaded), IsOk());
  CHECK(*loaded == SomeAk());
  struct stat info = {};
  REQUIRE(stat(path.c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
  // In one step, and nothing else is left.
  REQUIRE_THAT(SaveAk(path, SomeAk()), IsOk());
  CHECK(folder.CountFiles() == 1);
}

TEST_CASE("an AK's file that is not as it was written is refused") {
  const TemporaryFolder folder;
  const std::string path = folder / "ak";
  CHECK_THAT(StatusOf(LoadAk(path)),
             StatusIs(absl::StatusCode::kNotFound, path));
  REQUIRE_THAT(SaveAk(path, SomeAk()), IsOk());
  const std::vector<uint8_t> good = *ReadFile(path, 1 << 16);
  for (size_t i = 0; i < good.size(); ++i) {
    CAPTURE(i);
    REQUIRE_THAT(WriteFile(path, AsText(std::span(good).first(i))), IsOk());
    CHECK_THAT(StatusOf(LoadAk(path)),
               StatusIs(absl::StatusCode::kDataLoss, "move " + path));
    std::vector<uint8_t> flipped = good;
    flipped[i] ^= 1;
    REQUIRE_THAT(WriteFile(path, AsText(flipped)), IsOk());
    CHECK_THAT(StatusOf(LoadAk(path)), StatusIs(absl::StatusCode::kDataLoss));
  }
  std::vector<uint8_t> longer = good;
  longer.push_back(0);
  REQUIRE_THAT(WriteFile(path, AsText(longer)), IsOk());
  CHECK_THAT(StatusOf(LoadAk(path)), StatusIs(absl::StatusCode::kDataLoss));
}

TEST_CASE("an AK that can't be written is an error with the path") {
  CHECK_THAT(SaveAk("/nonexistent/ak", SomeAk()),
             StatusIs(absl::StatusCode::kNotFound, "/nonexistent/ak"));
}

}  // namespace
}  // namespace cupel::agent
