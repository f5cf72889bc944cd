#include <optional>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "agent/doctor/checks.h"
#include "common/util/bytes.h"
#include "common/util/file.h"

namespace cupel::agent {
namespace {

constexpr size_t kMaxClockTextSize = 4096;
constexpr char kRtc[] = "/sys/class/rtc/rtc0/since_epoch";
constexpr char kSynchronized[] = "/run/systemd/timesync/synchronized";
constexpr char kClockCure[] =
    "set the clock and keep it set: install systemd-timesyncd or chrony";
// The RTC counts whole seconds, and is set now and then.
constexpr absl::Duration kRtcTolerance = absl::Minutes(2);

// No certificate of this program's time is valid earlier.
absl::Time Earliest() {
  return absl::FromCivil(absl::CivilDay(2024, 1, 1), absl::UTCTimeZone());
}

// nullopt where there is none, as in many virtual machines.
std::optional<absl::Time> ReadRtc(const Machine& machine) {
  const auto bytes = ReadFile(machine.Path(kRtc), kMaxClockTextSize);
  int64_t seconds = 0;
  if (!bytes.ok() ||
      !absl::SimpleAtoi(absl::StripAsciiWhitespace(AsText(*bytes)), &seconds)) {
    return std::nullopt;
  }
  return absl::FromUnixSeconds(seconds);
}

}  // namespace

void CheckClock(const Machine& machine, Observations& found) {
  const std::string now = absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", machine.now,
                                           absl::UTCTimeZone());
  if (machine.now < Earliest()) {
    found.Fail(absl::StrCat("the clock says ", now,
                            ": no verifier's certificate is valid then"),
               kClockCure);
    return;
  }
  if (const auto rtc = ReadRtc(machine)) {
    const absl::Duration apart = machine.now - *rtc;
    if (absl::AbsDuration(apart) > kRtcTolerance) {
      found.Warn(absl::StrCat("the clock says ", now, ", the RTC ",
                              absl::FormatDuration(absl::Trunc(
                                  absl::AbsDuration(apart), absl::Seconds(1))),
                              apart > absl::ZeroDuration() ? " less" : " more"),
                 absl::StrCat(kClockCure, ", then hwclock --systohc"));
      return;
    }
  }
  const bool synchronized =
      ReadFile(machine.Path(kSynchronized), kMaxClockTextSize).ok();
  found.Ok(absl::StrCat(now, synchronized ? ", synchronized" : ""));
}

void CheckTpmClock(const Machine& machine, Observations& found) {
  constexpr absl::Duration kWait = absl::Milliseconds(500);
  // What the verifier tolerates.
  constexpr double kTolerance = 0.33;
  if (!machine.tpm.ok()) {
    found.CouldNotCheck("the TPM can't be reached", "see tpm.state");
    return;
  }
  // The TPM read its clock at some time between the two that stand around it.
  const absl::Time before_first = machine.steady_clock();
  const auto first = (*machine.tpm)->ReadState();
  const absl::Time after_first = machine.steady_clock();
  machine.sleep(kWait);
  const absl::Time before_second = machine.steady_clock();
  const auto second = (*machine.tpm)->ReadState();
  const absl::Time after_second = machine.steady_clock();
  if (!first.ok() || !second.ok()) {
    found.CouldNotCheck(
        std::string((first.ok() ? second : first).status().message()),
        "see tpm.state");
    return;
  }
  if (second->clock.reset_count != first->clock.reset_count ||
      second->clock.restart_count != first->clock.restart_count) {
    found.Warn("the TPM was reset while it was looked at", "run it again");
    return;
  }
  const absl::Duration passed =
      absl::Milliseconds(static_cast<int64_t>(second->clock.clock)) -
      absl::Milliseconds(static_cast<int64_t>(first->clock.clock));
  if (passed < (1 - kTolerance) * (before_second - after_first) ||
      passed > (1 + kTolerance) * (after_second - before_first)) {
    found.Warn(
        absl::StrCat("the TPM's clock went on by ",
                     absl::FormatDuration(passed), " in ",
                     absl::FormatDuration(absl::Trunc(
                         after_second - before_first, absl::Milliseconds(1))),
                     ": the verifier can't tell how old a quote is"),
        "update the TPM's firmware; an emulator needs a machine that is not "
        "overloaded");
    return;
  }
  found.Ok(absl::StrCat("reset ", second->clock.reset_count, ", restart ",
                        second->clock.restart_count,
                        second->clock.safe ? "" : ", after a power cut"));
}

}  // namespace cupel::agent
