// What verifier/store/store.h promises, for every implementation of it.
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "catch2/catch.hpp"
#include "common/crypto/digest.h"
#include "common/util/bytes.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_folder.h"
#include "verifier/store/sql_store.h"
#include "verifier/store/store.h"

namespace cupel::verifier {
namespace {

using ::cupel::appraisal::Finding;
using ::cupel::appraisal::MakeFinding;
using ::cupel::appraisal::Severity;
using ::cupel::testing::IsOk;
using ::cupel::testing::StatusIs;
using ::cupel::testing::StatusOf;
using ::cupel::testing::TemporaryFolder;
using enum absl::StatusCode;

// What is told of an id or an EK that somebody has, whoever that is [A21].
constexpr char kTaken[] = "the id or the EK is taken";

std::string HexOf(absl::string_view text) {
  return crypto::Hash(crypto::HashAlgorithm::kSha256, AsBytes(text)).Hex();
}

AgentId Id(int number) {
  return *AgentId::Parse(
      absl::StrCat("d432fbb3-d2f1-4a97-9ef7-75bd81c0",
                   absl::Hex(static_cast<uint64_t>(number), absl::kZeroPad4)));
}

// A store, its clock, and what a verifier would do with it.
class Fixture {
 public:
  explicit Fixture(const TenantQuotas& quotas = {}) {
    const bool is_file = GENERATE(true, false);
    SqlStore::Options options{.clock = [this] { return now_; },
                              .busy_timeout = absl::Seconds(10),
                              .quotas = quotas};
    auto store = SqlStore::Open(is_file ? folder_ / "store.db" : ":memory:",
                                std::move(options));
    REQUIRE_THAT(StatusOf(store), IsOk());
    store_ = *std::move(store);
    store_->OnChange([this](std::optional<AgentId>) { ++changes_; });
  }

 protected:
  Store& store() { return *store_; }
  void Pass(absl::Duration time) { now_ += time; }

