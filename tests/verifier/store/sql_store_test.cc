// What concerns SQLite alone; tests/contract has what every store promises.
#include "verifier/store/sql_store.h"

#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "common/crypto/digest.h"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "tests/support/killed_child.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_folder.h"
#include "verifier/store/connection.h"
#include "verifier/store/migrations.h"

namespace cupel::verifier {
namespace {

using ::cupel::testing::IsOk;
using ::cupel::testing::StatusIs;
using ::cupel::testing::StatusOf;
using ::cupel::testing::TemporaryFolder;
using enum absl::StatusCode;

AgentId Id(int number = 0) {
  return *AgentId::Parse(
      absl::StrCat("d432fbb3-d2f1-4a97-9ef7-75bd81c0000", number));
}

std::unique_ptr<SqlStore> OpenStore(const std::string& path) {
  auto store = SqlStore::Open(path);
  REQUIRE_THAT(StatusOf(store), IsOk());
  return *std::move(store);
}

std::unique_ptr<Connection> Connect(const std::string& path) {
  std::ofstream(path, std::ios::app).close();
  auto connection = Connection::OpenSqlite(path, {});
  REQUIRE_THAT(StatusOf(connection), IsOk());
  return *std::move(connection);
}

AgentRecord AddOne(Store& store, int number = 0) {
  const std::string name = absl::StrCat(number);
  const Enrollment enrollment = {
      {1},
      crypto::Hash(crypto::HashAlgorithm::kSha256, AsBytes(name)).Hex(),
      ToVector(AsBytes(name)),
      {3},
      {4},
      absl::Now(),
      "peer"};
  REQUIRE_THAT(StatusOf(store.Enroll(Id(number), enrollment, AsBytes(name),
                                     absl::Now(), "", 10)),
               IsOk());
  const auto agent = store.AddAgent("acme", Id(number), {}, "", "ann");
  REQUIRE_THAT(StatusOf(agent), IsOk());
  return *agent;
}

VerdictWrite VerdictFor(const AgentRecord& agent, uint64_t round) {
  const bool trusted = round % 3 != 0;
  VerdictWrite write{
      .id = agent.id,
      .owner_epoch = agent.owner_epoch,
      .policy_epoch = agent.policy_epoch,
      .state = trusted ? AgentState::kTrusted : AgentState::kPending,
      .reason = absl::StrCat("round ", round),
      .valid_until = absl::InfiniteFuture(),
      .decided = trusted};
  write.counts.entries = round;
  write.progress.entry_count = round;
  return write;
}

void Execute(const std::string& path, const std::string& sql) {
  REQUIRE_THAT(StatusOf(Connect(path)->Execute(sql)), IsOk());
}

TEST_CASE("a store is made from nothing and found again", "[store][sqlite]") {
  const TemporaryFolder folder;
  const std::string path = folder / "store with blanks.db";
  AddOne(*OpenStore(path));
  struct stat file = {};
  REQUIRE(stat(path.c_str(), &file) == 0);
  CHECK((file.st_mode & 0777) == 0600);
  const auto store = OpenStore(path);
  CHECK(store->GetAgent("acme", Id())->state == AgentState::kPending);
  const absl::Duration off = store->Now() - absl::Now();
  CHECK(absl::AbsDuration(off) < absl::Seconds(5));
}

TEST_CASE("an empty file is a store to be", "[store][sqlite]") {
  const TemporaryFolder folder;
  const std::string path = folder / "store.db";
  REQUIRE_THAT(WriteFile(path, ""), IsOk());
  OpenStore(path);
  const auto version =
      Connect(path)->QueryOne("SELECT version FROM cupel_schema", 'i');
  REQUIRE_THAT(StatusOf(version), IsOk());
  CHECK(*version == SqlNumber(kSchemaVersion));
}

TEST_CASE("what isn't this program's store is refused", "[store][sqlite]") {
  const TemporaryFolder folder;
  const std::string path = folder / "store.db";
  OpenStore(path);
  SECTION("a newer schema") {
    Execute(path, absl::StrCat("UPDATE cupel_schema SET version = ",
                               kSchemaVersion + 1));
    CHECK_THAT(StatusOf(SqlStore::Open(path)),
               StatusIs(kFailedPrecondition, "newer program"));
    const auto version =
        Connect(path)->QueryOne("SELECT version FROM cupel_schema", 'i');
    CHECK(*version == SqlNumber(kSchemaVersion + 1));
  }
  SECTION("no version") {
    Execute(path, "DELETE FROM cupel_schema");
    CHECK_THAT(StatusOf(SqlStore::Open(path)), StatusIs(kDataLoss, "version"));
  }
  SECTION("another program's database") {
    const std::string other = folder / "other.db";
    Execute(other, "CREATE TABLE music (title TEXT)");
    CHECK_THAT(StatusOf(SqlStore::Open(other)),
               StatusIs(kFailedPrecondition, "another program"));
  }
  SECTION("no database") {
    const std::string text = folder / "text";
    REQUIRE_THAT(WriteFile(text, std::string(5000, 'x')), IsOk());
    CHECK_THAT(StatusOf(SqlStore::Open(text)), StatusIs(kDataLoss));
  }
  SECTION("paths that none can have") {
    CHECK_THAT(StatusOf(SqlStore::Open("")), StatusIs(kInvalidArgument));
    CHECK_THAT(StatusOf(SqlStore::Open(folder / "a\"b")),
               StatusIs(kInvalidArgument));
    CHECK_THAT(StatusOf(SqlStore::Open(folder / "no/store.db")),
               StatusIs(kUnavailable));
    CHECK_THAT(StatusOf(SqlStore::Open(folder.path())), StatusIs(kUnavailable));
  }
}

// A store with an agent and a policy, as the first version of the schema has
// left it.
void MakeSchema1(const std::string& path) {
  {
    const auto store = OpenStore(path);
    AddOne(*store);
    REQUIRE_THAT(
        StatusOf(store->PutPolicy("acme", "base", AsBytes("{}"),
                                  /*digest_count=*/7, /*create=*/true, "ann")),
        IsOk());
  }
  for (const char* const sql :
       {"DROP INDEX enrollment_tokens_by_tenant",
        "DROP INDEX policies_without_files",
        "ALTER TABLE agents DROP COLUMN judged_policies",
        "ALTER TABLE events DROP COLUMN policies", "DROP INDEX events_by_agent",
        "DROP INDEX events_by_time",
        "ALTER TABLE events DROP COLUMN of_findings",
        "ALTER TABLE policies DROP COLUMN digest_count",
        "ALTER TABLE policies DROP COLUMN size", "DROP TABLE allowed_eks",
        "ALTER TABLE agents DROP COLUMN ek_vouched",
        "ALTER TABLE agents DROP COLUMN clock_info"}) {
    CAPTURE(sql);
    Execute(path, sql);
  }
  Execute(path, "DROP INDEX agents_by_state");
  Execute(path, "UPDATE cupel_schema SET version = 1");
}

TEST_CASE("an older schema is brought up to date with all that is in it",
          "[store][sqlite]") {
  const TemporaryFolder folder;
  const std::string path = folder / "store.db";
  MakeSchema1(path);
  {
    const auto store = OpenStore(path);
    const auto agent = store->GetAgent("acme", Id());
    REQUIRE_THAT(StatusOf(agent), IsOk());
    CHECK(agent->state == AgentState::kPending);
    CHECK_FALSE(agent->clock_info.has_value());
    CHECK_FALSE(agent->ek_vouched);
    CHECK(agent->judged_policies.empty());
    const auto policy = store->GetPolicy("acme", "base");
    REQUIRE_THAT(StatusOf(policy), IsOk());
    CHECK(policy->size == 2);
    CHECK(policy->digest_count == 0);  // nobody has counted them
    const auto events = store->EventsAfter("acme", 0, 10);
    REQUIRE_THAT(StatusOf(events), IsOk());
    REQUIRE(events->size() == 1);
    CHECK(events->front().policies.empty());
  }
  const auto db = Connect(path);
  CHECK(*db->QueryOne("SELECT version FROM cupel_schema", 'i') ==
        SqlNumber(kSchemaVersion));
  CHECK(db->QueryOne("SELECT name FROM sqlite_master"
                     " WHERE name = 'agents_by_state'",
                     't')
            ->has_value());
}

TEST_CASE("a migration that fails in the middle leaves what was there",
          "[store][sqlite]") {
  const TemporaryFolder folder;
  const std::string path = folder / "store.db";
  SECTION("of an empty store") {
    // The first step gets as far as this table.
    Execute(path, "CREATE TABLE cupel_schema (version BIGINT NOT NULL)");
    Execute(path, "INSERT INTO cupel_schema (version) VALUES (0)");
    Execute(path, "CREATE TABLE nonces (something TEXT)");
    CHECK_FALSE(StatusOf(SqlStore::Open(path)).ok());
    const auto db = Connect(path);
    CHECK(*db->QueryOne("SELECT version FROM cupel_schema", 'i') ==
          SqlNumber(0));
    CHECK(*db->QueryOne("SELECT COUNT(*) FROM sqlite_master", 'i') ==
          SqlNumber(2));
    // And once it can, it goes through.
    Execute(path, "DROP TABLE nonces");
    OpenStore(path);
  }
  SECTION("of an older one") {
    MakeSchema1(path);
    Execute(path, "CREATE INDEX agents_by_state ON agents (owner)");
    CHECK_FALSE(StatusOf(SqlStore::Open(path)).ok());
    CHECK(*Connect(path)->QueryOne("SELECT version FROM cupel_schema", 'i') ==
          SqlNumber(1));
    Execute(path, "DROP INDEX agents_by_state");
    CHECK(OpenStore(path)->GetAgent("acme", Id())->state ==
          AgentState::kPending);
  }
}

TEST_CASE("a backup of a store that is not open changes nothing of it",
          "[store][sqlite]") {
  const TemporaryFolder folder;
  const std::string path = folder / "store.db";
  MakeSchema1(path);
  REQUIRE_THAT(SqlStore::BackupFile(path, folder / "copy"), IsOk());
  CHECK(*Connect(path)->QueryOne("SELECT version FROM cupel_schema", 'i') ==
        SqlNumber(1));
  CHECK(OpenStore(folder / "copy")->GetAgent("acme", Id())->state ==
        AgentState::kPending);
  CHECK_THAT(SqlStore::BackupFile(path, folder / "copy"),
             StatusIs(kAlreadyExists, "copy"));
  CHECK_THAT(SqlStore::BackupFile(folder / "none", folder / "another"),
             StatusIs(kNotFound, "none"));
  Execute(path, absl::StrCat("UPDATE cupel_schema SET version = ",
                             kSchemaVersion + 1));
  CHECK_THAT(SqlStore::BackupFile(path, folder / "newer"),
             StatusIs(kFailedPrecondition, "newer program"));
  Execute(folder / "other", "CREATE TABLE music (title TEXT)");
  CHECK_THAT(SqlStore::BackupFile(folder / "other", folder / "another"),
             StatusIs(kFailedPrecondition, "another program"));
  REQUIRE_THAT(WriteFile(folder / "empty", ""), IsOk());
  CHECK_THAT(SqlStore::BackupFile(folder / "empty", folder / "another"),
             StatusIs(kFailedPrecondition, "empty"));
}

// A store whose clock a test sets, and that gives who is PENDING a minute.
struct PendingTest {
  PendingTest() {
    auto opened = SqlStore::Open(
        folder / "store.db",
        {.clock = [this] { return now; }, .pending_timeout = absl::Minutes(1)});
    REQUIRE_THAT(StatusOf(opened), IsOk());
    store = *std::move(opened);
  }
  absl::Status Enroll(const std::string& nonce) {
    const Enrollment enrollment = {
        {1}, std::string(64, 'e'), {2}, {3}, {4}, now, "peer"};
    return store->Enroll(Id(), enrollment, AsBytes(nonce), now, "", 10)
        .status();
  }
  AgentRecord Get() const { return *store->GetAgent("acme", Id()); }
  absl::Status Record(AgentState state, absl::Time until) {
    const AgentRecord agent = Get();
    VerdictWrite write = VerdictFor(agent, 1);
    write.state = state;
    write.valid_until = until;
    return store->RecordVerdict(write).status();
  }

