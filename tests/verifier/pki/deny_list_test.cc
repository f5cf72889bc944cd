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

const std::string a(64, 'a');
const std::string b(64, 'b');

TEST_CASE("A deny list is digests, comments and empty lines") {
  const auto list = ParseDenyList(absl::StrCat(
      "# lost laptops\n\n", a, "\n  ", absl::AsciiStrToUpper(b), " # Bob\r\n"));
  REQUIRE_THAT(StatusOf(list), IsOk());
  CHECK(*list == std::set<std::string>{a, b});
  CHECK(ParseDenyList("")->empty());
}

TEST_CASE("Anything else in a deny list is refused with its line") {
  for (const std::string& line : {a.substr(1), a + "a", a + a, a + " " + b,
                                  std::string(64, 'g'), std::string("*")}) {
    CAPTURE(line);
    CHECK_THAT(StatusOf(ParseDenyList(absl::StrCat(b, "\n", line, "\n"))),
               StatusIs(StatusCode::kInvalidArgument, "line 2: "));
  }
}

TEST_CASE("The deny list is read again when it changes [A41]") {
  const testing::TemporaryFolder folder;
  const std::string path = folder / "denied";
  REQUIRE_THAT(WriteFile(path, ""), IsOk());
  DenyList list(path);
  CHECK_THAT(list.Check(a), IsOk());
  REQUIRE_THAT(WriteFile(path, a + "\n"), IsOk());
  CHECK_THAT(list.Check(a), StatusIs(StatusCode::kPermissionDenied, "deny"));
  CHECK_THAT(list.Check(absl::AsciiStrToUpper(a)),
             StatusIs(StatusCode::kPermissionDenied));
  CHECK_THAT(list.Check(b), IsOk());
  REQUIRE_THAT(WriteFile(path, b + "\n"), IsOk());
  CHECK_THAT(list.Check(a), IsOk());
  CHECK_THAT(list.Check(b), StatusIs(StatusCode::kPermissionDenied));
}

TEST_CASE("A deny list that can't be read denies everybody [A41]") {
  const testing::TemporaryFolder folder;
  const std::string path = folder / "denied";
  DenyList list(path);
  CHECK_THAT(list.Check(a), StatusIs(StatusCode::kFailedPrecondition, path));
  REQUIRE_THAT(WriteFile(path, b), IsOk());
  CHECK_THAT(list.Check(a), IsOk());
  REQUIRE_THAT(WriteFile(path, "not a digest"), IsOk());
  CHECK_THAT(list.Check(a), StatusIs(StatusCode::kFailedPrecondition,
                                     "line 1: \"not a digest\""));
  CHECK_THAT(list.Check(a), StatusIs(StatusCode::kFailedPrecondition));
  std::filesystem::remove(path);
  CHECK_THAT(list.Check(a), StatusIs(StatusCode::kFailedPrecondition, path));
}

TEST_CASE("Without a deny list nobody is denied") {
  DenyList list("");
  CHECK_THAT(list.Check(a), IsOk());
}

}  // namespace
}  // namespace cupel::verifier
