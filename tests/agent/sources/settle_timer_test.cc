#include "agent/sources/settle_timer.h"

#include "catch2/catch.hpp"

namespace cupel::agent {
namespace {

absl::Time At(int milliseconds) {
  return absl::UnixEpoch() + absl::Milliseconds(milliseconds);
}

TEST_CASE("a list that does not grow is not worth a quote") {
  SettleTimer timer;
  CHECK_FALSE(timer.has_uncovered());
  CHECK(timer.due() == absl::InfiniteFuture());
  timer.Observe(5, At(0));
  timer.MarkCovered(5, At(10));
  timer.Observe(5, At(5000));
  CHECK_FALSE(timer.has_uncovered());
  CHECK_FALSE(timer.IsDue(At(10000)));
}

TEST_CASE("a quote is due once the list has been still") {
  SettleTimer timer;
  timer.Observe(1, At(1000));
  CHECK(timer.has_uncovered());
  CHECK_FALSE(timer.IsDue(At(1099)));
  CHECK(timer.IsDue(At(1100)));
  timer.Observe(2, At(1050));
  CHECK_FALSE(timer.IsDue(At(1100)));
  timer.Observe(2, At(1120));
  CHECK(timer.due() == At(1150));
}

TEST_CASE("steady growth can't put a quote off") {
  SettleTimer timer;
  uint64_t count = 0;
  for (int time = 1000; time < 2000; time += 50) {
    timer.Observe(++count, At(time));
    CHECK_FALSE(timer.IsDue(At(time)));
  }
  timer.Observe(++count, At(2000));
  CHECK(timer.IsDue(At(2000)));
  // What came while the quote was taken has its own second.
  timer.MarkCovered(count - 1, At(2010));
  CHECK(timer.has_uncovered());
  CHECK(timer.due() == At(2100));
  for (int time = 2050; time < 3010; time += 50) {
    timer.Observe(++count, At(time));
  }
  CHECK(timer.due() == At(3010));
}

TEST_CASE("a quote may cover more than was counted, and a list may shrink") {
  SettleTimer timer;
  timer.Observe(3, At(0));
  timer.MarkCovered(4, At(100));
  CHECK_FALSE(timer.has_uncovered());
  timer.Observe(4, At(200));
  CHECK_FALSE(timer.has_uncovered());
  timer.Observe(1, At(300));
  CHECK(timer.due() == At(400));
}

TEST_CASE("both times can be chosen") {
  SettleTimer timer(
      {.settle = absl::Milliseconds(10), .cap = absl::Milliseconds(15)});
  timer.Observe(1, At(0));
  CHECK(timer.due() == At(10));
  timer.Observe(2, At(9));
  CHECK(timer.due() == At(15));
}

}  // namespace
}  // namespace cupel::agent