  static Enrollment EnrollmentOf(absl::string_view ek) {
    return {ToVector(AsBytes(ek)),
            HexOf(ek),
            ToVector(AsBytes(absl::StrCat("name of ", ek))),
            {4, 5},
            {0, 11, 6},
            absl::FromUnixSeconds(1'700'000'000),
            "192.0.2.1"};
  }
  absl::StatusOr<AgentRecord> Enroll(const AgentId& id, absl::string_view ek,
                                     absl::string_view token = "") {
    Pass(absl::Seconds(1));
    Enrollment enrollment = EnrollmentOf(ek);
    enrollment.time = now_;
    const std::string nonce = absl::StrCat("nonce", ++nonce_);
    return store().Enroll(id, enrollment, AsBytes(nonce), now_, token, 100);
  }
  AgentSettings Settings() const {
    AgentSettings settings;
    settings.policies = {"base", "web"};
    settings.labels = {{"site", "x"}, {"rack", "4"}};
    settings.boot = "pinned";
    settings.lab = true;
    settings.padded_sha1_banks = {"sha256"};
    settings.interval = absl::Seconds(7);
    return settings;
  }
  absl::StatusOr<PolicyRecord> Put(absl::string_view tenant,
                                   absl::string_view name,
                                   absl::string_view file, bool create) {
    return store().PutPolicy(tenant, name, AsBytes(file), /*digest_count=*/3,
                             create, "ann");
  }
  void PutPolicies(absl::string_view tenant = "acme") {
    for (const char* const name : {"base", "web"}) {
      REQUIRE_THAT(StatusOf(Put(tenant, name, "{}", /*create=*/true)), IsOk());
    }
  }
  absl::Status Update(absl::string_view tenant, const AgentId& id,
                      const AgentSettings& wanted) {
    return store().UpdateAgent(
        tenant, id,
        [&](AgentSettings& settings) {
          settings = wanted;
          return absl::OkStatus();
        },
        "ann");
  }
  // An agent of "acme" that is enrolled, added and PENDING.
  AgentRecord MakePending(int number = 1) {
    if (!has_policies_) PutPolicies();
    has_policies_ = true;
    REQUIRE_THAT(StatusOf(Enroll(Id(number), absl::StrCat("ek", number))),
                 IsOk());
    const auto agent =
        store().AddAgent("acme", Id(number), Settings(), "", "ann");
    REQUIRE_THAT(StatusOf(agent), IsOk());
    return *agent;
  }
  VerdictWrite VerdictFor(const AgentRecord& agent,
                          std::optional<AgentState> state) const {
    VerdictWrite write{.id = agent.id,
                       .owner_epoch = agent.owner_epoch,
                       .policy_epoch = agent.policy_epoch,
                       .state = state,
                       .reason = "reason",
                       .boot_composite = "c0ffee",
                       .decided = state == AgentState::kTrusted ||
                                  state == AgentState::kFailed};
    if (state == AgentState::kTrusted) {
      write.valid_until = now_ + absl::Minutes(1);
    }
    if (state == AgentState::kFailed) {
      write.findings = std::vector{
          MakeFinding("ima.digest_mismatch", Severity::kFailure, "evil")};
    }
    write.counts.entries = 12;
    write.progress.key = "key";
    write.progress.entry_count = 12;
    write.progress.byte_offset = 1234;
    write.progress.clock_info = tpm::ClockInfo{99, 3, 1, true};
    write.clock_info = tpm::ClockInfo{100, 3, 1, true};
    return write;
  }
  AgentRecord Record(const AgentRecord& agent, AgentState state) {
    const auto recorded = store().RecordVerdict(VerdictFor(agent, state));
    REQUIRE_THAT(StatusOf(recorded), IsOk());
    return *recorded;
  }
  AgentRecord Get(int number = 1) {
    const auto agent = store().GetAgent("acme", Id(number));
    REQUIRE_THAT(StatusOf(agent), IsOk());
    return *agent;
  }
  uint64_t EventCount() {
    const auto sequence = store().LastEventSequence();
    REQUIRE_THAT(StatusOf(sequence), IsOk());
    return *sequence;
  }

  TemporaryFolder folder_;
  absl::Time now_ = absl::FromUnixSeconds(1'800'000'000);
  std::atomic<int> changes_ = 0;
  int nonce_ = 0;
  bool has_policies_ = false;
  std::unique_ptr<Store> store_;
};

TEST_CASE_METHOD(Fixture, "enrolment binds an id to an EK",
                 "[contract][enroll]") {
  CHECK(store().Now() == now_);
  const auto first = Enroll(Id(1), "ek1");
  REQUIRE_THAT(StatusOf(first), IsOk());
  CHECK(first->state == AgentState::kEnrolled);
  CHECK(first->tenant.empty());
  CHECK(first->enrollment->ek_sha256 == HexOf("ek1"));
  CHECK(first->enrollment->ak_name == std::vector<uint8_t>{0, 11, 6});
  CHECK(first->enrollment->time == now_);

  SECTION("A3: another EK is refused, and the first stays") {
    CHECK_THAT(StatusOf(Enroll(Id(1), "ek2")),
               StatusIs(kAlreadyExists, kTaken));
    const auto found = store().FindAgent(Id(1));
    REQUIRE_THAT(StatusOf(found), IsOk());
    CHECK(found->enrollment->ek_sha256 == HexOf("ek1"));
    CHECK(found->owner_epoch == first->owner_epoch);
  }
  SECTION("A21: an EK has one id") {
    const auto second = Enroll(Id(2), "ek1");
    CHECK_THAT(StatusOf(second), StatusIs(kAlreadyExists, kTaken));
    // Words that name no other tenant's object.
    CHECK(second.status().message().find(Id(1).ToString()) ==
          absl::string_view::npos);
    CHECK_THAT(StatusOf(store().FindAgent(Id(2))), StatusIs(kNotFound));
  }
  SECTION("A21: an EK with another certificate is the same EK") {
    Enrollment again = EnrollmentOf("another certificate");
    again.ek_name = EnrollmentOf("ek1").ek_name;
    Pass(absl::Seconds(1));
    CHECK_THAT(
        StatusOf(store().Enroll(Id(2), again, AsBytes("n"), now_, "", 100)),
        StatusIs(kAlreadyExists, kTaken));
  }
  SECTION("A31: a new AK keeps all else, and ends the old stream") {
    Enrollment renewed = EnrollmentOf("ek1");
    renewed.ak_name = {0, 11, 7};
    const auto second =
        store().Enroll(Id(1), renewed, AsBytes("n2"), now_, "", 100);
    REQUIRE_THAT(StatusOf(second), IsOk());
    CHECK(second->owner_epoch > first->owner_epoch);
    CHECK(second->enrollment->ak_name == std::vector<uint8_t>{0, 11, 7});
  }
  SECTION("no EK, no nonce") {
    Enrollment without = EnrollmentOf("ek9");
    CHECK_THAT(StatusOf(store().Enroll(Id(9), without, {}, now_, "", 100)),
               StatusIs(kInvalidArgument, "nonce"));
    without.ek_sha256.clear();
    CHECK_THAT(
        StatusOf(store().Enroll(Id(9), without, AsBytes("n9"), now_, "", 100)),
        StatusIs(kInvalidArgument, "EK"));
  }
}

TEST_CASE_METHOD(Fixture, "A22: a nonce is consumed with the binding",
                 "[contract][enroll]") {
  const Enrollment enrollment = EnrollmentOf("ek1");
  REQUIRE_THAT(
      StatusOf(store().Enroll(Id(1), enrollment, AsBytes("n"), now_, "", 100)),
      IsOk());
  CHECK_THAT(
      StatusOf(store().Enroll(Id(1), enrollment, AsBytes("n"), now_, "", 100)),
      StatusIs(kAlreadyExists, "used"));
  // An enrolment that is refused consumes nothing.
  CHECK_THAT(
      StatusOf(store().Enroll(Id(2), enrollment, AsBytes("m"), now_, "", 100)),
      StatusIs(kAlreadyExists));
  CHECK_THAT(
      StatusOf(store().Enroll(Id(1), enrollment, AsBytes("m"), now_, "", 100)),
      IsOk());

  Pass(absl::Hours(1));
  REQUIRE_THAT(store().Expire(now_ - absl::Minutes(1)), IsOk());
  CHECK_THAT(StatusOf(store().FindAgent(Id(1))), StatusIs(kNotFound));
  // The nonce is forgotten, and yet of no use.
  CHECK_THAT(StatusOf(store().Enroll(Id(1), enrollment, AsBytes("n"),
                                     now_ - absl::Hours(1), "", 100)),
             StatusIs(kFailedPrecondition, "too old"));
  CHECK_THAT(
      StatusOf(store().Enroll(Id(1), enrollment, AsBytes("o"), now_, "", 100)),
      IsOk());
}

TEST_CASE_METHOD(Fixture, "A22: a cookie from before the delete is refused",
                 "[contract][enroll]") {
  const AgentRecord agent = MakePending();
  const absl::Time issued = now_;
  REQUIRE_THAT(store().DeleteAgent("acme", agent.id, "ann"), IsOk());
  const Enrollment enrollment = EnrollmentOf("ek1");
  CHECK_THAT(StatusOf(store().Enroll(agent.id, enrollment, AsBytes("x"), issued,
                                     "", 100)),
             StatusIs(kFailedPrecondition, "too old"));
  Pass(absl::Nanoseconds(1));
  CHECK_THAT(StatusOf(store().Enroll(agent.id, enrollment, AsBytes("x"), now_,
                                     "", 100)),
             IsOk());
}

TEST_CASE_METHOD(Fixture, "A15: an address has few unclaimed enrolments",
                 "[contract][enroll]") {
  const auto enroll = [&](int number, absl::string_view address) {
    Enrollment enrollment = EnrollmentOf(absl::StrCat("ek", number));
    enrollment.address = std::string(address);
    const std::string nonce = absl::StrCat("n", ++nonce_);
    return StatusOf(
        store().Enroll(Id(number), enrollment, AsBytes(nonce), now_, "", 2));
  };
  CHECK_THAT(enroll(1, "a"), IsOk());
  CHECK_THAT(enroll(2, "a"), IsOk());
  CHECK_THAT(enroll(3, "a"), StatusIs(kResourceExhausted));
  CHECK_THAT(enroll(3, "b"), IsOk());
  CHECK_THAT(enroll(2, "a"), IsOk());  // itself doesn't count
  CHECK_THAT(enroll(3, "a"), StatusIs(kResourceExhausted));
  // One that was added counts no more.
  REQUIRE_THAT(StatusOf(store().AddAgent("acme", Id(1), {}, "", "ann")),
               IsOk());
  CHECK_THAT(enroll(4, "a"), IsOk());
  CHECK(store().ListUnclaimed()->size() == 3);
}

TEST_CASE_METHOD(Fixture, "a token puts one agent into its tenant",
                 "[contract][enroll]") {
  REQUIRE_THAT(store().AddEnrollmentToken("acme", HexOf("secret"),
                                          now_ + absl::Minutes(5)),
               IsOk());
  CHECK_THAT(
      store().AddEnrollmentToken("acme", "secret", now_ + absl::Minutes(5)),
      StatusIs(kInvalidArgument));
  CHECK_THAT(StatusOf(Enroll(Id(1), "ek1", "wrong")),
             StatusIs(kPermissionDenied));
  SECTION("once") {
    const auto agent = Enroll(Id(1), "ek1", "secret");
    REQUIRE_THAT(StatusOf(agent), IsOk());
    CHECK(agent->tenant == "acme");
    CHECK(agent->state == AgentState::kEnrolled);
    CHECK(store().ListUnclaimed()->empty());
    CHECK_THAT(StatusOf(Enroll(Id(2), "ek2", "secret")),
               StatusIs(kPermissionDenied));
    // The agent itself may go on sending it.
    CHECK_THAT(StatusOf(Enroll(Id(1), "ek1", "secret")), IsOk());
    CHECK_THAT(StatusOf(store().AddAgent("other", Id(1), {}, "", "eve")),
               StatusIs(kAlreadyExists));
    const auto added = store().AddAgent("acme", Id(1), {}, "", "ann");
    REQUIRE_THAT(StatusOf(added), IsOk());
    CHECK(added->state == AgentState::kPending);
  }
  SECTION("until it expires") {
    Pass(absl::Minutes(6));
    CHECK_THAT(StatusOf(Enroll(Id(1), "ek1", "secret")),
               StatusIs(kPermissionDenied));
  }
}

TEST_CASE_METHOD(Fixture, "an enrolled agent is added",
                 "[contract][operator]") {
  REQUIRE_THAT(StatusOf(Enroll(Id(1), "ek1")), IsOk());
  SECTION("with policies that there are") {
    CHECK_THAT(StatusOf(store().AddAgent("acme", Id(1), Settings(), "", "ann")),
               StatusIs(kNotFound, "base"));
    CHECK(store().ListUnclaimed()->size() == 1);
    PutPolicies("other");
    CHECK_THAT(StatusOf(store().AddAgent("acme", Id(1), Settings(), "", "ann")),
               StatusIs(kNotFound, "base"));
    PutPolicies();
    const auto agent =
        store().AddAgent("acme", Id(1), Settings(), HexOf("ek1"), "ann");
    REQUIRE_THAT(StatusOf(agent), IsOk());
    CHECK(agent->state == AgentState::kPending);
    CHECK(agent->tenant == "acme");
    CHECK(agent->settings == Settings());
    CHECK(agent->wanted_ek_sha256 == HexOf("ek1"));
    CHECK_THAT(StatusOf(store().AddAgent("acme", Id(1), {}, "", "ann")),
               StatusIs(kAlreadyExists));
    CHECK_THAT(StatusOf(store().AddAgent("other", Id(1), {}, "", "eve")),
               StatusIs(kAlreadyExists));
  }
  SECTION("A21: not with another EK than it has, which is forgotten") {
    const auto agent = store().AddAgent("acme", Id(1), {}, HexOf("ek2"), "ann");
    REQUIRE_THAT(StatusOf(agent), IsOk());
    CHECK(agent->state == AgentState::kExpected);
    CHECK_FALSE(agent->enrollment.has_value());
    CHECK(agent->owner_epoch > 0);
    CHECK_THAT(StatusOf(store().FindAgent(Id(1))), StatusIs(kNotFound));
    CHECK_THAT(StatusOf(Enroll(Id(1), "ek1")),
               StatusIs(kAlreadyExists, kTaken));
    const auto enrolled = Enroll(Id(1), "ek2");
    REQUIRE_THAT(StatusOf(enrolled), IsOk());
    CHECK(enrolled->state == AgentState::kPending);
    // The machine that was there first may have another id.
    CHECK_THAT(StatusOf(Enroll(Id(2), "ek1")), IsOk());
  }
  SECTION("a fingerprint has its one form") {
    CHECK_THAT(StatusOf(store().AddAgent("acme", Id(1), {}, "AB", "ann")),
               StatusIs(kInvalidArgument, "64"));
  }
}

TEST_CASE_METHOD(Fixture, "A21: a token takes an id that nobody has claimed",
                 "[contract][enroll]") {
  REQUIRE_THAT(store().AddEnrollmentToken("acme", HexOf("secret"),
                                          now_ + absl::Minutes(5)),
               IsOk());
  REQUIRE_THAT(StatusOf(Enroll(Id(1), "ek1")), IsOk());
  CHECK_THAT(StatusOf(Enroll(Id(1), "ek2")), StatusIs(kAlreadyExists, kTaken));
  const auto agent = Enroll(Id(1), "ek2", "secret");
  REQUIRE_THAT(StatusOf(agent), IsOk());
  CHECK(agent->tenant == "acme");
  CHECK(agent->enrollment->ek_sha256 == HexOf("ek2"));
  // Once a tenant has it, it stays.
  REQUIRE_THAT(store().AddEnrollmentToken("other", HexOf("second"),
                                          now_ + absl::Minutes(5)),
               IsOk());
  CHECK_THAT(StatusOf(Enroll(Id(1), "ek3", "second")),
             StatusIs(kAlreadyExists, kTaken));
}

TEST_CASE_METHOD(Fixture, "A21: an unclaimed enrolment gets no younger",
                 "[contract][enroll]") {
  REQUIRE_THAT(StatusOf(Enroll(Id(1), "ek1")), IsOk());
  const absl::Time first = now_;
  Pass(absl::Hours(1));
  REQUIRE_THAT(StatusOf(Enroll(Id(1), "ek1")), IsOk());
  CHECK(store().FindAgent(Id(1))->enrollment->time == first);
  REQUIRE_THAT(store().Expire(first + absl::Minutes(1)), IsOk());
  CHECK_THAT(StatusOf(store().FindAgent(Id(1))), StatusIs(kNotFound));
}

TEST_CASE_METHOD(Fixture, "a tenant vouches for EKs", "[contract][operator]") {
  const std::vector<std::string> eks = {HexOf("ek1"), HexOf("ek3")};
  REQUIRE_THAT(store().AllowEks("acme", eks, "ann"), IsOk());
  REQUIRE_THAT(store().AllowEks("acme", eks, "bob"), IsOk());
  REQUIRE_THAT(store().AllowEks("other", std::vector{HexOf("ek2")}, "eve"),
               IsOk());
  CHECK_THAT(store().AllowEks("acme", std::vector<std::string>{"AB"}, "ann"),
             StatusIs(kInvalidArgument, "64"));
  const auto list = store().ListAllowedEks("acme", "", 10);
  REQUIRE_THAT(StatusOf(list), IsOk());
  REQUIRE(list->size() == 2);
  CHECK((*list)[0].who == "ann");
  CHECK((*list)[0].time == now_);
  CHECK(store().ListAllowedEks("acme", (*list)[0].ek_sha256, 10)->size() == 1);
  CHECK(store().ListAllowedEks("acme", "", 1)->size() == 1);

  SECTION("an enrolled agent is added by it") {
    REQUIRE_THAT(StatusOf(Enroll(Id(1), "ek1")), IsOk());
    const auto agent = store().AddVouchedAgent("acme", Id(1), {}, "ann");
    REQUIRE_THAT(StatusOf(agent), IsOk());
    CHECK(agent->state == AgentState::kPending);
    CHECK(agent->wanted_ek_sha256 == HexOf("ek1"));
  }
  SECTION("by another tenant's list it is not") {
    REQUIRE_THAT(StatusOf(Enroll(Id(2), "ek2")), IsOk());
    CHECK_THAT(StatusOf(store().AddVouchedAgent("acme", Id(2), {}, "ann")),
               StatusIs(kFailedPrecondition, "vouches"));
    CHECK(store().ListUnclaimed()->size() == 1);
  }
  SECTION("nor by what was taken off it") {
    REQUIRE_THAT(store().DisallowEks("acme", std::vector{HexOf("ek1")}, "ann"),
                 IsOk());
    REQUIRE_THAT(StatusOf(Enroll(Id(1), "ek1")), IsOk());
    CHECK_THAT(StatusOf(store().AddVouchedAgent("acme", Id(1), {}, "ann")),
               StatusIs(kFailedPrecondition, "vouches"));
  }
  SECTION("a token of the tenant's is as good") {
    REQUIRE_THAT(store().AddEnrollmentToken("acme", HexOf("secret"),
                                            now_ + absl::Minutes(5)),
                 IsOk());
    REQUIRE_THAT(StatusOf(Enroll(Id(9), "ek9", "secret")), IsOk());
    const auto agent = store().AddVouchedAgent("acme", Id(9), {}, "ann");
    REQUIRE_THAT(StatusOf(agent), IsOk());
    CHECK(agent->state == AgentState::kPending);
  }
  SECTION("one that is expected takes such an EK alone") {
    const auto agent = store().AddVouchedAgent("acme", Id(1), {}, "ann");
    REQUIRE_THAT(StatusOf(agent), IsOk());
    CHECK(agent->state == AgentState::kExpected);
    CHECK(agent->ek_vouched);
    CHECK_THAT(StatusOf(Enroll(Id(1), "ek2")),
               StatusIs(kAlreadyExists, kTaken));
    const auto enrolled = Enroll(Id(1), "ek3");
    REQUIRE_THAT(StatusOf(enrolled), IsOk());
    CHECK(enrolled->state == AgentState::kPending);
    CHECK_FALSE(enrolled->ek_vouched);
    CHECK_THAT(StatusOf(Enroll(Id(1), "ek1")),
               StatusIs(kAlreadyExists, kTaken));
  }
  SECTION("or one that comes with a token of the tenant's") {
    for (const char* const tenant : {"acme", "other"}) {
      REQUIRE_THAT(store().AddEnrollmentToken(tenant, HexOf(tenant),
                                              now_ + absl::Minutes(5)),
                   IsOk());
    }
    REQUIRE_THAT(StatusOf(store().AddVouchedAgent("acme", Id(1), {}, "ann")),
                 IsOk());
    CHECK_THAT(StatusOf(Enroll(Id(1), "ek2", "other")),
               StatusIs(kAlreadyExists, kTaken));
    CHECK_THAT(StatusOf(Enroll(Id(1), "ek2", "acme")), IsOk());
    // It is used up.
    CHECK_THAT(StatusOf(Enroll(Id(2), "ek4", "acme")),
               StatusIs(kPermissionDenied));
  }
}

TEST_CASE_METHOD(Fixture, "an expected agent takes its own EK alone",
                 "[contract][operator]") {
  const auto expected =
      store().AddAgent("acme", Id(1), {}, HexOf("ek1"), "ann");
  REQUIRE_THAT(StatusOf(expected), IsOk());
  CHECK(expected->state == AgentState::kExpected);
  CHECK_FALSE(expected->enrollment.has_value());
  CHECK_THAT(StatusOf(store().FindAgent(Id(1))), StatusIs(kNotFound));
  CHECK_THAT(StatusOf(store().ClaimAgent(Id(1), "node")), StatusIs(kNotFound));
  CHECK_THAT(StatusOf(Enroll(Id(1), "ek2")), StatusIs(kAlreadyExists, kTaken));
  const auto enrolled = Enroll(Id(1), "ek1");
  REQUIRE_THAT(StatusOf(enrolled), IsOk());
  CHECK(enrolled->state == AgentState::kPending);
  CHECK(enrolled->tenant == "acme");
}

TEST_CASE_METHOD(Fixture, "A31: FAILED outlives all but an operator",
                 "[contract][verdict]") {
  AgentRecord agent = MakePending();
  agent = Record(agent, AgentState::kFailed);
  CHECK(agent.findings.size() == 1);
  CHECK(agent.findings[0].id == "ima.digest_mismatch");
  for (const AgentState state :
       {AgentState::kTrusted, AgentState::kPending, AgentState::kFailed}) {
    CHECK_THAT(StatusOf(store().RecordVerdict(VerdictFor(agent, state))),
               StatusIs(kAborted, "FAILED"));
  }
  CHECK_THAT(StatusOf(Enroll(Id(1), "ek1")), IsOk());
  CHECK_THAT(StatusOf(store().ClaimAgent(Id(1), "node")), IsOk());
  CHECK_THAT(Update("acme", Id(1), Settings()), IsOk());
  CHECK_THAT(StatusOf(Put("acme", "base", "{ }", false)), IsOk());
  CHECK_THAT(store().RecordSeen(Id(1), now_), IsOk());
  Pass(absl::Hours(1000));
  CHECK_THAT(store().Expire(now_), IsOk());
  agent = Get();
  CHECK(agent.state == AgentState::kFailed);
  CHECK(agent.findings.size() == 1);

  // It fails again: on record, and no change of state.
  VerdictWrite again = VerdictFor(agent, std::nullopt);
  again.findings = std::vector{
      MakeFinding("ima.not_in_policy", Severity::kFailure, "worse")};
  const uint64_t events = EventCount();
  REQUIRE_THAT(StatusOf(store().RecordVerdict(again)), IsOk());
  REQUIRE_THAT(StatusOf(store().RecordVerdict(again)), IsOk());
  CHECK(EventCount() == events + 1);
  agent = Get();
  CHECK(agent.state == AgentState::kFailed);
  CHECK(agent.findings[0].id == "ima.not_in_policy");
}

TEST_CASE_METHOD(Fixture,
                 "reactivation has all judged again, and keeps history",
                 "[contract][operator]") {
  AgentRecord agent = MakePending();
  CHECK_THAT(store().Reactivate("acme", Id(1), {}, "ann"),
             StatusIs(kFailedPrecondition, "PENDING"));
  agent = Record(agent, AgentState::kFailed);
  AcceptedFinding accepted;
  accepted.id = "ima.digest_mismatch";
  accepted.path = "/usr/bin/\xff";
  accepted.found = "sha256:00";
  accepted.reset_count = 3;
  accepted.why = "known";
  const bool reset_counters = GENERATE(true, false);
  REQUIRE_THAT(store().Reactivate("acme", Id(1),
                                  {.accepted = {accepted},
                                   .reset_counters = reset_counters,
                                   .boot_composite = "beef",
                                   .why = "it is known"},
                                  "ann"),
               IsOk());
  const AgentRecord after = Get();
  CHECK(after.state == AgentState::kPending);
  CHECK(after.state_reason == "reactivated by ann: it is known");
  CHECK(after.policy_epoch > agent.policy_epoch);
  CHECK(after.progress.key.empty());
  CHECK(after.clock_info.has_value() == !reset_counters);
  // What the machine's list and boot are held against.
  CHECK(after.progress.entry_count == (reset_counters ? 0 : 12));
  CHECK(after.progress.clock_info.has_value() == !reset_counters);
  CHECK(after.attestation_count == agent.attestation_count);
  CHECK(after.findings.size() == 1);
  CHECK(after.pinned_boot_composite == "beef");
  REQUIRE(after.accepted.size() == 1);
  CHECK(after.accepted[0].path == "/usr/bin/\xff");
  CHECK(after.accepted[0].who == "ann");
  CHECK(after.accepted[0].time == now_);
  // What was begun before is not recorded.
  CHECK_THAT(
      StatusOf(store().RecordVerdict(VerdictFor(agent, AgentState::kTrusted))),
      StatusIs(kAborted));
}

TEST_CASE_METHOD(Fixture, "a PENDING agent's boot is approved",
                 "[contract][operator]") {
  AgentRecord agent = MakePending();
  VerdictWrite write = VerdictFor(agent, std::nullopt);
  write.reason = "boot.rule_missing";
  REQUIRE_THAT(StatusOf(store().RecordVerdict(write)), IsOk());
  CHECK_THAT(store().Reactivate("acme", Id(1), {.why = "to see"}, "ann"),
             StatusIs(kFailedPrecondition, "PENDING"));
  CHECK_THAT(
      store().Reactivate(
          "acme", Id(1),
          {.accepted = {AcceptedFinding()}, .boot_composite = "beef"}, "ann"),
      StatusIs(kFailedPrecondition, "PENDING"));
  REQUIRE_THAT(
      store().Reactivate("acme", Id(1), {.boot_composite = "beef"}, "ann"),
      IsOk());
  CHECK(Get().state == AgentState::kPending);
  CHECK(Get().state_reason == "boot approved by ann");
  CHECK(Get().pinned_boot_composite == "beef");
  CHECK(Get().progress.entry_count == 12);  // its key tells what it is worth
  // What was begun before is not recorded.
  CHECK(Get().policy_epoch > agent.policy_epoch);
  Record(Get(), AgentState::kTrusted);
  CHECK_THAT(
      store().Reactivate("acme", Id(1), {.boot_composite = "cafe"}, "ann"),
      StatusIs(kFailedPrecondition, "TRUSTED"));
}

TEST_CASE_METHOD(Fixture, "why nothing could be decided is on record",
                 "[contract][verdict]") {
  const AgentRecord agent = MakePending();
  VerdictWrite write = VerdictFor(agent, std::nullopt);
  write.reason = "boot.rule_missing";
  const uint64_t events = EventCount();
  REQUIRE_THAT(StatusOf(store().RecordVerdict(write)), IsOk());
  CHECK(Get().state == AgentState::kPending);
  CHECK(Get().state_reason == "boot.rule_missing");
  CHECK(Get().clock_info == write.clock_info);
  // It is no attestation, and nothing has happened.
  CHECK(Get().attestation_count == 0);
  CHECK_FALSE(Get().last_attested.has_value());
  CHECK(EventCount() == events);
  // FAILED keeps why it failed.
  Record(agent, AgentState::kFailed);
  CHECK(Get().attestation_count == 1);
  REQUIRE_THAT(StatusOf(store().RecordVerdict(write)), IsOk());
  CHECK(Get().state_reason == "reason");
}

TEST_CASE_METHOD(Fixture, "findings end with TRUSTED", "[contract][verdict]") {
  AgentRecord agent = Record(MakePending(), AgentState::kFailed);
  REQUIRE(agent.findings.size() == 1);
  REQUIRE_THAT(store().Reactivate("acme", Id(1), {}, "ann"), IsOk());
  agent = Record(Get(), AgentState::kTrusted);
  CHECK(agent.findings.empty());
  CHECK(Get().findings.empty());
  const uint64_t events = EventCount();
  Record(agent, AgentState::kPending);
  CHECK(store().EventsAfter("acme", events, 1)->front().findings.empty());
}

TEST_CASE_METHOD(Fixture, "A15: a record and an event hold so many findings",
                 "[contract][verdict]") {
  const AgentRecord agent = MakePending();
  VerdictWrite write = VerdictFor(agent, AgentState::kFailed);
  Finding finding =
      MakeFinding("ima.not_in_policy", Severity::kFailure, "a file");
  finding.path = std::string(8000, 'x');
  write.findings->assign(5000, finding);
  REQUIRE_THAT(StatusOf(store().RecordVerdict(write)), IsOk());
  CHECK(Get().findings.size() > 10);
  CHECK(Get().findings.size() < 100);
  const auto events = store().EventsAfter("acme", EventCount() - 1, 1);
  REQUIRE_THAT(StatusOf(events), IsOk());
  CHECK(events->front().findings.size() == 2);
  // The same again is no news.
  write.state.reset();
  const uint64_t count = EventCount();
  REQUIRE_THAT(StatusOf(store().RecordVerdict(write)), IsOk());
  CHECK(EventCount() == count);
}

TEST_CASE_METHOD(Fixture, "STOPPED is left by an operator alone",
                 "[contract][operator]") {
  AgentRecord agent = MakePending();
  REQUIRE_THAT(store().StopAgent("acme", Id(1), "ann"), IsOk());
  CHECK_THAT(
      StatusOf(store().RecordVerdict(VerdictFor(agent, AgentState::kTrusted))),
      StatusIs(kAborted));
  agent = Get();
  CHECK(agent.state == AgentState::kStopped);
  CHECK_THAT(
      StatusOf(store().RecordVerdict(VerdictFor(agent, AgentState::kTrusted))),
      StatusIs(kAborted, "STOPPED"));
  const uint64_t events = EventCount();
  CHECK_THAT(store().StopAgent("acme", Id(1), "ann"), IsOk());
  CHECK(EventCount() == events);
  REQUIRE_THAT(store().Reactivate("acme", Id(1), {}, "ann"), IsOk());
  CHECK(Get().state == AgentState::kPending);
}

TEST_CASE_METHOD(Fixture, "a verdict and its progress are one",
                 "[contract][verdict]") {
  const AgentRecord agent = MakePending();
  VerdictWrite write = VerdictFor(agent, AgentState::kTrusted);
  const auto recorded = store().RecordVerdict(write);
  REQUIRE_THAT(StatusOf(recorded), IsOk());
  const AgentRecord read = Get();
  for (const AgentRecord* record : {&*recorded, &read}) {
    CHECK(record->state == AgentState::kTrusted);
    CHECK(record->state_reason == "reason");
    CHECK(record->valid_until == now_ + absl::Minutes(1));
    CHECK(record->last_attested == now_);
    CHECK(record->attestation_count == 1);
    CHECK(record->counts.entries == 12);
    CHECK(record->boot_composite == "c0ffee");
    CHECK(record->progress.entry_count == 12);
    CHECK(record->progress.byte_offset == 1234);
    CHECK(record->progress.clock_info == write.progress.clock_info);
  }
  CHECK(read.StateAt(now_) == AgentState::kTrusted);
  CHECK(read.StateAt(now_ + absl::Minutes(1)) == AgentState::kPending);

  SECTION("an end is needed") {
    write.valid_until.reset();
    CHECK_THAT(StatusOf(store().RecordVerdict(write)),
               StatusIs(kInvalidArgument, "end"));
  }
  SECTION("no verdict stops or enrols") {
    for (const AgentState state :
         {AgentState::kExpected, AgentState::kEnrolled, AgentState::kStopped}) {
      write.state = state;
      CHECK_THAT(StatusOf(store().RecordVerdict(write)),
                 StatusIs(kInvalidArgument));
    }
  }
  SECTION("progress alone leaves the verdict") {
    write.state.reset();
    write.valid_until = now_ + absl::Hours(100);
    write.progress.entry_count = 20;
    REQUIRE_THAT(StatusOf(store().RecordVerdict(write)), IsOk());
    CHECK(Get().state == AgentState::kTrusted);
    CHECK(Get().valid_until == now_ + absl::Minutes(1));
    CHECK(Get().progress.entry_count == 20);
  }
  SECTION("an agent that isn't there") {
    write.id = Id(7);
    CHECK_THAT(StatusOf(store().RecordVerdict(write)), StatusIs(kNotFound));
  }
  SECTION("an enrolled agent that nobody added gets no verdict") {
    const auto other = Enroll(Id(2), "ek2");
    REQUIRE_THAT(StatusOf(other), IsOk());
    CHECK_THAT(StatusOf(store().RecordVerdict(
                   VerdictFor(*other, AgentState::kTrusted))),
               StatusIs(kAborted, "ENROLLED"));
  }
  SECTION("a reason in any bytes fails as well as another") {
    write = VerdictFor(agent, AgentState::kFailed);
    write.reason = std::string("bad\xff\0", 5);
    write.findings->front().path = std::string("/a\xff\0b", 5);
    REQUIRE_THAT(StatusOf(store().RecordVerdict(write)), IsOk());
    CHECK(Get().state == AgentState::kFailed);
    CHECK(Get().state_reason == "bad\\xff\\x00");
    CHECK(Get().findings[0].path == std::string("/a\xff\0b", 5));
  }
}

TEST_CASE_METHOD(Fixture, "a verdict remembers what it was reached with",
                 "[contract][verdict]") {
  const AgentRecord agent = MakePending();
  CHECK(agent.judged_policies.empty());
  const std::vector<JudgedPolicy> policies = {{"base", HexOf("1")},
                                              {"shared/x", HexOf("2")}};
  const auto record = [&](const std::vector<JudgedPolicy>& with,
                          std::optional<AgentState> state) {
    VerdictWrite write = VerdictFor(agent, state);
    write.policies = with;
    const auto results = store().RecordVerdicts(std::vector{write});
    REQUIRE_THAT(StatusOf(results[0]), IsOk());
    // A session that applies a renewal itself has the same record.
    AgentRecord renewed = Get();
    ApplyRenewal(write, now_, renewed);
    CHECK(renewed.judged_policies == Get().judged_policies);
  };
  record(policies, AgentState::kTrusted);
  CHECK(Get().judged_policies == policies);
  CHECK(store().EventsAfter("acme", 0, 100)->back().policies == policies);
  // One that renews it, and one that no policy has to do with.
  std::vector<JudgedPolicy> others = policies;
  others[0].content_id = HexOf("3");
  record(others, AgentState::kTrusted);
  CHECK(Get().judged_policies == others);
  record({}, AgentState::kFailed);
  CHECK(Get().judged_policies == others);
  CHECK(store().EventsAfter("acme", 0, 100)->back().policies.empty());
  // What an operator does is no verdict.
  REQUIRE_THAT(store().Reactivate("acme", Id(1), {}, "ann"), IsOk());
  CHECK(store().EventsAfter("acme", 0, 100)->back().policies.empty());
  CHECK(Get().judged_policies == others);
}

TEST_CASE_METHOD(Fixture, "agents are counted in the states that are shown",
                 "[contract][verdict]") {
  using Counts = std::map<AgentState, uint64_t>;
  CHECK(*store().CountAgents() == Counts{});
  REQUIRE_THAT(StatusOf(Enroll(Id(1), "of nobody yet")), IsOk());
  MakePending(2);
  Record(MakePending(3), AgentState::kTrusted);
  Record(MakePending(4), AgentState::kFailed);
  CHECK(*store().CountAgents() == Counts{{AgentState::kEnrolled, 1},
                                         {AgentState::kPending, 1},
                                         {AgentState::kTrusted, 1},
                                         {AgentState::kFailed, 1}});
  // Trust that has ended is none, whether anybody has swept it or not.
  Pass(absl::Minutes(1));
  CHECK(*store().CountAgents() == Counts{{AgentState::kEnrolled, 1},
                                         {AgentState::kPending, 2},
                                         {AgentState::kFailed, 1}});
}

TEST_CASE_METHOD(Fixture, "A18, A32: both epochs fence a verdict",
                 "[contract][verdict]") {
  const AgentRecord agent = MakePending();
  SECTION("as they are") {
    Record(agent, AgentState::kTrusted);
    return;
  }
  SECTION("another claim") {
    const auto claimed = store().ClaimAgent(Id(1), "node 2");
    REQUIRE_THAT(StatusOf(claimed), IsOk());
    CHECK(claimed->owner_epoch == agent.owner_epoch + 1);
  }
  SECTION("a new AK") { REQUIRE_THAT(StatusOf(Enroll(Id(1), "ek1")), IsOk()); }
  SECTION("other settings") { REQUIRE_THAT(Update("acme", Id(1), {}), IsOk()); }
  SECTION("another version of a policy") {
    REQUIRE_THAT(StatusOf(Put("acme", "web", "{ }", false)), IsOk());
  }
  const uint64_t events = EventCount();
  for (const std::optional<AgentState> state :
       {std::optional(AgentState::kTrusted), std::optional(AgentState::kFailed),
        std::optional<AgentState>()}) {
    CHECK_THAT(StatusOf(store().RecordVerdict(VerdictFor(agent, state))),
               StatusIs(kAborted));
  }
  CHECK(Get().state == AgentState::kPending);
  CHECK(Get().progress.entry_count == 0);
  CHECK(Get().attestation_count == 0);
  CHECK(EventCount() == events);
}

TEST_CASE_METHOD(Fixture, "A18, A31: a failure that comes late",
                 "[contract][verdict]") {
  constexpr char kNode[] = "node 1";
  const auto claim = [&](absl::string_view owner) {
    const auto claimed = store().ClaimAgent(Id(1), owner);
    REQUIRE_THAT(StatusOf(claimed), IsOk());
    return *claimed;
  };
  MakePending();
  const AgentRecord agent = claim(kNode);
  VerdictWrite late = VerdictFor(agent, AgentState::kFailed);
  std::string tenant = "acme";
  std::vector<uint8_t> ek_name = agent.enrollment->ek_name;
  const AgentRecord next = claim(kNode);
  const uint64_t events = EventCount();
  const auto record = [&] {
    return store().RecordLateFailure(
        late, {.owner = kNode, .tenant = tenant, .ek_name = ek_name});
  };
  const auto last_event = [&] {
    return store().EventsAfter("acme", EventCount() - 1, 1)->front();
  };
  SECTION("after a claim of the same verifier") {
    const int changes = changes_;
    Record(next, AgentState::kTrusted);
    REQUIRE_THAT(StatusOf(record()), IsOk());
    CHECK(changes_ == changes + 2);
    const AgentRecord failed = Get();
    CHECK(failed.state == AgentState::kFailed);
    CHECK(failed.state_reason == "reason");
    CHECK_FALSE(failed.valid_until.has_value());
    REQUIRE(failed.findings.size() == 1);
    CHECK(failed.findings[0].id == "ima.digest_mismatch");
    // All else is what the later stream has made of it.
    CHECK(failed.owner_epoch == next.owner_epoch);
    CHECK(failed.attestation_count == 1);
    CHECK(failed.progress.entry_count == 12);
    CHECK(last_event().previous == AgentState::kTrusted);
    CHECK(last_event().state == AgentState::kFailed);
    CHECK(last_event().findings.size() == 1);
    // And washes it off no more.
    CHECK_THAT(
        StatusOf(store().RecordVerdict(VerdictFor(next, AgentState::kTrusted))),
        StatusIs(kAborted, "FAILED"));
  }
  SECTION("beside what it has failed for since") {
    VerdictWrite other = VerdictFor(next, AgentState::kFailed);
    other.reason = "another reason";
    other.findings->front().path = "/other";
    REQUIRE_THAT(StatusOf(store().RecordVerdict(other)), IsOk());
    const auto recorded = record();
    REQUIRE_THAT(StatusOf(recorded), IsOk());
    CHECK(recorded->previous == AgentState::kFailed);
    CHECK(recorded->record->findings.size() == 2);
    CHECK(Get().findings.size() == 2);
    CHECK(Get().state_reason == "another reason");
    CHECK(EventCount() == events + 2);
  }
  SECTION("after the claim of another verifier") {
    claim("node 2");
    REQUIRE_THAT(StatusOf(record()), IsOk());
    CHECK(Get().state == AgentState::kPending);
    CHECK(Get().findings.empty());
    CHECK(EventCount() == events + 1);
    CHECK(last_event().state == AgentState::kPending);
    CHECK(last_event().findings.size() == 1);
  }
  SECTION("judged by other settings") {
    REQUIRE_THAT(Update("acme", Id(1), {}), IsOk());
    REQUIRE_THAT(StatusOf(record()), IsOk());
    CHECK(Get().state == AgentState::kPending);
    CHECK(Get().findings.empty());
    CHECK(EventCount() == events + 2);
  }
  SECTION("after an operator has stopped it") {
    REQUIRE_THAT(store().StopAgent("acme", Id(1), "ann"), IsOk());
    REQUIRE_THAT(StatusOf(record()), IsOk());
    CHECK(Get().state == AgentState::kStopped);
    CHECK(EventCount() == events + 2);
  }
  SECTION("of another machine") {
    ek_name.back() ^= 1;
    CHECK_THAT(StatusOf(record()), StatusIs(kAborted, "another EK"));
    CHECK(Get().state == AgentState::kPending);
    CHECK(EventCount() == events);
  }
  SECTION("of an agent that is no more") {
    REQUIRE_THAT(store().DeleteAgent("acme", Id(1), "ann"), IsOk());
    CHECK_THAT(StatusOf(record()), StatusIs(kNotFound));
  }
  SECTION("of another tenant's agent [A19]") {
    tenant = "other";
    CHECK_THAT(StatusOf(record()), StatusIs(kAborted, "added anew"));
    CHECK(Get().state == AgentState::kPending);
    CHECK(EventCount() == events);
  }
  SECTION("of an agent that was added anew [A19]") {
    // Its epochs have begun anew as well.
    late.owner_epoch = next.owner_epoch + 1;
    CHECK_THAT(StatusOf(record()), StatusIs(kAborted, "added anew"));
    CHECK(Get().state == AgentState::kPending);
    CHECK(EventCount() == events);
  }
  SECTION("twice, and what is on record already is no news") {
    REQUIRE_THAT(StatusOf(record()), IsOk());
    CHECK(EventCount() == events + 1);
    REQUIRE_THAT(StatusOf(record()), IsOk());
    CHECK(EventCount() == events + 1);
  }
  SECTION("while the present owner writes another one [A31]") {
    VerdictWrite other = VerdictFor(next, AgentState::kFailed);
    other.findings = std::vector<Finding>{
        appraisal::MakeFinding("ima.list_shrank", Severity::kFailure, "")};
    REQUIRE_THAT(StatusOf(store().RecordVerdict(other)), IsOk());
    REQUIRE_THAT(StatusOf(record()), IsOk());
    const size_t both = Get().findings.size();
    CHECK(both == late.findings->size() + 1);
    // As one that read the record before the late one came.
    other.state.reset();
    REQUIRE_THAT(StatusOf(store().RecordVerdict(other)), IsOk());
    CHECK(Get().findings.size() == both);
  }
  SECTION("without a finding") {
    CHECK_THAT(StatusOf(store().RecordLateFailure(
                   VerdictFor(agent, AgentState::kTrusted),
                   {.owner = kNode, .tenant = tenant, .ek_name = ek_name})),
               StatusIs(kInvalidArgument, "findings"));
    CHECK(EventCount() == events);
  }
}

TEST_CASE_METHOD(Fixture, "A18: verdicts that are written together are apart",
                 "[contract][verdict]") {
  std::vector<AgentRecord> agents;
  for (int number = 1; number <= 6; ++number) {
    agents.push_back(MakePending(number));
  }
  for (const size_t i : {size_t{0}, size_t{1}}) {
    agents[i] = Record(agents[i], AgentState::kTrusted);
  }
  const uint64_t events = EventCount();
  const int changes = changes_;
  Pass(absl::Seconds(3));
  REQUIRE_THAT(StatusOf(store().ClaimAgent(Id(5), "node 2")), IsOk());
  std::vector<VerdictWrite> writes = {
      VerdictFor(agents[0], AgentState::kTrusted),  // a renewal
      VerdictFor(agents[1], AgentState::kFailed),
      VerdictFor(agents[2], AgentState::kTrusted),
      VerdictFor(agents[3], std::nullopt),  // progress alone
      VerdictFor(agents[4], AgentState::kTrusted),
      VerdictFor(agents[5], AgentState::kTrusted),
      VerdictFor(agents[5], AgentState::kFailed)};
  writes[5].valid_until.reset();
  writes.push_back(VerdictFor(agents[5], AgentState::kTrusted));
  writes.back().id = Id(77);

  const auto results = store().RecordVerdicts(writes);
  REQUIRE(results.size() == writes.size());
  REQUIRE_THAT(StatusOf(results[0]), IsOk());
  CHECK(results[0]->time == now_);
  CHECK_FALSE(results[0]->record.has_value());
  REQUIRE_THAT(StatusOf(results[1]), IsOk());
  CHECK(results[1]->record->state == AgentState::kFailed);
  REQUIRE_THAT(StatusOf(results[2]), IsOk());
  CHECK(results[2]->record->state == AgentState::kTrusted);
  REQUIRE_THAT(StatusOf(results[3]), IsOk());
  CHECK(results[3]->time == now_);
  CHECK_FALSE(results[3]->record.has_value());
  CHECK_THAT(StatusOf(results[4]), StatusIs(kAborted, "taken it over"));
  CHECK_THAT(StatusOf(results[5]), StatusIs(kInvalidArgument, "end"));
  REQUIRE_THAT(StatusOf(results[6]), IsOk());
  CHECK(results[6]->record->state == AgentState::kFailed);
  CHECK_THAT(StatusOf(results[7]), StatusIs(kNotFound));

  CHECK(Get(1).state == AgentState::kTrusted);
  CHECK(Get(1).valid_until == writes[0].valid_until);
  CHECK(Get(1).attestation_count == 2);
  CHECK(Get(1).last_attested == now_);
  CHECK(Get(2).state == AgentState::kFailed);
  CHECK(Get(2).findings.size() == 1);
  CHECK(Get(3).progress.entry_count == 12);
  CHECK(Get(4).state == AgentState::kPending);
  CHECK(Get(4).progress.entry_count == 12);
  CHECK(Get(5).state == AgentState::kPending);
  CHECK(Get(5).progress.entry_count == 0);
  CHECK(Get(5).attestation_count == 0);
  CHECK(Get(6).state == AgentState::kFailed);
  CHECK(EventCount() == events + 3);
  // A claim and three changes: nobody is told of what only goes on.
  CHECK(changes_ == changes + 4);
  CHECK(store().RecordVerdicts({}).empty());
}

TEST_CASE_METHOD(Fixture, "A18: an agent's verdicts are written in their order",
                 "[contract][verdict]") {
  const AgentRecord first = Record(MakePending(1), AgentState::kTrusted);
  const AgentRecord second = Record(MakePending(2), AgentState::kTrusted);
  // A renewal behind a change waits for it, and then renews nothing.
  const std::vector<VerdictWrite> writes = {
      VerdictFor(first, AgentState::kFailed),
      VerdictFor(first, AgentState::kTrusted),
      VerdictFor(second, AgentState::kTrusted),
      VerdictFor(second, AgentState::kFailed),
  };
  const auto results = store().RecordVerdicts(writes);
  REQUIRE(results.size() == 4);
  CHECK_THAT(StatusOf(results[0]), IsOk());
  CHECK_THAT(StatusOf(results[1]), StatusIs(kAborted, "no verdict changes"));
  CHECK_THAT(StatusOf(results[2]), IsOk());
  CHECK_THAT(StatusOf(results[3]), IsOk());
  CHECK(Get(1).state == AgentState::kFailed);
  CHECK(Get(1).attestation_count == 2);
  CHECK(Get(2).state == AgentState::kFailed);
  CHECK(Get(2).attestation_count == 3);
}

TEST_CASE_METHOD(Fixture,
                 "a record after a renewal is known without reading it",
                 "[contract][verdict]") {
  AgentRecord agent = MakePending();
  const auto check = [&](std::optional<AgentState> state, bool is_renewal) {
    Pass(absl::Seconds(1));
    VerdictWrite write = VerdictFor(agent, state);
    write.reason = absl::StrCat("at ", agent.progress.entry_count);
    write.progress.entry_count = agent.progress.entry_count + 1;
    write.boot_composite = state.has_value() ? "c0ffee" : "";
    auto results = store().RecordVerdicts({&write, 1});
    REQUIRE_THAT(StatusOf(results[0]), IsOk());
    CHECK(results[0]->record.has_value() == !is_renewal);
    if (is_renewal) {
      ApplyRenewal(write, results[0]->time, agent);
    } else {
      agent = *std::move(results[0]->record);
    }
    const AgentRecord read = Get();
    CHECK(agent.state == read.state);
    CHECK(agent.state_reason == read.state_reason);
    CHECK(agent.valid_until == read.valid_until);
    CHECK(agent.last_seen == read.last_seen);
    CHECK(agent.last_attested == read.last_attested);
    CHECK(agent.attestation_count == read.attestation_count);
    CHECK(agent.findings.size() == read.findings.size());
    CHECK(agent.counts.entries == read.counts.entries);
    CHECK(agent.boot_composite == read.boot_composite);
    CHECK(agent.progress.entry_count == read.progress.entry_count);
    CHECK(agent.clock_info.has_value() == read.clock_info.has_value());
    CHECK(agent.owner_epoch == read.owner_epoch);
    CHECK(agent.policy_epoch == read.policy_epoch);
  };
  check(std::nullopt, true);
  check(AgentState::kPending, false);
  check(AgentState::kTrusted, false);
  check(AgentState::kTrusted, true);
  check(std::nullopt, true);
  check(AgentState::kPending, false);
  check(AgentState::kFailed, false);
  check(std::nullopt, true);
}

TEST_CASE_METHOD(Fixture, "what a policy says counts at once",
                 "[contract][policy]") {
  const AgentRecord first = Record(MakePending(1), AgentState::kTrusted);
  const AgentRecord second = Record(MakePending(2), AgentState::kFailed);
  REQUIRE_THAT(StatusOf(Enroll(Id(3), "ek3")), IsOk());
  const auto third = store().AddAgent("acme", Id(3), {}, "", "ann");
  REQUIRE_THAT(StatusOf(third), IsOk());
  const AgentRecord unnamed = Record(*third, AgentState::kTrusted);

  const auto policy = Put("acme", "web", "{\"a\":1}", false);
  REQUIRE_THAT(StatusOf(policy), IsOk());
  CHECK(policy->version == 2);
  CHECK(policy->content_id == HexOf("{\"a\":1}"));
  CHECK(Get(1).state == AgentState::kPending);
  CHECK(Get(1).policy_epoch == first.policy_epoch + 1);
  CHECK_FALSE(Get(1).valid_until.has_value());
  CHECK(Get(2).state == AgentState::kFailed);
  CHECK(Get(2).policy_epoch == second.policy_epoch + 1);
  CHECK(Get(3).state == AgentState::kTrusted);
  CHECK(Get(3).policy_epoch == unnamed.policy_epoch);
  const auto events = store().EventsAfter("acme", 0, 1000);
  REQUIRE_THAT(StatusOf(events), IsOk());
  CHECK(events->back().id == Id(1));
  CHECK(events->back().previous == AgentState::kTrusted);
  CHECK(events->back().state == AgentState::kPending);
}

TEST_CASE_METHOD(Fixture, "policies are kept by name", "[contract][policy]") {
  CHECK_THAT(StatusOf(Put("acme", "p", "1", false)), StatusIs(kNotFound, "p"));
  REQUIRE_THAT(StatusOf(Put("acme", "p", "1", true)), IsOk());
  CHECK_THAT(StatusOf(Put("acme", "p", "2", true)),
             StatusIs(kAlreadyExists, "p"));
  CHECK_THAT(StatusOf(Put("acme", "p", "", false)), StatusIs(kInvalidArgument));
  const auto policy = store().GetPolicy("acme", "p");
  REQUIRE_THAT(StatusOf(policy), IsOk());
  CHECK(AsText(policy->file) == "1");
  CHECK(policy->version == 1);
  CHECK(policy->size == 1);
  CHECK(policy->digest_count == 3);
  CHECK(policy->created == now_);
  const auto list = store().ListPolicies("acme");
  REQUIRE_THAT(StatusOf(list), IsOk());
  REQUIRE(list->size() == 1);
  CHECK(list->front().file.empty());
  CHECK(list->front().size == 1);
  CHECK(list->front().digest_count == 3);
  CHECK_THAT(store().DeletePolicy("acme", "q", "a"), StatusIs(kNotFound));
  CHECK_THAT(store().DeletePolicy("acme", "p", "a"), IsOk());
  CHECK_THAT(StatusOf(store().GetPolicy("acme", "p")), StatusIs(kNotFound));

  MakePending(1);
  MakePending(2);
  CHECK(*store().CountAgentsWithPolicy("acme", "web") == 2);
  CHECK_THAT(store().DeletePolicy("acme", "web", "a"),
             StatusIs(kFailedPrecondition, "2 agents"));
  REQUIRE_THAT(store().DeleteAgent("acme", Id(1), "a"), IsOk());
  REQUIRE_THAT(Update("acme", Id(2), {}), IsOk());
  CHECK_THAT(store().DeletePolicy("acme", "web", "a"), IsOk());
  CHECK_THAT(Update("acme", Id(2), Settings()), StatusIs(kNotFound, "web"));
  CHECK(Get(2).settings == AgentSettings());
}

TEST_CASE_METHOD(Fixture, "an update makes TRUSTED PENDING",
                 "[contract][operator]") {
  const AgentRecord agent = Record(MakePending(), AgentState::kTrusted);
  REQUIRE_THAT(Update("acme", Id(1), {}), IsOk());
  CHECK(Get().state == AgentState::kPending);
  CHECK(Get().policy_epoch == agent.policy_epoch + 1);
  CHECK(Get().settings == AgentSettings());
  CHECK(Get().progress.entry_count == 12);
  REQUIRE_THAT(StatusOf(Enroll(Id(2), "ek2", "")), IsOk());
  CHECK_THAT(Update("acme", Id(2), {}), StatusIs(kNotFound));
}

TEST_CASE_METHOD(Fixture, "tenants don't see each other",
                 "[contract][tenant]") {
  MakePending(1);
  PutPolicies("other");
  const auto is_hidden = [](const absl::Status& status) {
    CHECK_THAT(status, StatusIs(kNotFound));
    CHECK(status.message().find("acme") == absl::string_view::npos);
  };
  is_hidden(StatusOf(store().GetAgent("other", Id(1))));
  is_hidden(Update("other", Id(1), {}));
  is_hidden(store().DeleteAgent("other", Id(1), "eve"));
  is_hidden(store().StopAgent("other", Id(1), "eve"));
  is_hidden(store().Reactivate("other", Id(1), {}, "eve"));
  is_hidden(StatusOf(store().GetPolicy("third", "web")));
  is_hidden(store().DeletePolicy("third", "web", "eve"));
  CHECK(store().ListAgents({"other", {}, {}})->empty());
  CHECK(store().EventsAfter("other", 0, 100)->empty());
  CHECK(store().ListPolicies("third")->empty());
  CHECK(*store().CountAgentsWithPolicy("other", "web") == 0);
  // A policy of the same name is another policy.
  const AgentRecord before = Get();
  REQUIRE_THAT(StatusOf(Put("other", "web", "x", false)), IsOk());
  CHECK(Get().policy_epoch == before.policy_epoch);
  CHECK(AsText(store().GetPolicy("acme", "web")->file) == "{}");
  CHECK_THAT(store().DeletePolicy("other", "web", "eve"), IsOk());
  // No tenant at all is not the tenant of the unclaimed.
  REQUIRE_THAT(StatusOf(Enroll(Id(2), "ek2")), IsOk());
  CHECK_THAT(StatusOf(store().GetAgent("", Id(2))), StatusIs(kInvalidArgument));
  CHECK_THAT(store().DeleteAgent("", Id(2), "eve"), StatusIs(kInvalidArgument));
  CHECK_THAT(StatusOf(store().ListAgents({"", {}, {}})),
             StatusIs(kInvalidArgument));
}

TEST_CASE_METHOD(Fixture, "every tenant reads and names what is shared",
                 "[contract][policy][tenant]") {
  REQUIRE_THAT(StatusOf(Put("shared", "base", "{}", true)), IsOk());
  REQUIRE_THAT(StatusOf(Put("acme", "base", "{ }", true)), IsOk());
  const auto names = [&](absl::string_view tenant) {
    const auto policies = store().ListPolicies(tenant);
    REQUIRE_THAT(StatusOf(policies), IsOk());
    std::vector<std::string> all;
    for (const PolicyRecord& policy : *policies) all.push_back(policy.name);
    return all;
  };
  CHECK(names("acme") == std::vector<std::string>{"base", "shared/base"});
  CHECK(names("other") == std::vector<std::string>{"shared/base"});
  CHECK(names("shared") == std::vector<std::string>{"base"});
  const auto shared = store().GetPolicy("other", "shared/base");
  REQUIRE_THAT(StatusOf(shared), IsOk());
  CHECK(shared->tenant == "shared");
  CHECK(shared->name == "shared/base");
  CHECK(AsText(shared->file) == "{}");
  CHECK(AsText(store().GetPolicy("shared", "shared/base")->file) == "{}");
  CHECK(AsText(store().GetPolicy("acme", "base")->file) == "{ }");
  CHECK_THAT(StatusOf(store().GetPolicy("other", "base")), StatusIs(kNotFound));
  CHECK_THAT(StatusOf(store().GetPolicy("acme", "shared/none")),
             StatusIs(kNotFound, "shared/none"));
  // Nobody else changes any of it.
  for (const char* const tenant : {"acme", "other"}) {
    for (const bool create : {true, false}) {
      CHECK_THAT(StatusOf(Put(tenant, "shared/base", "x", create)),
                 StatusIs(kPermissionDenied, "operators of the tenant shared"));
      CHECK_THAT(StatusOf(Put(tenant, "shared/new", "x", create)),
                 StatusIs(kPermissionDenied));
    }
    CHECK_THAT(store().DeletePolicy(tenant, "shared/base", "eve"),
               StatusIs(kPermissionDenied));
  }
  CHECK_THAT(StatusOf(Put("shared", "shared/base", "x", false)),
             StatusIs(kInvalidArgument, "base"));
  CHECK(AsText(store().GetPolicy("shared", "base")->file) == "{}");
}

TEST_CASE_METHOD(Fixture, "a shared policy counts for the agents that name it",
                 "[contract][policy][tenant]") {
  REQUIRE_THAT(StatusOf(Put("shared", "base", "{}", true)), IsOk());
  AgentSettings settings;
  settings.policies = {"shared/none"};
  CHECK_THAT(
      StatusOf(store().AddAgent("acme", Id(1), settings, HexOf("ek1"), "ann")),
      StatusIs(kNotFound, "shared/none"));
  settings.policies = {"shared/base"};
  int number = 0;
  for (const char* const tenant : {"acme", "other"}) {
    ++number;
    REQUIRE_THAT(StatusOf(Enroll(Id(number), absl::StrCat("ek", number))),
                 IsOk());
    const auto added =
        store().AddAgent(tenant, Id(number), settings, "", "ann");
    REQUIRE_THAT(StatusOf(added), IsOk());
    Record(*added, AgentState::kTrusted);
  }
  CHECK(*store().CountAgentsWithPolicy("acme", "shared/base") == 1);
  CHECK(*store().CountAgentsWithPolicy("third", "shared/base") == 0);
  CHECK(*store().CountAgentsWithPolicy("shared", "base") == 2);
  const uint64_t epoch = Get(1).policy_epoch;

  // An update concerns the agents of all tenants, and each tenant is told of
  // its own.
  REQUIRE_THAT(StatusOf(Put("shared", "base", "{ }", false)), IsOk());
  CHECK(Get(1).policy_epoch == epoch + 1);
  for (const auto& [tenant, id] :
       {std::pair("acme", 1), std::pair("other", 2)}) {
    CHECK(store().GetAgent(tenant, Id(id))->state == AgentState::kPending);
    const auto events = store().EventsAfter(tenant, 0, 100);
    REQUIRE_THAT(StatusOf(events), IsOk());
    CHECK(events->back().id == Id(id));
    CHECK(events->back().tenant == tenant);
    CHECK(events->back().previous == AgentState::kTrusted);
    CHECK(events->back().text.find("policy shared/base changed to version 2") !=
          std::string::npos);
  }
  CHECK(store().EventsAfter("shared", 0, 100)->empty());
  // A tenant's own policy of that name is another one.
  REQUIRE_THAT(StatusOf(Put("acme", "base", "{}", true)), IsOk());
  REQUIRE_THAT(StatusOf(Put("acme", "base", "{ }", false)), IsOk());
  CHECK(Get(1).policy_epoch == epoch + 1);

  CHECK_THAT(store().DeletePolicy("shared", "base", "ann"),
             StatusIs(kFailedPrecondition, "2 agents"));
  REQUIRE_THAT(store().DeleteAgent("acme", Id(1), "ann"), IsOk());
  CHECK_THAT(store().DeletePolicy("shared", "base", "ann"),
             StatusIs(kFailedPrecondition, "1 agent"));
  REQUIRE_THAT(store().DeleteAgent("other", Id(2), "ann"), IsOk());
  CHECK_THAT(store().DeletePolicy("shared", "base", "ann"), IsOk());
  CHECK(store().ListPolicies("other")->empty());
}

TEST_CASE_METHOD(Fixture, "excludes are left out of an agent's own policies",
                 "[contract][policy]") {
  AgentRecord agent = MakePending();
  AgentSettings settings = Settings();
  settings.without_excludes = {"web"};
  REQUIRE_THAT(Update("acme", Id(1), settings), IsOk());
  CHECK(Get().settings.without_excludes == settings.without_excludes);
  CHECK(Get().policy_epoch == agent.policy_epoch + 1);
  // The policy that it is about can't be taken away without it.
  settings.policies = {"base"};
  CHECK_THAT(Update("acme", Id(1), settings),
             StatusIs(kInvalidArgument, "\"web\" is none of"));
  CHECK(Get().settings.policies.size() == 2);
  CHECK_THAT(
      StatusOf(store().AddAgent("acme", Id(2), settings, HexOf("2"), "ann")),
      StatusIs(kInvalidArgument, "without_excludes"));
}

struct QuotaFixture : Fixture {
  QuotaFixture()
      : Fixture({.max_policies = 2,
                 .max_policy_bytes = 10,
                 .max_agents = 2,
                 .max_enrollment_tokens = 2,
                 .max_allowed_eks = 2}) {}

  // A new agent, pinned to an EK that nobody has seen yet.
  absl::StatusOr<AgentRecord> Add(absl::string_view tenant, int number) {
    return store().AddAgent(tenant, Id(number), {},
                            HexOf(absl::StrCat("ek", number)), "ann");
  }
};

TEST_CASE_METHOD(QuotaFixture, "A40: a tenant has so many policies",
                 "[contract][policy]") {
  REQUIRE_THAT(StatusOf(Put("acme", "one", "1", true)), IsOk());
  REQUIRE_THAT(StatusOf(Put("acme", "two", "2", true)), IsOk());
  CHECK_THAT(StatusOf(Put("acme", "three", "3", true)),
             StatusIs(kResourceExhausted, "max_policies_per_tenant"));
  CHECK_THAT(StatusOf(store().GetPolicy("acme", "three")), StatusIs(kNotFound));
  // Nobody else is hindered, and no update is.
  CHECK_THAT(StatusOf(Put("other", "three", "3", true)), IsOk());
  CHECK_THAT(StatusOf(Put("acme", "two", "22", false)), IsOk());
  REQUIRE_THAT(store().DeletePolicy("acme", "one", "ann"), IsOk());
  CHECK_THAT(StatusOf(Put("acme", "three", "3", true)), IsOk());
}

TEST_CASE_METHOD(QuotaFixture, "A40: a tenant's policies have so many bytes",
                 "[contract][policy]") {
  REQUIRE_THAT(StatusOf(Put("acme", "one", "123456", true)), IsOk());
  CHECK_THAT(StatusOf(Put("acme", "two", "12345", true)),
             StatusIs(kResourceExhausted, "max_policy_bytes_per_tenant"));
  CHECK_THAT(StatusOf(store().GetPolicy("acme", "two")), StatusIs(kNotFound));
  REQUIRE_THAT(StatusOf(Put("acme", "two", "1234", true)), IsOk());
  // An update counts in the place of what was there.
  CHECK_THAT(StatusOf(Put("acme", "two", "12345", false)),
             StatusIs(kResourceExhausted, "max_policy_bytes_per_tenant"));
  CHECK(store().GetPolicy("acme", "two")->version == 1);
  CHECK_THAT(StatusOf(Put("acme", "two", "4321", false)), IsOk());
  CHECK_THAT(StatusOf(Put("acme", "one", "1", false)), IsOk());
  CHECK_THAT(StatusOf(Put("acme", "two", "123456789", false)), IsOk());
  CHECK_THAT(StatusOf(Put("other", "one", "1234567890", true)), IsOk());
  CHECK_THAT(StatusOf(Put("third", "one", "12345678901", true)),
             StatusIs(kResourceExhausted, "max_policy_bytes_per_tenant"));
}

TEST_CASE_METHOD(QuotaFixture, "A40: a tenant has so many agents",
                 "[contract][operator]") {
  REQUIRE_THAT(StatusOf(Add("acme", 1)), IsOk());
  SECTION("that operators add") {
    REQUIRE_THAT(StatusOf(Add("acme", 2)), IsOk());
    const uint64_t events = EventCount();
    CHECK_THAT(StatusOf(Add("acme", 3)),
               StatusIs(kResourceExhausted, "max_agents_per_tenant"));
    CHECK_THAT(StatusOf(store().AddVouchedAgent("acme", Id(3), {}, "ann")),
               StatusIs(kResourceExhausted, "max_agents_per_tenant"));
    CHECK_THAT(StatusOf(store().GetAgent("acme", Id(3))), StatusIs(kNotFound));
    CHECK(EventCount() == events);
  }
  SECTION("that tokens bring") {
    for (const char* const token : {"first", "second"}) {
      REQUIRE_THAT(store().AddEnrollmentToken("acme", HexOf(token),
                                              absl::InfiniteFuture()),
                   IsOk());
    }
    REQUIRE_THAT(StatusOf(Enroll(Id(2), "ek2", "first")), IsOk());
    CHECK_THAT(StatusOf(Enroll(Id(3), "ek3", "second")),
               StatusIs(kResourceExhausted, "max_agents_per_tenant"));
    CHECK_THAT(StatusOf(store().FindAgent(Id(3))), StatusIs(kNotFound));
    // It has its place already.
    CHECK_THAT(StatusOf(store().AddAgent("acme", Id(2), {}, "", "ann")),
               IsOk());
    REQUIRE_THAT(store().DeleteAgent("acme", Id(1), "ann"), IsOk());
    // The token that was refused is as good as it was.
    CHECK_THAT(StatusOf(Enroll(Id(3), "ek3", "second")), IsOk());
  }
  // One that enrols again takes no place, nor does one that nobody has added.
  CHECK_THAT(StatusOf(Enroll(Id(9), "ek9")), IsOk());
  CHECK_THAT(StatusOf(Add("other", 4)), IsOk());
}

TEST_CASE_METHOD(QuotaFixture, "A40: a tenant has so many enrolment tokens",
                 "[contract][enroll]") {
  const auto add = [&](absl::string_view tenant, absl::string_view token) {
    return store().AddEnrollmentToken(tenant, HexOf(token),
                                      now_ + absl::Hours(1));
  };
  REQUIRE_THAT(add("acme", "first"), IsOk());
  REQUIRE_THAT(add("acme", "second"), IsOk());
  CHECK_THAT(add("acme", "third"),
             StatusIs(kResourceExhausted, "max_enrollment_tokens_per_tenant"));
  CHECK_THAT(add("other", "third"), IsOk());
  SECTION("one that was used makes room") {
    REQUIRE_THAT(StatusOf(Enroll(Id(1), "ek1", "first")), IsOk());
    CHECK_THAT(add("acme", "fourth"), IsOk());
  }
  SECTION("those that have expired do, swept or not") {
    Pass(absl::Hours(1));
    CHECK_THAT(add("acme", "fourth"), IsOk());
  }
  SECTION("the one that was refused is none") {
    REQUIRE_THAT(StatusOf(Enroll(Id(1), "ek1", "third")), IsOk());
    CHECK(store().FindAgent(Id(1))->tenant == "other");
  }
}

TEST_CASE_METHOD(QuotaFixture, "A40: a tenant has so many allowed EKs",
                 "[contract][operator]") {
  using Eks = std::vector<std::string>;
  const auto allow = [&](absl::string_view tenant, const Eks& eks) {
    return store().AllowEks(tenant, eks, "ann");
  };
  const auto count = [&] {
    return store().ListAllowedEks("acme", "", 10)->size();
  };
  REQUIRE_THAT(allow("acme", {HexOf("1")}), IsOk());
  CHECK_THAT(allow("acme", {HexOf("2"), HexOf("3")}),
             StatusIs(kResourceExhausted, "max_allowed_eks_per_tenant"));
  CHECK(count() == 1);
  REQUIRE_THAT(allow("acme", {HexOf("2")}), IsOk());
  // Those that are there already take no place.
  CHECK_THAT(allow("acme", {HexOf("1"), HexOf("2")}), IsOk());
  CHECK_THAT(allow("acme", {HexOf("1"), HexOf("3")}),
             StatusIs(kResourceExhausted, "max_allowed_eks_per_tenant"));
  CHECK(count() == 2);
  CHECK_THAT(allow("other", {HexOf("1"), HexOf("3")}), IsOk());
  const Eks one = {HexOf("1")};
  REQUIRE_THAT(store().DisallowEks("acme", one, "ann"), IsOk());
  CHECK_THAT(allow("acme", {HexOf("3")}), IsOk());
  CHECK(count() == 2);
}

TEST_CASE_METHOD(Fixture, "a policy's content is known without its file",
                 "[contract][policy]") {
  PutPolicies();
  REQUIRE_THAT(StatusOf(Put("shared", "all", "{ }", true)), IsOk());
  const auto check = [&](const char* tenant, const char* name) {
    const auto content_id = store().PolicyContentId(tenant, name);
    REQUIRE_THAT(StatusOf(content_id), IsOk());
    CHECK(*content_id == store().GetPolicy(tenant, name)->content_id);
    return *content_id;
  };
  const std::string before = check("acme", "base");
  CHECK(before == HexOf("{}"));
  REQUIRE_THAT(StatusOf(Put("acme", "base", "{  }", false)), IsOk());
  CHECK(check("acme", "base") == HexOf("{  }"));
  check("acme", "shared/all");
  check("other", "shared/all");
  CHECK_THAT(StatusOf(store().PolicyContentId("other", "base")),
             StatusIs(kNotFound));
  CHECK_THAT(StatusOf(store().PolicyContentId("acme", "none")),
             StatusIs(kNotFound, "none"));
}

TEST_CASE_METHOD(Fixture, "agents are listed by labels, page by page",
                 "[contract][operator]") {
  for (const int number : {3, 1, 2}) MakePending(number);
  AgentSettings settings = Settings();
  settings.labels["site"] = "y";
  REQUIRE_THAT(Update("acme", Id(2), settings), IsOk());
  const auto ids = [&](const AgentFilter& filter) {
    const auto agents = store().ListAgents(filter);
    REQUIRE_THAT(StatusOf(agents), IsOk());
    std::vector<AgentId> result;
    for (const AgentRecord& agent : *agents) result.push_back(agent.id);
    return result;
  };
  CHECK(ids({"acme", {}, {}}) == std::vector{Id(1), Id(2), Id(3)});
  CHECK(ids({"acme", {}, {}, 2}) == std::vector{Id(1), Id(2)});
  CHECK(ids({"acme", {}, Id(2), 2}) == std::vector{Id(3)});
  CHECK(ids({"acme", {{"site", "x"}}, {}}) == std::vector{Id(1), Id(3)});
  CHECK(ids({"acme", {{"site", "y"}, {"rack", "4"}}, {}}) ==
        std::vector{Id(2)});
  CHECK(ids({"acme", {{"site", "y"}, {"rack", "5"}}, {}}).empty());
  Record(Get(3), AgentState::kTrusted);
  CHECK(ids({.tenant = "acme",
             .labels = {{"site", "x"}},
             .after = {},
             .state = AgentState::kTrusted}) == std::vector{Id(3)});
  const auto only_ids = store().ListAgentIds({"acme", {}, Id(1), 1});
  REQUIRE_THAT(StatusOf(only_ids), IsOk());
  CHECK(*only_ids == std::vector{Id(2)});
}

TEST_CASE_METHOD(Fixture, "each change is an event and is told of",
                 "[contract][event]") {
  const int before = changes_;
  const AgentRecord agent = MakePending();
  CHECK(changes_ == before + 4);  // two policies, the enrolment, the add
  const uint64_t sequence = EventCount();
  Record(agent, AgentState::kTrusted);
  Record(agent, AgentState::kTrusted);  // a renewal is no event
  Record(agent, AgentState::kFailed);
  CHECK(changes_ == before + 6);
  const auto events = store().EventsAfter("acme", sequence, 10);
  REQUIRE_THAT(StatusOf(events), IsOk());
  REQUIRE(events->size() == 2);
  CHECK((*events)[0].sequence == sequence + 1);
  CHECK((*events)[0].previous == AgentState::kPending);
  CHECK((*events)[0].state == AgentState::kTrusted);
  CHECK((*events)[1].state == AgentState::kFailed);
  CHECK((*events)[1].text == "reason");
  CHECK((*events)[1].time == now_);
  CHECK((*events)[1].findings.size() == 1);
  CHECK(store().EventsAfter("acme", sequence, 1)->size() == 1);
  CHECK(store().EventsAfter("acme", ~uint64_t{0}, 10)->empty());
  // What is refused is no change.
  CHECK_THAT(
      StatusOf(store().RecordVerdict(VerdictFor(agent, AgentState::kTrusted))),
      StatusIs(kAborted));
  CHECK(changes_ == before + 6);
}

TEST_CASE_METHOD(Fixture, "A15: events are forgotten, findings' first",
                 "[contract][event]") {
  AgentRecord agent = Record(MakePending(), AgentState::kFailed);
  for (int i = 0; i < 150; ++i) {
    VerdictWrite again = VerdictFor(agent, std::nullopt);
    again.findings = std::vector{
        MakeFinding("ima.not_in_policy", Severity::kFailure, absl::StrCat(i))};
    REQUIRE_THAT(StatusOf(store().RecordVerdict(again)), IsOk());
  }
  auto events = store().EventsAfter("acme", 0, 1000);
  REQUIRE_THAT(StatusOf(events), IsOk());
  // The add, the failure, and the last of what was found later.
  REQUIRE(events->size() == 102);
  CHECK((*events)[1].state == AgentState::kFailed);
  CHECK((*events)[1].previous == AgentState::kPending);
  CHECK(events->back().findings.front().detail == "149");

  const absl::Time before = now_;
  Pass(absl::Hours(1));
  REQUIRE_THAT(store().StopAgent("acme", Id(1), "ann"), IsOk());
  REQUIRE_THAT(store().ExpireEvents(before + absl::Minutes(1)), IsOk());
  events = store().EventsAfter("acme", 0, 1000);
  REQUIRE_THAT(StatusOf(events), IsOk());
  REQUIRE(events->size() == 1);
  CHECK(events->front().state == AgentState::kStopped);
}

TEST_CASE_METHOD(Fixture, "an agent's settings are changed, not replaced",
                 "[contract][operator]") {
  MakePending();
  REQUIRE_THAT(store().UpdateAgent(
                   "acme", Id(1),
                   [](AgentSettings& settings) {
                     settings.boot = "any";
                     return absl::OkStatus();
                   },
                   "ann"),
               IsOk());
  AgentSettings wanted = Settings();
  wanted.boot = "any";
  CHECK(Get().settings == wanted);
  const uint64_t epoch = Get().policy_epoch;
  CHECK_THAT(store().UpdateAgent(
                 "acme", Id(1),
                 [](AgentSettings& settings) {
                   settings = {};
                   return absl::InvalidArgumentError("no");
                 },
                 "ann"),
             StatusIs(kInvalidArgument, "no"));
  CHECK(Get().settings == wanted);
  CHECK(Get().policy_epoch == epoch);
}

TEST_CASE_METHOD(Fixture, "last seen only moves on", "[contract][verdict]") {
  MakePending();
  CHECK_FALSE(Get().last_seen.has_value());
  CHECK_THAT(store().RecordSeen(Id(1), now_), IsOk());
  CHECK_THAT(store().RecordSeen(Id(1), now_ - absl::Seconds(5)), IsOk());
  CHECK(Get().last_seen == now_);
  CHECK_THAT(store().RecordSeen(Id(2), now_), StatusIs(kNotFound));
}

TEST_CASE_METHOD(Fixture, "a backup is a whole store", "[contract][backup]") {
  Record(MakePending(), AgentState::kFailed);
  const std::string path = folder_ / "copy.db";
  REQUIRE_THAT(store().Backup(path), IsOk());
  CHECK_THAT(store().Backup(path), StatusIs(kAlreadyExists));
  CHECK_THAT(store().Backup(folder_ / "no/copy.db"), StatusIs(kUnavailable));
  const auto copy = SqlStore::Open(path);
  REQUIRE_THAT(StatusOf(copy), IsOk());
  CHECK((*copy)->GetAgent("acme", Id(1))->state == AgentState::kFailed);
  CHECK(*(*copy)->LastEventSequence() == EventCount());
}

TEST_CASE_METHOD(Fixture, "many threads lose nothing", "[contract][thread]") {
  constexpr int kThreads = 4;
  constexpr int kRounds = 40;
  std::vector<AgentRecord> agents;
  agents.reserve(kThreads);
  for (int i = 0; i < kThreads; ++i) agents.push_back(MakePending(i + 1));
  std::atomic<int> failures = 0;
  {
    std::vector<std::jthread> threads;
    threads.reserve(kThreads);
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&, i] {
        const AgentRecord& agent = agents[static_cast<size_t>(i)];
        for (int round = 0; round < kRounds; ++round) {
          VerdictWrite write = VerdictFor(agent, AgentState::kTrusted);
          if (round % 2 == 1) write.state = AgentState::kPending;
          write.progress.entry_count = static_cast<uint64_t>(round);
          const auto recorded = store().RecordVerdict(write);
          const auto read = store().GetAgent("acme", agent.id);
          if (!recorded.ok() || !read.ok() ||
              read->progress.entry_count != static_cast<uint64_t>(round)) {
            ++failures;
          }
        }
      });
    }
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&] {
        for (int round = 0; round < 10; ++round) {
          if (!store().ListAgents({"acme", {}, {}}).ok()) ++failures;
        }
      });
    }
  }
  CHECK(failures == 0);
  // Every change of state is an event: PENDING and TRUSTED, in turns.
  const auto events = store().EventsAfter("acme", 0, 10'000);
  REQUIRE_THAT(StatusOf(events), IsOk());
  uint64_t changes = 0;
  uint64_t last = 0;
  for (const AgentEvent& event : *events) {
    CHECK(event.sequence > last);
    last = event.sequence;
    if (event.text == "reason") ++changes;
  }
  CHECK(changes == uint64_t{kThreads} * kRounds);
}

TEST_CASE_METHOD(Fixture, "claims are counted one by one",
                 "[contract][thread]") {
  const AgentRecord agent = MakePending();
  std::atomic<uint64_t> sum = 0;
  {
    std::vector<std::jthread> threads;
    threads.reserve(4);
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        for (int round = 0; round < 10; ++round) {
          const auto claimed = store().ClaimAgent(Id(1), "node");
          if (claimed.ok()) sum += claimed->owner_epoch - agent.owner_epoch;
        }
      });
    }
  }
  CHECK(sum == 40 * 41 / 2);  // 1 to 40, each once
}

}  // namespace
}  // namespace cupel::verifier
