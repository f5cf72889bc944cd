#include "verifier/pki/deny_list.h"

#include <unistd.h>

#include <filesystem>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "common/util/file.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_folder.h"

namespace cupel::verifier {
namespace {

using absl::StatusCode;
using testing::IsOk;
using testing::StatusIs;
using testing::StatusOf;

const std::string kFirst(64, 'a');
const std::string kSecond(64, 'b');

TEST_CASE("A deny list is digests, comments and empty lines") {
  const auto list =
      ParseDenyList(absl::StrCat("# lost laptops\n\n", kFirst, "\n  ",
                                 absl::AsciiStrToUpper(kSecond), " # Bob\r\n"));
  REQUIRE_THAT(StatusOf(list), IsOk());
  CHECK(*list == std::set<std::string>{kFirst, kSecond});
  CHECK(ParseDenyList("")->empty());
}

TEST_CASE("Anything else in a deny list is refused with its line") {
  for (const std::string& line :
       {kFirst.substr(1), kFirst + "a", kFirst + kFirst, kFirst + " " + kSecond,
        std::string(64, 'g'), std::string("*")}) {
    CAPTURE(line);
    CHECK_THAT(StatusOf(ParseDenyList(absl::StrCat(kSecond, "\n", line, "\n"))),
               StatusIs(StatusCode::kInvalidArgument, "line 2: "));
  }
}

TEST_CASE("The deny list is read again when it changes [A41]") {
  const testing::TemporaryFolder folder;
  const std::string path = folder / "denied";
  REQUIRE_THAT(WriteFile(path, ""), IsOk());
  DenyList list(path);
  CHECK_THAT(list.Check(kFirst), IsOk());
  REQUIRE_THAT(WriteFile(path, kFirst + "\n"), IsOk());
  CHECK_THAT(list.Check(kFirst),
             StatusIs(StatusCode::kPermissionDenied, "deny"));
  CHECK_THAT(list.Check(absl::AsciiStrToUpper(kFirst)),
             StatusIs(StatusCode::kPermissionDenied));
  CHECK_THAT(list.Check(kSecond), IsOk());
  REQUIRE_THAT(WriteFile(path, kSecond + "\n"), IsOk());
  CHECK_THAT(list.Check(kFirst), IsOk());
  CHECK_THAT(list.Check(kSecond), StatusIs(StatusCode::kPermissionDenied));
}

TEST_CASE("A deny list that can't be read denies everybody [A41]") {
  const testing::TemporaryFolder folder;
  const std::string path = folder / "denied";
  DenyList list(path);
  CHECK_THAT(list.Check(kFirst),
             StatusIs(StatusCode::kFailedPrecondition, path));
  REQUIRE_THAT(WriteFile(path, kSecond), IsOk());
  CHECK_THAT(list.Check(kFirst), IsOk());
  REQUIRE_THAT(WriteFile(path, "not a digest"), IsOk());
  CHECK_THAT(list.Check(kFirst), StatusIs(StatusCode::kFailedPrecondition,
                                          "line 1: \"not a digest\""));
  CHECK_THAT(list.Check(kFirst), StatusIs(StatusCode::kFailedPrecondition));
  std::filesystem::remove(path);
  CHECK_THAT(list.Check(kFirst),
             StatusIs(StatusCode::kFailedPrecondition, path));
}

TEST_CASE("Without a deny list nobody is denied") {
  DenyList list("");
  CHECK_THAT(list.Check(kFirst), IsOk());
}

}  // namespace
}  // namespace cupel::verifier