  const TemporaryFolder folder;
  absl::Time now = absl::FromUnixSeconds(1'700'000'000);
  std::unique_ptr<SqlStore> store;
};

TEST_CASE("whatever makes an agent PENDING gives it a deadline",
          "[store][sqlite]") {
  PendingTest test;
  const absl::Time until = test.now + absl::Minutes(1);
  SECTION("add") {
    REQUIRE_THAT(test.Enroll("1"), IsOk());
    REQUIRE_THAT(StatusOf(test.store->AddAgent("acme", Id(), {}, "", "ann")),
                 IsOk());
  }
  SECTION("the enrolment of who is expected") {
    REQUIRE_THAT(StatusOf(test.store->AddAgent("acme", Id(), {}, "", "ann")),
                 IsOk());
    CHECK(test.Get().state == AgentState::kExpected);
    CHECK_FALSE(test.Get().valid_until.has_value());
    REQUIRE_THAT(test.Enroll("1"), IsOk());
  }
  SECTION("what comes after TRUSTED") {
    REQUIRE_THAT(test.Enroll("1"), IsOk());
    REQUIRE_THAT(StatusOf(test.store->AddAgent("acme", Id(), {}, "", "ann")),
                 IsOk());
    REQUIRE_THAT(test.Record(AgentState::kTrusted, absl::InfiniteFuture()),
                 IsOk());
    SECTION("new settings") {
      const auto relabel = [](AgentSettings& settings) {
        settings.labels["site"] = "x";
        return absl::OkStatus();
      };
      REQUIRE_THAT(test.store->UpdateAgent("acme", Id(), relabel, "ann"),
                   IsOk());
    }
    SECTION("a new boot") {
      REQUIRE_THAT(test.Record(AgentState::kPending, absl::InfiniteFuture()),
                   IsOk());
    }
    SECTION("reactivation") {
      REQUIRE_THAT(test.Record(AgentState::kFailed, absl::InfiniteFuture()),
                   IsOk());
      CHECK_FALSE(test.Get().valid_until.has_value());
      REQUIRE_THAT(test.store->Reactivate("acme", Id(), {}, "ann"), IsOk());
    }
  }
  CHECK(test.Get().state == AgentState::kPending);
  CHECK(test.Get().valid_until == until);

  // It runs out once, with an event, and changes nothing else.
  test.now = until - absl::Nanoseconds(1);
  CHECK(*test.store->ExpireVerdicts(test.now) == 0);
  const uint64_t before = *test.store->LastEventSequence();
  test.now = until;
  CHECK(*test.store->ExpireVerdicts(test.now) == 1);
  CHECK(test.Get().state == AgentState::kPending);
  CHECK_FALSE(test.Get().valid_until.has_value());
  const auto events = test.store->EventsAfter("acme", before, 10);
  REQUIRE(events->size() == 1);
  CHECK(events->front().state == AgentState::kPending);
  CHECK(*test.store->ExpireVerdicts(test.now + absl::Hours(1)) == 0);
}

TEST_CASE("who lapses from TRUSTED has had the event, and no other deadline",
          "[store][sqlite]") {
  PendingTest test;
  REQUIRE_THAT(test.Enroll("1"), IsOk());
  REQUIRE_THAT(StatusOf(test.store->AddAgent("acme", Id(), {}, "", "ann")),
               IsOk());
  REQUIRE_THAT(test.Record(AgentState::kTrusted, test.now + absl::Seconds(20)),
               IsOk());
  test.now += absl::Seconds(20);
  CHECK(*test.store->ExpireVerdicts(test.now) == 1);
  CHECK(test.Get().state == AgentState::kPending);
  CHECK_FALSE(test.Get().valid_until.has_value());
}

TEST_CASE("a page that was overwritten is found at the start",
          "[store][sqlite]") {
  const TemporaryFolder folder;
  const std::string path = folder / "store.db";
  AddOne(*OpenStore(path));
  {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(4096);
    for (int i = 0; i < 4096 * 4; ++i) file.put('\x5a');
  }
  CHECK_THAT(StatusOf(SqlStore::Open(path)), StatusIs(kDataLoss));
}

TEST_CASE("a value that is damaged is an error, never a default",
          "[store][sqlite]") {
  const TemporaryFolder folder;
  const std::string path = folder / "store.db";
  const auto store = OpenStore(path);
  AddOne(*store);
  for (const char* const column : {"progress", "findings", "settings", "counts",
                                   "accepted", "enrollment"}) {
    CAPTURE(column);
    const auto undamaged = Connect(path)->QueryOne(
        absl::StrCat("SELECT ", column, " FROM agents"), 'b');
    REQUIRE_THAT(StatusOf(undamaged), IsOk());
    Execute(path, absl::StrCat("UPDATE agents SET ", column, " = x'5001'"));
    CHECK_THAT(StatusOf(store->FindAgent(Id())), StatusIs(kDataLoss));
    CHECK_THAT(StatusOf(store->ClaimAgent(Id(), "node")), StatusIs(kDataLoss));
    REQUIRE_THAT(StatusOf(Connect(path)->Execute(
                     absl::StrCat("UPDATE agents SET ", column, " = :v"),
                     {**undamaged})),
                 IsOk());
    CHECK_THAT(StatusOf(store->FindAgent(Id())), IsOk());
  }
}

TEST_CASE("the database itself keeps ids, EKs and states apart",
          "[store][sqlite]") {
  const TemporaryFolder folder;
  const std::string path = folder / "store.db";
  AddOne(*OpenStore(path));
  const auto db = Connect(path);
  const std::string columns =
      "tenant, state, state_reason, wanted_ek_sha256, ek_sha256, address,"
      " enrolled_at, enrollment, settings, policy_epoch, owner_epoch, owner,"
      " valid_until, last_attested, last_seen, attestation_count, counts,"
      " accepted, boot_composite, pinned_boot_composite, progress, findings";
  CHECK_THAT(StatusOf(db->Execute(absl::StrCat("INSERT INTO agents (agent_id, ",
                                               columns, ") SELECT 'another', ",
                                               columns, " FROM agents"))),
             StatusIs(kAlreadyExists, "ek_sha256"));
  for (const char* const change :
       {"state = 7", "state = 1", "state = 4", "tenant = ''",
        "enrollment = NULL", "ek_sha256 = NULL", "progress = NULL"}) {
    CAPTURE(change);
    CHECK_THAT(
        StatusOf(db->Execute(absl::StrCat("UPDATE agents SET ", change))),
        StatusIs(kAlreadyExists));
  }
  CHECK_THAT(StatusOf(db->Execute("INSERT INTO agent_policies VALUES"
                                  " ('d432fbb3-d2f1-4a97-9ef7-75bd81c00000',"
                                  " 0, 'acme', 'none')")),
             StatusIs(kAlreadyExists));
}

TEST_CASE("a store that another process holds is unavailable, unchanged",
          "[store][sqlite]") {
  const TemporaryFolder folder;
  const std::string path = folder / "store.db";
  auto opened = SqlStore::Open(
      path, {.clock = {}, .busy_timeout = absl::Milliseconds(50)});
  REQUIRE_THAT(StatusOf(opened), IsOk());
  Store& store = **opened;
  const AgentRecord agent = AddOne(store);
  const auto other = Connect(path);
  REQUIRE_THAT(other->Begin(Durability::kFull), IsOk());
  CHECK_THAT(StatusOf(store.RecordVerdict(VerdictFor(agent, 1))),
             StatusIs(kUnavailable));
  CHECK(store.GetAgent("acme", Id())->attestation_count == 0);
  REQUIRE_THAT(other->Commit(), IsOk());
  CHECK_THAT(StatusOf(store.RecordVerdict(VerdictFor(agent, 1))), IsOk());
  // Of verdicts that are written together each one hears of it.
  REQUIRE_THAT(other->Begin(Durability::kFull), IsOk());
  const std::vector<VerdictWrite> writes = {VerdictFor(agent, 1),
                                            VerdictFor(agent, 2)};
  for (const auto& result : store.RecordVerdicts(writes)) {
    CHECK_THAT(StatusOf(result), StatusIs(kUnavailable));
  }
  CHECK(store.GetAgent("acme", Id())->attestation_count == 1);
}

TEST_CASE("A18: a verdict that the database refuses fails alone",
          "[store][sqlite]") {
  const TemporaryFolder folder;
  const std::string path = folder / "store.db";
  const auto store = OpenStore(path);
  std::vector<VerdictWrite> writes;
  writes.reserve(4);
  for (int number = 0; number < 4; ++number) {
    writes.push_back(VerdictFor(AddOne(*store, number), 1));
  }
  // Two changes, which begin what the renewals go on with.
  for (const size_t i : {size_t{0}, size_t{1}}) {
    REQUIRE_THAT(StatusOf(store->RecordVerdict(writes[i])), IsOk());
    writes[i].progress.entry_count = 2;
  }
  for (const int refused : {0, 2}) {
    Execute(path, absl::StrCat("CREATE TRIGGER refuse", refused,
                               " BEFORE UPDATE ON agents WHEN NEW.agent_id = '",
                               Id(refused).ToString(),
                               "' BEGIN SELECT RAISE(ABORT, 'refused'); END"));
  }
  const auto results = store->RecordVerdicts(writes);
  REQUIRE(results.size() == 4);
  CHECK_THAT(StatusOf(results[0]), StatusIs(kAlreadyExists, "refused"));
  CHECK_THAT(StatusOf(results[1]), IsOk());
  CHECK_THAT(StatusOf(results[2]), StatusIs(kAlreadyExists, "refused"));
  CHECK_THAT(StatusOf(results[3]), IsOk());
  const auto stored = OpenStore(path);
  CHECK(stored->FindAgent(Id(0))->progress.entry_count == 1);
  CHECK(stored->FindAgent(Id(1))->progress.entry_count == 2);
  CHECK(stored->FindAgent(Id(2))->state == AgentState::kPending);
  CHECK(stored->FindAgent(Id(3))->state == AgentState::kTrusted);
}

// Writes verdicts until it is killed, and says after each that it was
// acknowledged.
[[noreturn]] void WriteUntilKilled(const std::string& path, int pipe) {
  auto store = SqlStore::Open(path);
  if (!store.ok()) _exit(2);
  const auto agent = (*store)->ClaimAgent(Id(), "child");
  if (!agent.ok()) _exit(3);
  for (uint64_t round = agent->progress.entry_count + 1;; ++round) {
    if (!(*store)->RecordVerdict(VerdictFor(*agent, round)).ok()) _exit(4);
    if (write(pipe, &round, sizeof(round)) != sizeof(round)) _exit(5);
  }
}

TEST_CASE("kill -9 loses no verdict and invents none", "[store][sqlite]") {
  const TemporaryFolder folder;
  const std::string path = folder / "store.db";
  AddOne(*OpenStore(path));
  std::mt19937 random(20240229);
  uint64_t total = 0;
  // On a machine that is busy few of them get to write much.
  for (int kill_number = 0; kill_number < 40 || total <= 100; ++kill_number) {
    CAPTURE(kill_number);
    REQUIRE(kill_number < 2000);
    // Some are killed while they open the file, most while they write.
    const auto told = testing::ToldUntilKilled<uint64_t>(
        std::chrono::microseconds(random() % 60'000),
        [&](int pipe) { WriteUntilKilled(path, pipe); });
    const uint64_t acknowledged = told.empty() ? total : told.back();

    const auto store = OpenStore(path);
    const auto agent = store->GetAgent("acme", Id());
    REQUIRE_THAT(StatusOf(agent), IsOk());
    const uint64_t stored = agent->progress.entry_count;
    // The one that was under way may have been written, and only that one.
    CHECK(stored >= acknowledged);
    CHECK(stored <= acknowledged + 1);
    // Verdict, progress, counters and events are of the same write.
    CHECK(agent->counts.entries == stored);
    if (stored > 0) {
      CHECK(agent->state_reason == absl::StrCat("round ", stored));
      CHECK(agent->state == VerdictFor(*agent, stored).state);
      const auto events = store->EventsAfter("acme", 0, 1'000'000);
      REQUIRE_THAT(StatusOf(events), IsOk());
      uint64_t last_change = stored;  // rounds 3n and 3n+1 change the state
      while (last_change % 3 == 2) --last_change;
      CHECK(events->back().text == absl::StrCat("round ", last_change));
    }
    total = stored;
  }
}

}  // namespace
}  // namespace cupel::verifier
