#include "common/crypto/fingerprint.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "tests/support/status_matchers.h"

namespace cupel::crypto {
namespace {

using testing::IsOk;
using testing::StatusIs;
using testing::StatusOf;

const std::string kDigits =
    "00ff0123456789abcdef0123456789abcdef0123456789abcdef0123456789ab";

TEST_CASE("a fingerprint is taken as people copy it") {
  std::string colons;
  for (size_t i = 0; i < kDigits.size(); i += 2) {
    absl::StrAppend(&colons, i == 0 ? "" : ":", kDigits.substr(i, 2));
  }
  std::string upper = colons;
  for (char& c : upper) {
    if (c >= 'a') c = static_cast<char>(c - 'a' + 'A');
  }
  for (const std::string& text :
       {kDigits, colons, upper, "sha256:" + kDigits, "SHA256:" + upper}) {
    CAPTURE(text);
    const auto parsed = ParseFingerprint(text);
    REQUIRE_THAT(StatusOf(parsed), IsOk());
    CHECK(*parsed == kDigits);
  }
}

TEST_CASE("what is no SHA-256 fingerprint is refused") {
  std::string with_other_digit = kDigits;
  with_other_digit[5] = 'g';
  for (const std::string& text :
       {std::string(), std::string("sha256:"), kDigits.substr(1), kDigits + "0",
        with_other_digit, " " + kDigits, kDigits + "\n", "sha1:" + kDigits,
        "sha256:sha256:" + kDigits}) {
    CAPTURE(text);
    CHECK_THAT(StatusOf(ParseFingerprint(text)),
               StatusIs(absl::StatusCode::kInvalidArgument,
                        "is no SHA-256 fingerprint, 64 digits"));
  }
  CHECK_THAT(StatusOf(ParseFingerprint("\x1b[2J")),
             StatusIs(absl::StatusCode::kInvalidArgument, "\"\\x1b[2J\""));
}

}  // namespace
}  // namespace cupel::crypto
