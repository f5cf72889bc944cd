#include "verifier/session/verdict_writer.h"

#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "catch2/catch.hpp"
#include "tests/support/killed_child.h"
#include "tests/support/memory_store.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_folder.h"
#include "tests/verifier/session/session_rig.h"
#include "verifier/store/sql_store.h"

namespace cupel::verifier {
namespace {

using ::cupel::testing::StatusIs;

VerdictWrite WriteOf(const AgentId& id, const std::string& reason) {
  VerdictWrite write{.id = id, .state = std::nullopt};
  write.reason = reason;
  return write;
}

// Records what it is asked to write, and lets a test hold a group back.
class HeldStore : public testing::MemoryStore {
 public:
  std::vector<absl::StatusOr<RecordedVerdict>> RecordVerdicts(
      std::span<const VerdictWrite> group) override {
    std::unique_lock<std::mutex> lock(mutex_);
    groups_.push_back(group.size());
    changed_.notify_all();
    changed_.wait(lock, [this] { return !held_; });
    if (throws) throw std::runtime_error("no memory");
    std::vector<absl::StatusOr<RecordedVerdict>> results;
    for (const VerdictWrite& write : group) {
      reasons_.push_back(write.reason);
      if (write.reason == "thrown") throw std::runtime_error("broken");
      if (write.reason == "refused") {
        results.emplace_back(absl::AbortedError("fenced"));
      } else {
        results.emplace_back(RecordedVerdict{});
      }
    }
    return results;
  }

  void Hold() { SetHeld(true); }
  void Release() { SetHeld(false); }
  // Waits until that many groups were begun.
  void AwaitGroups(size_t count) {
    std::unique_lock<std::mutex> lock(mutex_);
    REQUIRE(changed_.wait_for(lock, std::chrono::seconds(30),
                              [&] { return groups_.size() >= count; }));
  }
  std::vector<size_t> groups() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return groups_;
  }
  std::vector<std::string> reasons() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return reasons_;
  }

  bool throws = false;

 private:
  void SetHeld(bool held) {
    const std::lock_guard<std::mutex> lock(mutex_);
    held_ = held;
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool held_ = false;
  std::vector<size_t> groups_;
  std::vector<std::string> reasons_;
};

// What came of each write, by its reason.
class Results {
 public:
  VerdictWriter::Done Note(const std::string& reason) {
    return [this, reason](absl::StatusOr<RecordedVerdict> recorded) {
      const std::lock_guard<std::mutex> lock(mutex_);
      results_.emplace_back(reason, std::move(recorded));
      changed_.notify_all();
    };
  }
  std::vector<std::pair<std::string, absl::StatusOr<RecordedVerdict>>> Await(
      size_t count) {
    std::unique_lock<std::mutex> lock(mutex_);
    REQUIRE(changed_.wait_for(lock, std::chrono::seconds(30),
                              [&] { return results_.size() >= count; }));
    return results_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::pair<std::string, absl::StatusOr<RecordedVerdict>>> results_;
};

// Writes that say `reason`; a long time between groups, so that only what is
// urgent is written soon.
struct Writing {
  explicit Writing(absl::Duration group_for = absl::Hours(1))
      : writer(store, {.group_for = group_for}) {}

  void Write(const std::string& reason, bool is_urgent = false) {
    writer.Write(WriteOf(TestAgentId(), reason), is_urgent,
                 results.Note(reason));
  }

