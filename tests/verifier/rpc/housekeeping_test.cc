#include "verifier/rpc/housekeeping.h"

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "catch2/catch.hpp"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_folder.h"
#include "verifier/pki/pki.h"
#include "verifier/store/sql_store.h"

namespace cupel::verifier {
namespace {

using testing::IsOk;

// All that housekeeping is done for, with ticks of a few milliseconds.
class HousekeepingTest {
 public:
  HousekeepingTest() {
    REQUIRE_THAT(InitPki({.dir = folder / "pki", .dns_names = {"localhost"}},
                         absl::Now()),
                 IsOk());
    certificate = *ServedCertificate::Load(
        {.certificate_path = folder / "pki/server/certificate.pem",
         .key_path = folder / "pki/server/key.pem"},
        absl::Now());
    // It fails when it is told to, and by throwing at that.
    auto opened = SqlStore::Open(":memory:", {.clock = [this]() -> absl::Time {
                                   ++clock_calls;
                                   if (throws)
                                     throw std::runtime_error("the clock");
                                   return absl::Now();
                                 }});
    REQUIRE_THAT(opened.status(), IsOk());
    store = *std::move(opened);
  }

  // The timers end first: they post.
  ~HousekeepingTest() { scheduler.Stop(); }

  void Begin(Housekeeping::Options options) {
    options.interval = absl::Milliseconds(2);
    housekeeping = std::make_unique<Housekeeping>(
        Housekeeping::Surroundings{
            *store, *keys, *certificate, pool, scheduler, log,
            [this](const crypto::Digest&) { ++certificates; }},
        options);
    housekeeping->Begin();
  }
  void Await(const std::function<bool()>& condition) {
    for (int i = 0; !condition(); ++i) {
      REQUIRE(i < 30'000);
      absl::SleepFor(absl::Milliseconds(1));
    }
  }
  CookieContent Content() const {
    return {.issued = absl::Now(),
            .agent_id = *AgentId::Parse("d432fbb3-d2f1-4a97-9ef7-75bd81c00000"),
            .ek_certificate = {1},
            .ek_template = "L-2",
            .ak_public = {2},
            .verifier_certificate = {3},
            .token = {},
            .secret = Secret(std::vector<uint8_t>(32, 4))};
  }
  // Its id, which a cookie shows.
  std::vector<uint8_t> SealingKey() const {
    const std::vector<uint8_t> cookie = *keys->Seal(Content());
    return ToVector(std::span(cookie).subspan(1, 8));
  }

  testing::TemporaryFolder folder;
  std::atomic<bool> throws = false;
  std::atomic<int> clock_calls = 0;
  std::atomic<int> certificates = 0;
  std::atomic<int> errors = 0;
  Logger log{{.sink = [this](absl::string_view line) {
    errors += line.find("ERROR") != absl::string_view::npos ? 1 : 0;
  }}};
  std::unique_ptr<CookieKeys> keys = *CookieKeys::Generate();
  std::unique_ptr<ServedCertificate> certificate;
  std::unique_ptr<SqlStore> store;
  std::unique_ptr<Housekeeping> housekeeping;
  Scheduler scheduler;
  WorkerPool pool{1};
};

TEST_CASE("The keys of cookies are replaced, and a cookie outlives one of it") {
  HousekeepingTest test;
  const auto cookie = test.keys->Seal(test.Content());
  REQUIRE_THAT(cookie.status(), IsOk());
  const auto first = test.SealingKey();
  SECTION("one after another") {
    test.Begin({.grace = absl::Seconds(1),
                .unclaimed_lifetime = absl::Hours(1),
                .rotate_interval = absl::ZeroDuration()});
    test.Await([&] { return !test.keys->Open(*cookie).ok(); });
  }
  SECTION("not before their time") {
    test.Begin(
        {.grace = absl::Seconds(1), .unclaimed_lifetime = absl::Hours(1)});
    test.Await([&] { return test.clock_calls > 20; });
    CHECK(test.SealingKey() == first);
    CHECK_THAT(test.keys->Open(*cookie).status(), IsOk());
  }
}

TEST_CASE(
    "A task that throws keeps no other, and no later one, from its turn") {
  HousekeepingTest test;
  test.throws = true;
  test.Begin({.grace = absl::Seconds(1),
              .unclaimed_lifetime = absl::Hours(1),
              .rotate_interval = absl::ZeroDuration()});
  // The store's clock is the first thing that is asked for.
  const auto first = test.SealingKey();
  test.Await([&] { return test.errors > 3; });
  CHECK_FALSE(test.SealingKey() == first);
  REQUIRE_THAT(RenewPki(test.folder / "pki", absl::Now()).status(), IsOk());
  test.Await([&] { return test.certificates == 1; });
  test.throws = false;
  const int calls = test.clock_calls;
  test.Await([&] { return test.clock_calls > calls + 20; });
}

}  // namespace
}  // namespace cupel::verifier
