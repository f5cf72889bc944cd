#include "verifier/session/byte_budget.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "catch2/catch.hpp"

namespace cupel::verifier {
namespace {

TEST_CASE("What is reserved is given back, and no more than there is") {
  const auto budget = std::make_shared<ByteBudget>(100);
  ByteBudget::Reservation first(budget);
  CHECK(first.GrowTo(60));
  CHECK(first.GrowTo(10));  // it has more
  CHECK(budget->used() == 60);
  {
    ByteBudget::Reservation second(budget);
    CHECK_FALSE(second.GrowTo(41));
    CHECK(budget->used() == 60);
    CHECK(second.GrowTo(40));
    CHECK_FALSE(first.GrowTo(61));
    CHECK_FALSE(first.GrowTo(~uint64_t{0}));
    CHECK(budget->used() == 100);
  }
  CHECK(budget->used() == 60);
  CHECK(first.GrowTo(100));
}

TEST_CASE("Without a budget there is no bound") {
  ByteBudget::Reservation any(nullptr);
  CHECK(any.GrowTo(~uint64_t{0}));
}

TEST_CASE("Threads never get more than there is together") {
  const auto budget = std::make_shared<ByteBudget>(1000);
  std::atomic<uint64_t> highest = 0;
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 2000; ++round) {
        ByteBudget::Reservation mine(budget);
        mine.GrowTo(300);
        mine.GrowTo(400);
        const uint64_t used = budget->used();
        if (used > 1000) highest = used;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(highest == 0);
  CHECK(budget->used() == 0);
}

}  // namespace
}  // namespace cupel::verifier
