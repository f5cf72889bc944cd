#include "agent/attester/address_rotation.h"

#include <set>
#include <string>

#include "catch2/catch.hpp"
#include "tests/support/status_matchers.h"

namespace cupel::agent {
namespace {

using testing::StatusIs;
using testing::StatusOf;

const absl::Time kStart = absl::FromUnixSeconds(1000);

AddressRotation Make(std::vector<std::string> addresses, double random) {
  auto rotation =
      AddressRotation::Create(std::move(addresses), {}, [=] { return random; });
  REQUIRE(rotation.ok());
  return *std::move(rotation);
}

TEST_CASE("AddressRotation: without an address there is none") {
  CHECK_THAT(StatusOf(AddressRotation::Create({}, {}, [] { return 0.0; })),
             StatusIs(absl::StatusCode::kInvalidArgument, "HOST:PORT"));
  CHECK_THAT(
      StatusOf(AddressRotation::Create({"a:1", ""}, {}, [] { return 0.0; })),
      StatusIs(absl::StatusCode::kInvalidArgument, "empty"));
}

TEST_CASE("AddressRotation: starts anywhere, at once") {
  std::set<std::string> first;
  for (const double random : {0.0, 0.4, 0.999999}) {
    const auto attempt = Make({"a:1", "b:1", "c:1"}, random).Next(kStart);
    CHECK(attempt.at == kStart);
    first.insert(attempt.address);
  }
  CHECK(first.size() == 3);
}

TEST_CASE("AddressRotation: goes round, and slower with each round") {
  AddressRotation rotation = Make({"a:1", "b:1"}, 0);
  std::string order;
  std::vector<absl::Duration> delays;
  absl::Time now = kStart;
  for (int i = 0; i < 6; ++i) {
    const auto attempt = rotation.Next(now);
    order += attempt.address[0];
    delays.push_back(attempt.at - now);
    now = attempt.at;
    rotation.OnFailed(now, {});
  }
  CHECK(order == "ababab");
  CHECK(delays == std::vector<absl::Duration>{
                      absl::ZeroDuration(), absl::Milliseconds(500),
                      absl::Milliseconds(500), absl::Seconds(1),
                      absl::Seconds(1), absl::Seconds(2)});
}

TEST_CASE("AddressRotation: the delay is bounded, however long it takes") {
  AddressRotation rotation = Make({"a:1"}, 0);
  for (int i = 0; i < 200; ++i) rotation.OnFailed(kStart, {});
  CHECK(rotation.Next(kStart).at == kStart + absl::Seconds(30));
}

TEST_CASE("AddressRotation: the jitter is up to half as much again") {
  AddressRotation rotation = Make({"a:1"}, 0.5);
  rotation.OnFailed(kStart, {});
  CHECK(rotation.Next(kStart).at == kStart + absl::Milliseconds(625));
}

TEST_CASE("AddressRotation: what worked starts over") {
  AddressRotation rotation = Make({"a:1"}, 0);
  for (int i = 0; i < 10; ++i) rotation.OnFailed(kStart, {});
  rotation.OnWorking();
  rotation.OnFailed(kStart, {});
  CHECK(rotation.Next(kStart).at == kStart + absl::Milliseconds(500));
}

TEST_CASE("AddressRotation: a refusal's time holds for the one that refused") {
  AddressRotation rotation = Make({"a:1", "b:1"}, 0);
  REQUIRE(rotation.Next(kStart).address == "a:1");
  rotation.OnFailed(kStart, absl::Minutes(1));
  CHECK(rotation.Next(kStart).address == "b:1");
  rotation.OnFailed(kStart, {});
  // It would be a's turn.
  CHECK(rotation.Next(kStart).address == "b:1");
  const auto later = kStart + absl::Minutes(2);
  rotation.OnFailed(later, {});
  CHECK(rotation.Next(later).address == "a:1");
}

TEST_CASE("AddressRotation: where all refused, the first to be free again") {
  AddressRotation rotation = Make({"a:1", "b:1"}, 0);
  rotation.OnFailed(kStart, absl::Minutes(2));
  REQUIRE(rotation.Next(kStart).address == "b:1");
  rotation.OnFailed(kStart, absl::Minutes(1));
  const auto next = rotation.Next(kStart);
  CHECK(next.address == "b:1");
  CHECK(next.at == kStart + absl::Minutes(1));
}

TEST_CASE("AddressRotation: no verifier can send an agent away for good") {
  AddressRotation rotation = Make({"a:1"}, 0);
  rotation.OnFailed(kStart, absl::InfiniteDuration());
  CHECK(rotation.Next(kStart).at == kStart + absl::Minutes(10));
}

TEST_CASE("AddressRotation: a negative retry_after is none") {
  AddressRotation rotation = Make({"a:1"}, 0);
  rotation.OnFailed(kStart, absl::Seconds(-10));
  CHECK(rotation.Next(kStart).at == kStart + absl::Milliseconds(500));
}

}  // namespace
}  // namespace cupel::agent
