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

TEST_CASE("A job runs on the caller's thread only where its key is at rest") {
  WorkerPool pool(1);
  const auto own = std::this_thread::get_id();
  std::thread::id ran_by;
  pool.RunOrPost("a", [&] { ran_by = std::this_thread::get_id(); });
  CHECK(ran_by == own);

  // What comes meanwhile waits, and goes to the pool.
  std::vector<int> order;
  Latch done(2);
  pool.RunOrPost("a", [&] {
    pool.RunOrPost("a", [&] {
      order.push_back(2);
      ran_by = std::this_thread::get_id();
      done.CountDown();
    });
    pool.Post("a", [&] {
      order.push_back(3);
      done.CountDown();
    });
    order.push_back(1);
  });
  REQUIRE(done.Wait());
  CHECK(order == std::vector<int>{1, 2, 3});
  CHECK(ran_by != own);
}

TEST_CASE("A17: a job that throws on the caller's thread harms nobody") {
  WorkerPool pool(1);
  Latch done(1);
  pool.RunOrPost("a", [] { throw std::runtime_error("broken"); });
  CHECK(pool.failed_count() == 1);
  pool.Post("a", [&] { done.CountDown(); });
  CHECK(done.Wait());
}

TEST_CASE("Jobs of a key run one at a time, whoever runs them") {
  constexpr int kThreads = 4;
  constexpr int kJobs = 300;
  std::atomic<int> running = 0;
  std::atomic<bool> overlapped = false;
  Latch done(kThreads * kJobs);
  WorkerPool pool(2);
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      for (int job = 0; job < kJobs; ++job) {
        const auto run = [&] {
          if (++running != 1) overlapped = true;
          --running;
          done.CountDown();
        };
        if ((job + i) % 2 == 0) {
          pool.Post("a", run);
        } else {
          pool.RunOrPost("a", run);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(done.Wait());
  CHECK_FALSE(overlapped);
}

TEST_CASE("A pool waits for what runs on another thread") {
  Latch started(1);
  std::atomic<bool> ended = false;
  std::thread caller;
  {
    WorkerPool pool(1);
    caller = std::thread([&] {
      pool.RunOrPost("a", [&] {
        started.CountDown();
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        ended = true;
      });
    });
    REQUIRE(started.Wait());
  }
  CHECK(ended);
  caller.join();
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
