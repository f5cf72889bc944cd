#include "common/tpm/pcr_values.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "common/crypto/digest.h"
#include "tests/common/tpm/vectors.h"
#include "tests/support/status_matchers.h"

namespace cupel::tpm {
namespace {

using crypto::Digest;
using crypto::HashAlgorithm;
using ::cupel::testing::IsOk;
using ::cupel::testing::StatusIs;
using ::cupel::testing::StatusOf;

Digest Filled(uint8_t fill, HashAlgorithm bank = HashAlgorithm::kSha256) {
  return Digest::Filled(bank, fill);
}

TEST_CASE("values are found by bank and number", "[tpm][pcr]") {
  PcrValues values;
  CHECK(values.empty());
  REQUIRE_THAT(values.Set(10, Filled(1)), IsOk());
  REQUIRE_THAT(values.Set(10, Filled(2, HashAlgorithm::kSha1)), IsOk());
  REQUIRE_THAT(values.Set(0, Filled(3)), IsOk());
  CHECK(*values.Find(HashAlgorithm::kSha256, 10) == Filled(1));
  CHECK(*values.Find(HashAlgorithm::kSha1, 10) ==
        Filled(2, HashAlgorithm::kSha1));
  CHECK(values.Find(HashAlgorithm::kSha1, 0) == nullptr);
  CHECK(values.Find(HashAlgorithm::kSha384, 10) == nullptr);
  CHECK(values.Find(HashAlgorithm::kSha256, 24) == nullptr);
  CHECK(values.size() == 3);
  CHECK(values.banks() == std::vector<HashAlgorithm>{HashAlgorithm::kSha256,
                                                     HashAlgorithm::kSha1});
  CHECK(values.Selection().ToString() == "sha256:0,10+sha1:10");

  std::string order;
  values.ForEach([&order](uint32_t pcr, const Digest& value) {
    absl::StrAppend(&order, crypto::HashAlgorithmName(value.algorithm()), ":",
                    pcr, " ");
  });
  CHECK(order == "sha256:0 sha256:10 sha1:10 ");
}

TEST_CASE("a value is set once, and only PCR 0 to 23", "[tpm][pcr]") {
  PcrValues values;
  REQUIRE_THAT(values.Set(23, Filled(1)), IsOk());
  CHECK_THAT(values.Set(23, Filled(1)),
             StatusIs(absl::StatusCode::kAlreadyExists, "bank sha256: PCR 23"));
  CHECK_THAT(values.Set(23, Filled(2)),
             StatusIs(absl::StatusCode::kAlreadyExists));
  CHECK(*values.Find(HashAlgorithm::kSha256, 23) == Filled(1));
  CHECK_THAT(values.Set(24, Filled(1)),
             StatusIs(absl::StatusCode::kInvalidArgument, "PCR 24"));
  CHECK_THAT(values.Set(0xffffffff, Filled(1)),
             StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_CASE("Only keeps what is selected and there", "[tpm][pcr]") {
  PcrValues values;
  REQUIRE_THAT(values.Set(0, Filled(1)), IsOk());
  REQUIRE_THAT(values.Set(1, Filled(2)), IsOk());
  REQUIRE_THAT(values.Set(0, Filled(3, HashAlgorithm::kSha1)), IsOk());
  const PcrValues some =
      values.Only(*PcrSelection::FromString("sha1:5+sha384:0+sha256:1,2"));
  CHECK(some.size() == 1);
  CHECK(*some.Find(HashAlgorithm::kSha256, 1) == Filled(2));
  CHECK(values.Only(PcrSelection()).empty());
  CHECK(values.Only(values.Selection()) == values);
}

TEST_CASE("equality ignores the order of banks alone", "[tpm][pcr]") {
  PcrValues a;
  REQUIRE_THAT(a.Set(0, Filled(1)), IsOk());
  REQUIRE_THAT(a.Set(0, Filled(1, HashAlgorithm::kSha1)), IsOk());
  PcrValues b;
  REQUIRE_THAT(b.Set(0, Filled(1, HashAlgorithm::kSha1)), IsOk());
  CHECK_FALSE(a == b);
  REQUIRE_THAT(b.Set(0, Filled(1)), IsOk());
  CHECK(a == b);
  REQUIRE_THAT(b.Set(1, Filled(1)), IsOk());
  CHECK_FALSE(a == b);
}

TEST_CASE("the composite hashes banks as listed and PCRs ascending",
          "[tpm][pcr]") {
  PcrValues values;
  REQUIRE_THAT(values.Set(1, Filled(1)), IsOk());
  REQUIRE_THAT(values.Set(10, Filled(2)), IsOk());
  REQUIRE_THAT(values.Set(10, Filled(3, HashAlgorithm::kSha1)), IsOk());
  const auto expected = [](std::initializer_list<Digest> order,
                           HashAlgorithm hash) {
    std::vector<uint8_t> message;
    for (const Digest& digest : order) Append(message, digest.bytes());
    return crypto::Hash(hash, message);
  };
  const auto composite = [&values](const char* selection, HashAlgorithm hash) {
    return *PcrComposite(hash, *PcrSelection::FromString(selection), values);
  };
  const Digest one = Filled(1);
  const Digest two = Filled(2);
  const Digest three = Filled(3, HashAlgorithm::kSha1);
  CHECK(composite("sha256:10,1+sha1:10", HashAlgorithm::kSha256) ==
        expected({one, two, three}, HashAlgorithm::kSha256));
  CHECK(composite("sha1:10+sha256:1,10", HashAlgorithm::kSha256) ==
        expected({three, one, two}, HashAlgorithm::kSha256));
  // The scheme's hash counts, not the bank's.
  CHECK(composite("sha256:1", HashAlgorithm::kSha384) ==
        expected({one}, HashAlgorithm::kSha384));
  CHECK(composite("sha256:none", HashAlgorithm::kSha256).Hex() ==
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST_CASE("a composite needs every value and a hash", "[tpm][pcr]") {
  PcrValues values;
  REQUIRE_THAT(values.Set(1, Filled(1)), IsOk());
  CHECK_THAT(
      StatusOf(PcrComposite(HashAlgorithm::kSha256,
                            *PcrSelection::FromString("sha256:1,2"), values)),
      StatusIs(absl::StatusCode::kNotFound, "PCR 2 of bank sha256"));
  CHECK_THAT(
      StatusOf(PcrComposite(HashAlgorithm::kSm3_256,
                            *PcrSelection::FromString("sha256:1"), values)),
      StatusIs(absl::StatusCode::kInvalidArgument, "sm3_256"));
}

}  // namespace
}  // namespace cupel::tpm
