#include "verifier/session/worker_pool.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "catch2/catch.hpp"
#include "tests/support/status_matchers.h"
#include "tests/verifier/session/session_rig.h"
#include "verifier/session/deadline_sweep.h"

namespace cupel::verifier {
namespace {

// Counts down to zero, for threads to wait for.
class Latch {
 public:
  explicit Latch(int count) : count_(count) {}
  void CountDown() {
    const std::lock_guard<std::mutex> lock(mutex_);
    --count_;
    changed_.notify_all();
  }
  bool Wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(30),
                             [this] { return count_ <= 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int count_;
};

TEST_CASE("Jobs of a key run in order and one at a time") {
  constexpr int kKeys = 5;
  constexpr int kJobs = 200;
  std::vector<std::vector<int>> seen(kKeys);  // each by one thread at a time
  std::vector<std::atomic<int>> running(kKeys);
  std::atomic<bool> overlapped = false;
  Latch done(kKeys * kJobs);
  {
    WorkerPool pool(4);
    for (int job = 0; job < kJobs; ++job) {
      for (int key = 0; key < kKeys; ++key) {
        pool.Post(std::to_string(key), [&, key, job] {
          const auto index = static_cast<size_t>(key);
          if (++running[index] != 1) overlapped = true;
          seen[index].push_back(job);
          --running[index];
          done.CountDown();
        });
      }
    }
    REQUIRE(done.Wait());
  }
  CHECK_FALSE(overlapped);
  for (const std::vector<int>& jobs : seen) {
    REQUIRE(jobs.size() == kJobs);
    CHECK(std::ranges::is_sorted(jobs));
  }
}

TEST_CASE("Different keys run at the same time") {
  WorkerPool pool(2);
  Latch both(2);
  Latch done(2);
  for (const char* key : {"a", "b"}) {
    pool.Post(key, [&] {
      both.CountDown();
      if (both.Wait()) done.CountDown();
    });
  }
  CHECK(done.Wait());
}

TEST_CASE("A15, A40: a key with many jobs lets others have their turn") {
  Latch start(1);
  Latch done(101);
  std::vector<std::string> order;
  WorkerPool pool(1);
  pool.Post("first", [&] { start.Wait(); });
  for (int i = 0; i < 100; ++i) {
    pool.Post("many", [&] {
      order.emplace_back("many");
      done.CountDown();
    });
  }
  pool.Post("one", [&] {
    order.emplace_back("one");
    done.CountDown();
  });
  CHECK(pool.queued() >= 101);
  start.CountDown();
  REQUIRE(done.Wait());
  CHECK(order[1] == "one");
}

TEST_CASE("A17: a job that throws harms no other") {
  WorkerPool pool(1);
  Latch done(1);
  pool.Post("a", [] { throw std::runtime_error("broken"); });
  pool.Post("a", [&] { done.CountDown(); });
  CHECK(done.Wait());
  CHECK(pool.failed_count() == 1);
}

TEST_CASE("A pool that ends drops what waits") {
  Latch started(1);
  Latch go(1);
  std::atomic<bool> ran = false;
  std::thread releaser;
  {
    WorkerPool pool(1);
    pool.Post("a", [&] {
      started.CountDown();
      go.Wait();
    });
    pool.Post("a", [&] { ran = true; });
    REQUIRE(started.Wait());
    releaser = std::thread([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      go.CountDown();
    });
  }
  releaser.join();
  CHECK_FALSE(ran);
}

TEST_CASE("The sweep ends what has run out, after one grace period") {
  const testing::FakeMachine machine;
  Verifier verifier;
  verifier.Add(machine, TestAgentId());
  RigStore& store = verifier.store;
  const auto record = [&](AgentState state, absl::Duration valid_for) {
    const AgentRecord agent = verifier.Record(TestAgentId());
    VerdictWrite write = {.id = agent.id,
                          .owner_epoch = agent.owner_epoch,
                          .policy_epoch = agent.policy_epoch,
                          .state = state,
                          .reason = "",
                          .valid_until = store.now + valid_for,
                          .findings = {},
                          .counts = {},
                          .progress = {},
                          .boot_composite = ""};
    REQUIRE_THAT(store.RecordVerdict(write).status(), testing::IsOk());
  };
  const auto state = [&] { return verifier.Record(TestAgentId()).state; };
  record(AgentState::kTrusted, -absl::Seconds(1));
  DeadlineSweep sweep(store, absl::Seconds(10));

  CHECK(sweep.Run().value() == 0);
  store.now += absl::Seconds(9);
  CHECK(sweep.Run().value() == 0);
  SECTION("by then it is swept") {
    store.now += absl::Seconds(1);
    CHECK(sweep.Run().value() == 1);
    CHECK(state() == AgentState::kPending);
    CHECK(sweep.Run().value() == 0);
  }
  SECTION("unless it has shown itself meanwhile") {
    record(AgentState::kTrusted, absl::Seconds(5));
    store.now += absl::Seconds(1);
    CHECK(sweep.Run().value() == 0);
  }
  SECTION("a store that came back has grace anew") {
    store.away = true;
    CHECK_THAT(sweep.Run().status(),
               testing::StatusIs(absl::StatusCode::kUnavailable));
    store.away = false;
    store.now += absl::Seconds(5);
    CHECK(sweep.Run().value() == 0);
    store.now += absl::Seconds(9);
    CHECK(sweep.Run().value() == 0);
    store.now += absl::Seconds(1);
    CHECK(sweep.Run().value() == 1);
  }
  SECTION("A31: FAILED stays") {
    record(AgentState::kFailed, absl::ZeroDuration());
    store.now += absl::Hours(1);
    CHECK(sweep.Run().value() == 0);
    CHECK(state() == AgentState::kFailed);
  }
}

}  // namespace
}  // namespace cupel::verifier
