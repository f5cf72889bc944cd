#include "common/crypto/hasher.h"

#include <string>

#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "tests/support/status_matchers.h"

namespace cupel::crypto {
namespace {

using testing::IsOk;
using testing::StatusIs;
using testing::StatusOf;

TEST_CASE("A message in pieces has the digest of the whole") {
  const std::string message(1000, 'm');
  for (const auto algorithm :
       {HashAlgorithm::kSha1, HashAlgorithm::kSha256, HashAlgorithm::kSha384,
        HashAlgorithm::kSha512}) {
    CAPTURE(HashAlgorithmName(algorithm));
    auto hasher = Hasher::Create(algorithm);
    REQUIRE_THAT(StatusOf(hasher), IsOk());
    for (const size_t piece : {size_t{1}, size_t{64}, size_t{1000}}) {
      for (size_t at = 0; at < message.size(); at += piece) {
        REQUIRE_THAT(hasher->Update(AsBytes(message.substr(at, piece))),
                     IsOk());
      }
      // And another message begins.
      CHECK(*hasher->Finish() == Hash(algorithm, AsBytes(message)));
    }
    CHECK(*hasher->Finish() == Hash(algorithm, AsBytes("")));
  }
}

TEST_CASE("What files are not hashed with is refused") {
  CHECK_THAT(StatusOf(Hasher::Create(HashAlgorithm::kMd5)),
             StatusIs(absl::StatusCode::kUnimplemented, "md5"));
  CHECK_THAT(StatusOf(Hasher::Create(HashAlgorithm::kSm3_256)),
             StatusIs(absl::StatusCode::kUnimplemented, "sm3"));
}

}  // namespace
}  // namespace cupel::crypto