  HeldStore store;
  Results results;
  VerdictWriter writer;
};

TEST_CASE("What comes while a group is written is the next one") {
  Writing writing(absl::ZeroDuration());
  writing.store.Hold();
  writing.Write("1");
  writing.store.AwaitGroups(1);
  for (const char* const reason : {"2", "3", "refused", "4"}) {
    writing.Write(reason);
  }
  CHECK(writing.writer.waiting_count() == 4);
  writing.store.Release();
  const auto results = writing.results.Await(5);
  CHECK(writing.store.groups() == std::vector<size_t>{1, 4});
  const std::vector<std::string> order = {"1", "2", "3", "refused", "4"};
  CHECK(writing.store.reasons() == order);
  for (size_t i = 0; i < results.size(); ++i) {
    CHECK(results[i].first == order[i]);
    // One that is refused fails alone.
    CHECK(results[i].second.ok() == (order[i] != "refused"));
  }
  CHECK_THAT(results[3].second.status(),
             StatusIs(absl::StatusCode::kAborted, "fenced"));
}

TEST_CASE("The first verdict after a time without any waits for nobody") {
  Writing writing;
  writing.Write("1");
  writing.results.Await(1);
}

TEST_CASE("An urgent verdict takes those along that wait") {
  Writing writing;
  writing.Write("1");
  writing.results.Await(1);
  writing.Write("2");
  writing.Write("3");
  writing.Write("4", /*is_urgent=*/true);
  writing.results.Await(4);
  CHECK(writing.store.reasons() ==
        std::vector<std::string>{"1", "2", "3", "4"});
  // And the next one waits again.
  writing.Write("5");
  CHECK(writing.writer.waiting_count() == 1);
  writing.Write("6", /*is_urgent=*/true);
  writing.results.Await(6);
}

TEST_CASE("A group has a largest size, and the rest is no less urgent") {
  HeldStore store;
  Results results;
  VerdictWriter writer(store,
                       {.group_for = absl::Hours(1), .max_group_size = 2});
  store.Hold();
  for (int i = 0; i < 6; ++i) {
    const std::string reason = std::to_string(i);
    writer.Write(WriteOf(TestAgentId(), reason), /*is_urgent=*/i > 0,
                 results.Note(reason));
    if (i == 0) store.AwaitGroups(1);
  }
  store.Release();
  results.Await(6);
  CHECK(store.groups() == std::vector<size_t>{1, 2, 2, 1});
  CHECK(writer.group_count() == 4);
}

TEST_CASE("A writer that ends writes what waits") {
  HeldStore store;
  Results results;
  {
    VerdictWriter writer(store, {.group_for = absl::Hours(1)});
    for (const char* const reason : {"1", "2", "3"}) {
      writer.Write(WriteOf(TestAgentId(), reason), /*is_urgent=*/false,
                   results.Note(reason));
    }
  }
  CHECK(results.Await(3).size() == 3);
  CHECK(store.reasons() == std::vector<std::string>{"1", "2", "3"});
}

TEST_CASE("A17: what the store throws is the error of whom it concerns") {
  Writing writing;
  writing.store.throws = true;
  writing.Write("1");
  const auto results = writing.results.Await(1);
  CHECK_THAT(results[0].second.status(),
             StatusIs(absl::StatusCode::kUnknown, "no memory"));
  writing.store.throws = false;
  writing.Write("2");
  writing.Write("thrown");
  writing.Write("3", /*is_urgent=*/true);
  const auto later = writing.results.Await(4);
  CHECK(later[1].second.ok());
  CHECK_THAT(later[2].second.status(),
             StatusIs(absl::StatusCode::kUnknown, "broken"));
  CHECK(later[3].second.ok());
}

// --- kill -9.

constexpr uint64_t kAgents = 8;

// A verdict that was told, as the child says so.
struct Told {
  uint64_t agent = 0;
  uint64_t round = 0;
};

VerdictWrite RoundOf(const AgentRecord& agent, uint64_t round) {
  VerdictWrite write = WriteOf(agent.id, std::to_string(round));
  write.owner_epoch = agent.owner_epoch;
  write.policy_epoch = agent.policy_epoch;
  // Two renewals, and a change behind them.
  write.state = round % 3 == 0 ? AgentState::kPending : AgentState::kTrusted;
  write.valid_until = absl::InfiniteFuture();
  write.counts.entries = round;
  write.progress.entry_count = round;
  return write;
}

// Has each agent's verdicts written one after another, all at the same time,
// until it is killed.
[[noreturn]] void WriteUntilKilled(const std::string& path, int pipe) {
  auto store = SqlStore::Open(path);
  if (!store.ok()) _exit(2);
  std::vector<AgentRecord> agents;
  for (uint64_t i = 0; i < kAgents; ++i) {
    auto agent =
        (*store)->ClaimAgent(TestAgentId(static_cast<uint8_t>(i)), "child");
    if (!agent.ok()) _exit(3);
    agents.push_back(*std::move(agent));
  }
  VerdictWriter writer(**store, {.group_for = absl::Milliseconds(1)});
  std::function<void(uint64_t, uint64_t)> write_next = [&](uint64_t agent,
                                                           uint64_t round) {
    writer.Write(RoundOf(agents[agent], round), /*is_urgent=*/false,
                 [&, agent, round](absl::StatusOr<RecordedVerdict> recorded) {
                   const Told told{agent, round};
                   if (!recorded.ok()) _exit(4);
                   if (write(pipe, &told, sizeof(told)) != sizeof(told)) {
                     _exit(5);
                   }
                   write_next(agent, round + 1);
                 });
  };
  for (uint64_t i = 0; i < kAgents; ++i) {
    write_next(i, agents[i].progress.entry_count + 1);
  }
  while (true) pause();
}

std::unique_ptr<SqlStore> MakeStore(const std::string& path) {
  auto store = SqlStore::Open(path);
  REQUIRE_THAT(store.status(), testing::IsOk());
  for (uint64_t i = 0; i < kAgents; ++i) {
    Enrollment enrollment;
    enrollment.ek_sha256 = std::string(63, '0') + std::to_string(i);
    enrollment.ek_name = {static_cast<uint8_t>(i)};
    enrollment.time = absl::Now();
    const std::vector<uint8_t> nonce = {static_cast<uint8_t>(i)};
    const AgentId id = TestAgentId(static_cast<uint8_t>(i));
    REQUIRE(
        (*store)->Enroll(id, enrollment, nonce, absl::Now(), "", kAgents).ok());
    REQUIRE((*store)->AddAgent("acme", id, {}, "", "ann").ok());
  }
  return *std::move(store);
}

TEST_CASE("kill -9 loses no verdict that was told, of whichever group") {
  const testing::TemporaryFolder folder;
  const std::string path = folder / "store.db";
  MakeStore(path).reset();
  std::mt19937 random(7);
  std::vector<uint64_t> stored(kAgents);
  uint64_t told_count = 0;
  // On a machine that is busy few of them get to write much.
  for (int kill_number = 0; kill_number < 25 || told_count <= 100;
       ++kill_number) {
    CAPTURE(kill_number);
    REQUIRE(kill_number < 2000);
    std::vector<uint64_t> told = stored;
    for (const Told& one : testing::ToldUntilKilled<Told>(
             std::chrono::microseconds(random() % 80'000),
             [&](int pipe) { WriteUntilKilled(path, pipe); })) {
      told[one.agent] = one.round;
      ++told_count;
    }

    auto store = SqlStore::Open(path);
    REQUIRE_THAT(store.status(), testing::IsOk());
    for (uint64_t i = 0; i < kAgents; ++i) {
      CAPTURE(i);
      const auto agent =
          (*store)->FindAgent(TestAgentId(static_cast<uint8_t>(i)));
      REQUIRE_THAT(agent.status(), testing::IsOk());
      stored[i] = agent->progress.entry_count;
      // One may have been written that nobody was told of.
      CHECK(stored[i] >= told[i]);
      CHECK(stored[i] <= told[i] + 1);
      CHECK(agent->counts.entries == stored[i]);
      if (stored[i] > 0) {
        CHECK(agent->state == RoundOf(*agent, stored[i]).state);
        CHECK(agent->state_reason == std::to_string(stored[i]));
      }
    }
  }
}

}  // namespace
}  // namespace cupel::verifier
