#include "common/util/secret.h"

#include <ostream>
#include <type_traits>

#include "catch2/catch.hpp"
#include "common/util/bytes.h"

namespace cupel {
namespace {

Secret SecretOf(const char* text) { return Secret(AsBytes(text)); }

TEST_CASE("Secrets are equal if size and bytes are") {
  CHECK((SecretOf("abc") == SecretOf("abc")));
  CHECK_FALSE((SecretOf("abc") == SecretOf("abd")));
  CHECK_FALSE((SecretOf("abc") == SecretOf("ab")));
  CHECK_FALSE((SecretOf("abc") == Secret()));
  CHECK((Secret() == Secret()));
}

TEST_CASE("A secret reveals its own copy") {
  std::vector<uint8_t> bytes = {1, 2, 3};
  const Secret secret(bytes);
  bytes[0] = 9;
  CHECK(secret.size() == 3);
  CHECK(ToVector(secret.Reveal()) == std::vector<uint8_t>{1, 2, 3});
}

TEST_CASE("Moving a secret leaves nothing behind") {
  Secret from = SecretOf("abc");
  Secret to(std::move(from));
  CHECK((to == SecretOf("abc")));
  CHECK(from.size() == 0);  // NOLINT(bugprone-use-after-move)
  Secret other = SecretOf("something longer");
  other = std::move(to);
  CHECK((other == SecretOf("abc")));
  CHECK(to.size() == 0);  // NOLINT(bugprone-use-after-move)
}

TEST_CASE("Assigning to a secret wipes what it held") {
  Secret secret = SecretOf("abc");
  const uint8_t* const memory = secret.Reveal().data();
  Secret& same = secret;
  secret = std::move(same);
  CHECK((secret == SecretOf("abc")));
  CHECK(secret.Reveal().data() == memory);
}

template <typename T>
concept Printable = requires(std::ostream& out, const T& value) {
  out << value;
};

TEST_CASE("A secret can be neither copied nor printed") {
  STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<Secret>);
  STATIC_REQUIRE_FALSE(std::is_copy_assignable_v<Secret>);
  STATIC_REQUIRE_FALSE(Printable<Secret>);
  STATIC_REQUIRE(Printable<int>);
}

}  // namespace
}  // namespace cupel
