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

TEST_CASE("SHA-256 is preferred, and then what has the smaller digest") {
  using enum HashAlgorithm;
  const auto preferred = [](std::vector<HashAlgorithm> banks) {
    return PreferredBank(
        banks, [](HashAlgorithm bank) { return bank != HashAlgorithm::kSha1; });
  };
  CHECK(preferred({kSha512, kSha384, kSha256, kSha1}) == kSha256);
  CHECK(preferred({kSha512, kSha384}) == kSha384);
  // None that a list can't be replayed in, and none that is not wanted.
  CHECK(preferred({kSm3_256, kSha512}) == kSha512);
  CHECK(preferred({kSha1, kSm3_256}) == std::nullopt);
  CHECK(preferred({}) == std::nullopt);
}

}  // namespace
}  // namespace cupel::crypto
