#include "common/crypto/openssl.h"

#include <openssl/err.h>

#include "catch2/catch.hpp"
#include "tests/support/status_matchers.h"

namespace cupel::crypto {
namespace {

using absl::StatusCode;
using cupel::testing::StatusIs;

TEST_CASE("OpensslError gives the newest reason and empties the queue") {
  ERR_clear_error();
  ERR_raise_data(ERR_LIB_USER, ERR_R_PASSED_NULL_PARAMETER, "older");
  const Owned<BIO> input(BIO_new_file("/no/such/file", "rb"));
  REQUIRE(input == nullptr);
  const unsigned long newest = ERR_peek_last_error();
  char reason[256] = "";
  ERR_error_string_n(newest, reason, sizeof(reason));
  CHECK_THAT(
      OpensslError("opening"),
      StatusIs(StatusCode::kInternal, std::string("opening: ") + reason));
  CHECK(ERR_peek_error() == 0);
}

TEST_CASE("OpensslError says so where OpenSSL gave no reason") {
  ERR_clear_error();
  CHECK_THAT(OpensslError("opening"),
             StatusIs(StatusCode::kInternal, "opening: no reason given"));
}

}  // namespace
}  // namespace cupel::crypto
