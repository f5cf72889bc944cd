#include "verifier/rpc/token_buckets.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"

namespace cupel::verifier {
namespace {

int TakeAll(TokenBuckets& buckets, const std::string& name, absl::Time now) {
  int count = 0;
  while (buckets.Take(name, now)) ++count;
  return count;
}

TEST_CASE("A bucket holds a second's tokens, and is filled by as many") {
  for (const int rate : {1, 3, 10, 1'000'000}) {
    CAPTURE(rate);
    TokenBuckets buckets(static_cast<uint32_t>(rate));
    absl::Time now = absl::UnixEpoch();
    CHECK(TakeAll(buckets, "acme", now) == rate);
    CHECK_FALSE(buckets.Take("acme", now));
    now += absl::Seconds(1) / rate;
    CHECK(TakeAll(buckets, "acme", now) == 1);
    // However long nobody takes one.
    now += absl::Hours(1);
    CHECK(TakeAll(buckets, "acme", now) == rate);
  }
}

TEST_CASE("A40: one who takes all tokens takes nobody else's") {
  TokenBuckets buckets(2);
  const absl::Time now = absl::UnixEpoch();
  CHECK(TakeAll(buckets, "acme", now) == 2);
  CHECK(TakeAll(buckets, "other", now) == 2);
}

TEST_CASE("Who has a full bucket is not remembered") {
  TokenBuckets buckets(2);
  absl::Time now = absl::UnixEpoch();
  for (int i = 0; i < 1000; ++i) {
    buckets.Take(absl::StrCat("tenant ", i), now);
    now += absl::Milliseconds(500);
  }
  CHECK(buckets.size() <= 64);
}

}  // namespace
}  // namespace cupel::verifier
