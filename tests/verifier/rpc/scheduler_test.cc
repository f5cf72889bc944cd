#include "verifier/rpc/scheduler.h"

#include <future>
#include <mutex>
#include <vector>

#include "catch2/catch.hpp"

namespace cupel::verifier {
namespace {

TEST_CASE("Calls come in the order of their times") {
  std::mutex mutex;
  std::vector<int> order;
  std::promise<void> last;
  Scheduler scheduler;
  const auto note = [&](int number) {
    const std::lock_guard<std::mutex> lock(mutex);
    order.push_back(number);
  };
  scheduler.After(absl::Milliseconds(40), [&] {
    note(2);
    last.set_value();
  });
  scheduler.After(absl::Milliseconds(5), [&] { note(1); });
  last.get_future().wait();
  const std::lock_guard<std::mutex> lock(mutex);
  CHECK(order == std::vector<int>{1, 2});
}

TEST_CASE("A call that comes later than others is made all the same") {
  std::promise<void> last;
  Scheduler scheduler;
  const Scheduler::Id first = scheduler.After(absl::Milliseconds(5), [] {});
  scheduler.After(absl::Milliseconds(30), [&] { last.set_value(); });
  // What the thread waits for is gone before its time.
  scheduler.Cancel(first);
  last.get_future().wait();
}

TEST_CASE("A cancelled call is not made, and its id means nothing later") {
  bool called = false;
  std::promise<void> last;
  Scheduler scheduler;
  const Scheduler::Id id =
      scheduler.After(absl::Milliseconds(5), [&] { called = true; });
  scheduler.Cancel(id);
  scheduler.Cancel(id);
  scheduler.Cancel(0);
  scheduler.After(absl::Milliseconds(20), [&] { last.set_value(); });
  last.get_future().wait();
  scheduler.Stop();
  CHECK_FALSE(called);
}

TEST_CASE("A stopped scheduler makes no calls") {
  bool called = false;
  Scheduler scheduler;
  scheduler.After(absl::Hours(1), [&] { called = true; });
  scheduler.Stop();
  CHECK(scheduler.After(absl::ZeroDuration(), [&] { called = true; }) == 0);
  scheduler.Stop();
  CHECK_FALSE(called);
}

}  // namespace
}  // namespace cupel::verifier
