#include "common/crypto/pcr.h"

#include <algorithm>
#include <vector>

#include "catch2/catch.hpp"

namespace cupel::crypto {
namespace {

TEST_CASE("A replay bank is a bank that Cupel can hash") {
  std::vector<HashAlgorithm> replayed;
  for (int i = 0; i <= static_cast<int>(HashAlgorithm::kSha3_512); ++i) {
    const auto algorithm = static_cast<HashAlgorithm>(i);
    if (!IsReplayBank(algorithm)) continue;
    replayed.push_back(algorithm);
    CHECK(CanHash(algorithm));
    CHECK(std::ranges::count(kPcrBanks, algorithm) == 1);
  }
  CHECK(replayed == std::vector{HashAlgorithm::kSha1, HashAlgorithm::kSha256,
                                HashAlgorithm::kSha384,
                                HashAlgorithm::kSha512});
}

}  // namespace
}  // namespace cupel::crypto
