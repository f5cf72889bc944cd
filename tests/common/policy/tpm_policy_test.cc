#include "common/policy/tpm_policy.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "tests/support/status_matchers.h"

namespace cupel::policy {
namespace {

using crypto::Digest;
using crypto::HashAlgorithm;
using testing::IsOk;
using testing::StatusIs;

using testing::kInvalid;

std::string HexOf(char digit, size_t size = 64) {
  return std::string(size, digit);
}

std::string Json(absl::string_view pcr, absl::string_view value) {
  return absl::StrCat("{\"", pcr, "\": ", value, "}");
}

TEST_CASE("Values may be one string or a list, of several banks") {
  const auto policy = ParseTpmPolicy(
      absl::StrCat("{\"22\": [\"", HexOf('1'), "\", \"", HexOf('2', 40),
                   "\"], \"15\": \"", HexOf('A', 96), "\"}"),
      "t");
  REQUIRE_THAT(policy.status(), IsOk());
  const auto& values = policy->pcrs.values;
  REQUIRE(values.size() == 2);
  CHECK(values.at(22) ==
        std::vector{Digest::Filled(HashAlgorithm::kSha256, 0x11),
                    Digest::Filled(HashAlgorithm::kSha1, 0x22)});
  CHECK(values.at(15) ==
        std::vector{Digest::Filled(HashAlgorithm::kSha384, 0xaa)});
  CHECK(policy->pcrs.mask == 0x408000);
  REQUIRE(policy->warnings.size() == 1);
  CHECK(policy->warnings[0].code == "digest.sha1");
}

TEST_CASE("A mask adds PCRs without values") {
  const auto policy = ParseTpmPolicy(
      absl::StrCat("{\"mask\": \"0x408400\", \"15\": \"", HexOf('a'), "\"}"),
      "t");
  REQUIRE_THAT(policy.status(), IsOk());
  CHECK(policy->pcrs.mask == 0x408400);
  CHECK(policy->pcrs.values.size() == 1);
  const auto alone = ParseTpmPolicy("{\"mask\": \"0x400\"}", "t");
  REQUIRE_THAT(alone.status(), IsOk());
  CHECK(alone->pcrs.mask == 0x400);
  CHECK(alone->pcrs.values.empty());
}

TEST_CASE("A mask that leaves out a PCR with values is refused") {
  CHECK_THAT(ParseTpmPolicy(absl::StrCat("{\"mask\": \"0x400\", \"15\": \"",
                                         HexOf('a'), "\"}"),
                            "t")
                 .status(),
             StatusIs(kInvalid,
                      "mask: leaves out PCRs that have values: it "
                      "must hold at least 0x8000"));
}

TEST_CASE("Masks are hex of at most 24 bits") {
  for (const char* mask : {"400", "0x", "", "0x1000000", "0xg", "0x-1", "0x 1",
                           " 0x1", "0X400", "0xffffffffffffffffff", "0x+1"}) {
    INFO(mask);
    CHECK_THAT(ParseTpmPolicy(Json("mask", absl::StrCat("\"", mask, "\"")), "t")
                   .status(),
               StatusIs(kInvalid, "t:1: \"mask\": must be"));
  }
  CHECK_THAT(ParseTpmPolicy(Json("mask", "1024"), "t").status(),
             StatusIs(kInvalid, "must be a string"));
  CHECK_THAT(ParseTpmPolicy(Json("mask", "\"0xffffff\""), "t").status(),
             IsOk());
}

TEST_CASE("Keys are PCR numbers as one writes them") {
  const std::string value = absl::StrCat("\"", HexOf('a'), "\"");
  for (const char* key :
       {"24", "-1", "01", "+1", " 1", "1 ", "", "pcr", "4294967296", "0x1"}) {
    INFO(key);
    CHECK_THAT(ParseTpmPolicy(Json(key, value), "t").status(),
               StatusIs(kInvalid, "is neither a PCR"));
  }
  for (const char* key : {"0", "23"}) {
    CHECK_THAT(ParseTpmPolicy(Json(key, value), "t").status(), IsOk());
  }
}

TEST_CASE("Values must fit a bank") {
  const auto status = [](absl::string_view value) {
    return ParseTpmPolicy(Json("7", value), "t").status();
  };
  CHECK_THAT(status("[]"), StatusIs(kInvalid, "t:1: \"7\": lists no value"));
  CHECK_THAT(status("\"\""), StatusIs(kInvalid, "\"7\""));
  CHECK_THAT(status("7"), StatusIs(kInvalid, "\"7\": must be an array"));
  CHECK_THAT(status("null"), StatusIs(kInvalid, "\"7\": must be an array"));
  CHECK_THAT(status("{}"), StatusIs(kInvalid, "\"7\": must be an array"));
  CHECK_THAT(status("[[]]"), StatusIs(kInvalid, "\"7\"[0]: must be a string"));
  CHECK_THAT(
      status(absl::StrCat("[\"", HexOf('a'), "\", \"", HexOf('a', 62), "\"]")),
      StatusIs(kInvalid, "\"7\"[1]: "));
  CHECK_THAT(status(absl::StrCat("\"", HexOf('a', 56), "\"")),
             StatusIs(kInvalid, "no PCR bank has sha224 values"));
  CHECK_THAT(status(absl::StrCat("\"", HexOf('x'), "\"")),
             StatusIs(kInvalid, "not hex digits"));
}

TEST_CASE("A PCR twice is refused") {
  CHECK_THAT(ParseTpmPolicy(absl::StrCat("{\"7\": \"", HexOf('a'),
                                         "\",\n\"7\": \"", HexOf('b'), "\"}"),
                            "t")
                 .status(),
             StatusIs(kInvalid, "t:2: \"7\": stands there twice"));
}

TEST_CASE("Resettable PCRs and a policy that asks for nothing are warned of") {
  const auto resettable =
      ParseTpmPolicy(absl::StrCat("{\"16\": \"", HexOf('a'), "\", \"23\": \"",
                                  HexOf('a'), "\"}"),
                     "t");
  REQUIRE_THAT(resettable.status(), IsOk());
  CHECK(resettable->warnings.size() == 2);
  CHECK(resettable->warnings[0].code == "tpm_policy.resettable");
  const auto empty = ParseTpmPolicy("{}", "t");
  REQUIRE_THAT(empty.status(), IsOk());
  REQUIRE(empty->warnings.size() == 1);
  CHECK(empty->warnings[0].code == "tpm_policy.empty");
}

TEST_CASE(
    "Every prefix of a tpm_policy is refused, and so is what follows it") {
  const std::string json = absl::StrCat("{\"7\": [\"", HexOf('a'), "\"]}");
  REQUIRE_THAT(ParseTpmPolicy(json, "t").status(), IsOk());
  for (size_t size = 0; size < json.size(); ++size) {
    INFO(size);
    CHECK_THAT(ParseTpmPolicy(json.substr(0, size), "t").status(),
               StatusIs(kInvalid));
  }
  for (const char* tail : {"x", "{}", ",", "}", "\"\""}) {
    INFO(tail);
    CHECK_THAT(ParseTpmPolicy(json + tail, "t").status(), StatusIs(kInvalid));
  }
  CHECK_THAT(ParseTpmPolicy(json + " \n", "t").status(), IsOk());
  CHECK_THAT(ParseTpmPolicy(std::string(70000, ' '), "t").status(),
             StatusIs(absl::StatusCode::kResourceExhausted, "limit 65536"));
}

}  // namespace
}  // namespace cupel::policy
