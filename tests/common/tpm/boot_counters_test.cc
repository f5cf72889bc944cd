#include "common/tpm/boot_counters.h"

#include <vector>

#include "catch2/catch.hpp"
#include "common/tpm/quote.h"
#include "tests/common/tpm/vectors.h"

namespace cupel::tpm {
namespace {

using Violations = std::vector<CounterViolation>;

TEST_CASE("two clock infos are compared", "[tpm][counters]") {
  struct Case {
    const char* description;
    ClockInfo before;
    ClockInfo after;
    BootRelation relation;
    uint32_t resets;
    uint32_t restarts;
    Violations violations;
  };
  using enum BootRelation;
  using enum CounterViolation;
  const auto c = GENERATE(values<Case>({
      {"later in one boot",
       {100, 2, 0, true},
       {200, 2, 0, true},
       kSameBoot,
       0,
       0,
       {}},
      {"within one millisecond",
       {100, 2, 0, true},
       {100, 2, 0, true},
       kSameBoot,
       0,
       0,
       {}},
      {"safe becomes true",
       {100, 2, 0, false},
       {200, 2, 0, true},
       kSameBoot,
       0,
       0,
       {}},
      {"safe becomes false",
       {100, 2, 0, true},
       {200, 2, 0, false},
       kSameBoot,
       0,
       0,
       {}},
      {"clock back by one",
       {100, 2, 0, true},
       {99, 2, 0, true},
       kSameBoot,
       0,
       0,
       {kClockBack}},
      {"clock back, unsafe",
       {100, 2, 0, true},
       {99, 2, 0, false},
       kSameBoot,
       0,
       0,
       {kClockBack}},
      {"suspend to RAM",
       {100, 2, 0, true},
       {100, 2, 1, true},
       kRestart,
       0,
       1,
       {}},
      {"several restarts",
       {100, 2, 1, true},
       {900, 2, 4, true},
       kRestart,
       0,
       3,
       {}},
      {"restart with the clock back",
       {100, 2, 0, true},
       {99, 2, 1, true},
       kRestart,
       0,
       1,
       {kClockBack}},
      {"restart count back",
       {100, 2, 3, true},
       {200, 2, 2, true},
       kRestart,
       0,
       0,
       {kRestartCountBack}},
      {"restart count and clock back",
       {100, 2, 3, true},
       {50, 2, 2, true},
       kRestart,
       0,
       0,
       {kRestartCountBack, kClockBack}},
      {"reboot", {100, 2, 5, true}, {200, 3, 0, true}, kNewBoot, 1, 0, {}},
      {"power cut: clock back, unsafe",
       {100, 2, 0, true},
       {50, 3, 0, false},
       kNewBoot,
       1,
       0,
       {}},
      {"reboots that nobody saw",
       {100, 2, 0, true},
       {200, 12, 1, true},
       kNewBoot,
       10,
       0,
       {}},
      {"reset count back",
       {100, 3, 0, true},
       {200, 2, 0, true},
       kNewBoot,
       0,
       0,
       {kResetCountBack}},
      {"cleared",
       {100, 3, 0, true},
       {0, 0, 0, true},
       kNewBoot,
       0,
       0,
       {kResetCountBack}},
      {"largest counts",
       {0, 0, 0, true},
       {UINT64_MAX, UINT32_MAX, UINT32_MAX, true},
       kNewBoot,
       UINT32_MAX,
       0,
       {}},
  }));
  CAPTURE(c.description);
  const CounterComparison result = CompareCounters(c.before, c.after);
  CHECK(result.relation == c.relation);
  CHECK(result.resets == c.resets);
  CHECK(result.restarts == c.restarts);
  CHECK(result.violations == c.violations);
}

TEST_CASE("each violation has its words", "[tpm][counters]") {
  CHECK(CounterViolationText(CounterViolation::kClockBack) !=
        CounterViolationText(CounterViolation::kResetCountBack));
  CHECK(CounterViolationText(CounterViolation::kRestartCountBack) !=
        CounterViolationText(CounterViolation::kResetCountBack));
}

// One TPM over a boot, a suspend, two power cuts, and a clean power-on.
ClockInfo RealClock(absl::string_view name, absl::string_view ak) {
  const auto key = AttestationKey::FromFile(Vector(ak));
  REQUIRE(key.ok());
  const std::vector<uint8_t> nonce = ToVector(AsBytes("nonce"));
  const PcrSelection selection = *PcrSelection::FromString("sha256:10");
  // The AK is a primary key: its own Name takes the EK's place below.
  const auto outcome =
      VerifyQuote(*key, Vector(absl::StrCat("clock_quotes/", name, ".attest")),
                  Vector(absl::StrCat("clock_quotes/", name, ".sig")),
                  {.qualifying_data = nonce, .selection = &selection});
  REQUIRE(outcome.ok());
  const auto* const quote = std::get_if<VerifiedQuote>(&*outcome);
  REQUIRE(quote != nullptr);
  // A primary key's Qualified Name is that of its place in the hierarchy.
  CHECK(quote->attest().qualified_signer == *EkQualifiedName(key->name()));
  return quote->attest().clock_info;
}

TEST_CASE("real quotes across boots, suspend and power cuts",
          "[tpm][counters]") {
  constexpr char kAk[] = "clock_quotes/ak.tpm2b_public";
  const ClockInfo boot = RealClock("1-boot1", kAk);
  const ClockInfo resumed = RealClock("1-after-S3", kAk);
  const ClockInfo cut = RealClock("2-unclean-boot", kAk);
  const ClockInfo cut_again = RealClock("3-unclean-again-boot", kAk);
  const ClockInfo powered_on = RealClock("4-clean-poweron-boot", kAk);

  const CounterComparison suspend = CompareCounters(boot, resumed);
  CHECK(suspend.relation == BootRelation::kRestart);
  CHECK(suspend.restarts == 1);
  CHECK(suspend.violations.empty());

  const CounterComparison power_cut = CompareCounters(cut, cut_again);
  CHECK(cut_again.clock < cut.clock);
  CHECK(power_cut.relation == BootRelation::kNewBoot);
  CHECK(power_cut.resets == 1);
  CHECK(power_cut.violations.empty());

  CHECK(CompareCounters(cut_again, powered_on).resets == 1);
  CHECK(CompareCounters(boot, powered_on).resets == 3);
  // An old boot's quote after a newer one.
  CHECK(CompareCounters(powered_on, boot).violations ==
        Violations{CounterViolation::kResetCountBack});
  CHECK(CompareCounters(resumed, boot).violations ==
        Violations{CounterViolation::kRestartCountBack,
                   CounterViolation::kClockBack});

  const ClockInfo unsafe =
      RealClock("5-unclean-safe0-boot", "clock_quotes/5-ak.tpm2b_public");
  CHECK_FALSE(unsafe.safe);
}

}  // namespace
}  // namespace cupel::tpm
