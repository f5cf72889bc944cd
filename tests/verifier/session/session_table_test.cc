#include "verifier/session/session_table.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "catch2/catch.hpp"
#include "tests/support/status_matchers.h"
#include "tests/verifier/session/session_rig.h"

namespace cupel::verifier {
namespace {

using absl::StatusCode;
using ::cupel::testing::IsOk;
using ::cupel::testing::StatusIs;
using Ticket = std::unique_ptr<SessionTable::Ticket>;

const absl::Time kNow = absl::FromUnixSeconds(100);

Ticket Open(SessionTable& table, const std::string& address,
            int* displaced = nullptr) {
  auto ticket = table.Open(address, [displaced] {
    if (displaced != nullptr) ++*displaced;
  });
  REQUIRE_THAT(ticket.status(), IsOk());
  return *std::move(ticket);
}

// Of the stream `number`, by a peer that had the `knows` before it.
SessionTable::Lineage LineageOf(size_t number, size_t knows = 0) {
  SessionTable::Lineage lineage;
  lineage.stream = {static_cast<uint8_t>(number + 1)};
  for (size_t i = 0; i < knows && i < number; ++i) {
    lineage.previous.push_back({static_cast<uint8_t>(number - i)});
  }
  return lineage;
}

TEST_CASE("A15: unproven streams are capped in all, by address and by agent") {
  SessionTable table({.max_unproven = 3,
                      .max_unproven_per_address = 2,
                      .max_unproven_per_agent = 1});
  Ticket a = Open(table, "a");
  Ticket b = Open(table, "a");
  CHECK_THAT(table.Open("a", {}).status(),
             StatusIs(StatusCode::kResourceExhausted, "address"));
  Ticket c = Open(table, "c");
  CHECK_THAT(table.Open("d", {}).status(),
             StatusIs(StatusCode::kResourceExhausted));
  CHECK_THAT(a->Name(TestAgentId()), IsOk());
  CHECK_THAT(b->Name(TestAgentId()), StatusIs(StatusCode::kResourceExhausted));
  CHECK_THAT(a->Name(TestAgentId(2)),
             StatusIs(StatusCode::kFailedPrecondition));
  CHECK(table.unproven_count() == 3);

  // Nobody elsewhere is locked out by it.
  CHECK_THAT(c->Name(TestAgentId()), IsOk());

  // Who proves itself counts no more, and who leaves makes room.
  a->Prove("ak", LineageOf(1), kNow);
  CHECK(table.unproven_count() == 2);
  CHECK_THAT(b->Name(TestAgentId()), IsOk());
  b.reset();
  c.reset();
  CHECK(table.unproven_count() == 0);
  CHECK(table.proven_count() == 1);
  a.reset();
  CHECK(table.proven_count() == 0);
}

TEST_CASE("A proven stream displaces the one before it, and only that") {
  SessionTable table({});
  int first_displaced = 0;
  Ticket first = Open(table, "a", &first_displaced);
  REQUIRE_THAT(first->Name(TestAgentId()), IsOk());
  CHECK_FALSE(first->Prove("ak", LineageOf(1), kNow).displaced);
  Ticket other = Open(table, "a");
  REQUIRE_THAT(other->Name(TestAgentId(2)), IsOk());
  CHECK_FALSE(other->Prove("ak2", LineageOf(2), kNow).displaced);
  CHECK(first_displaced == 0);
  Ticket second = Open(table, "a");
  REQUIRE_THAT(second->Name(TestAgentId()), IsOk());
  CHECK(first_displaced == 0);
  const SessionTable::Proof proof = second->Prove("ak", LineageOf(1), kNow);
  CHECK(proof.displaced);
  CHECK_FALSE(proof.clone_suspected);
  CHECK(first_displaced == 1);
  // The one that had to go takes nobody's place with it.
  first.reset();
  CHECK(table.proven_count() == 2);
}

TEST_CASE("A stream that leaves as it hears of the next one was displaced") {
  SessionTable table({.clone_displacements = 1});
  Ticket first = Open(table, "a");
  REQUIRE_THAT(first->Name(TestAgentId()), IsOk());
  first->NoteLive();
  CHECK_FALSE(first->Prove("ak", LineageOf(1), kNow).displaced);
  Ticket second = Open(table, "a");
  REQUIRE_THAT(second->Name(TestAgentId()), IsOk());
  second->NoteLive();
  first.reset();
  const SessionTable::Proof proof = second->Prove("ak", LineageOf(1), kNow);
  CHECK(proof.displaced);
  CHECK(proof.clone_suspected);
  CHECK(table.proven_count() == 1);
}

// `count` streams of one agent, each of which finds the one before it live.
bool IsCloneAfter(size_t count, absl::Duration apart, bool new_keys,
                  bool closes = false, size_t knows = 0) {
  SessionTable table({});
  std::vector<Ticket> tickets;
  bool suspected = false;
  for (size_t i = 0; i < count; ++i) {
    if (closes) tickets.clear();
    tickets.push_back(Open(table, "a"));
    REQUIRE_THAT(tickets.back()->Name(TestAgentId()), IsOk());
    suspected =
        tickets.back()
            ->Prove(new_keys ? std::to_string(i) : "ak", LineageOf(i, knows),
                    kNow + static_cast<int>(i) * apart)
            .clone_suspected;
  }
  tickets.clear();
  return suspected;
}

TEST_CASE("A33: streams of one AK that alternate are two machines") {
  CHECK(IsCloneAfter(4, absl::Seconds(10), false));
  CHECK_FALSE(IsCloneAfter(3, absl::Seconds(10), false));
  CHECK_FALSE(IsCloneAfter(10, absl::Minutes(1), false));  // broken lines
  CHECK_FALSE(IsCloneAfter(4, absl::Seconds(10), true));
  CHECK_FALSE(IsCloneAfter(10, absl::Seconds(1), false, /*closes=*/true));
}

TEST_CASE("A33: whoever had the stream that it displaces is the same machine") {
  // A connection that is cut again and again, by whoever is on the path.
  CHECK_FALSE(IsCloneAfter(10, absl::Seconds(1), false, false, /*knows=*/1));
  CHECK_FALSE(IsCloneAfter(10, absl::Seconds(1), false, false, /*knows=*/8));

  // Two machines that began as one: each knows its own streams, and those that
  // there were when they parted.
  SessionTable table({});
  std::vector<Ticket> tickets;
  std::array<std::vector<std::vector<uint8_t>>, 2> had = {
      std::vector<std::vector<uint8_t>>{{99}}, {{99}}};
  bool suspected = false;
  for (uint8_t i = 0; i < 6; ++i) {
    tickets.push_back(Open(table, "a"));
    REQUIRE_THAT(tickets.back()->Name(TestAgentId()), IsOk());
    std::vector<std::vector<uint8_t>>& own = had[i % 2];
    tickets.back()->NoteLive();
    suspected |= tickets.back()
                     ->Prove("ak", {.stream = {i}, .previous = own}, kNow)
                     .clone_suspected;
    own.push_back({i});
  }
  CHECK(suspected);
  tickets.clear();
}

}  // namespace
}  // namespace cupel::verifier
