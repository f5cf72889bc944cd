#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "tests/agent/doctor/doctor_rig.h"

namespace cupel::agent {
namespace {

constexpr char kRtc[] = "/sys/class/rtc/rtc0/since_epoch";

TEST_CASE("the clock is sane, and agrees with the RTC") {
  DoctorRig rig;
  CHECK(Says(rig.Check("clock.system"), Outcome::kOk, "2026-05-01"));
  SECTION("it was never set") {
    rig.machine.now = absl::FromUnixSeconds(1000);
    CHECK(Says(rig.Check("clock.system"), Outcome::kFailure, "1970-01-01"));
  }
  SECTION("the RTC is another time's") {
    for (const int64_t seconds : {-7200, 7200}) {
      rig.Write(kRtc,
                absl::StrCat(absl::ToUnixSeconds(rig.machine.now) + seconds));
      CHECK(Says(rig.Check("clock.system"), Outcome::kWarning,
                 seconds < 0 ? "the RTC 2h less" : "the RTC 2h more"));
    }
  }
  SECTION("there is no RTC") {
    rig.Remove(kRtc);
    CHECK(Says(rig.Check("clock.system"), Outcome::kOk, "2026-05-01"));
  }
  SECTION("it is kept") {
    rig.Write("/run/systemd/timesync/synchronized", "");
    CHECK(Says(rig.Check("clock.system"), Outcome::kOk, "synchronized"));
  }
}

}  // namespace
}  // namespace cupel::agent
