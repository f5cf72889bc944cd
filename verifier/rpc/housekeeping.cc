#include "verifier/rpc/housekeeping.h"

#include <malloc.h>

#include <cstdint>
#include <exception>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "common/util/steady_clock.h"

namespace cupel::verifier {
namespace {

constexpr char kPoolKey[] = "housekeeping";
constexpr absl::Duration kWarnBefore = absl::Hours(24 * 14);
constexpr absl::Duration kWarnInterval = absl::Hours(24);

}  // namespace

Housekeeping::Housekeeping(Surroundings surroundings, const Options& options)
    : surroundings_(std::move(surroundings)),
      options_(options),
      sweep_(surroundings_.store, options.grace),
      last_rotation_(SteadyNow()),
      last_trim_(last_rotation_) {}

void Housekeeping::Begin() { Schedule(); }

void Housekeeping::Schedule() {
  surroundings_.scheduler.After(options_.interval, [this] {
    surroundings_.pool.Post(kPoolKey, [this] {
      Run();
      Schedule();
    });
  });
}

void Housekeeping::Run() {
  using Task = void (Housekeeping::*)();
  for (const Task task :
       {&Housekeeping::SweepDeadlines, &Housekeeping::Expire,
        &Housekeeping::RotateCookieKeys, &Housekeeping::TrimMemory,
        &Housekeeping::WatchCertificate}) {
    // Whatever one of them throws, the next one and the next second come.
    try {
      (this->*task)();
    } catch (const std::exception& error) {
      surroundings_.log.Error("housekeeping failed", {{"error", error.what()}});
    }
  }
}

void Housekeeping::SweepDeadlines() {
  const absl::StatusOr<uint32_t> swept = sweep_.Run();
  // That the store fails is said where it is called.
  if (swept.ok() && *swept > 0) {
    surroundings_.log.Warning("agents have brought no passing evidence in time",
                              {{"count", *swept}});
  }
}

void Housekeeping::Expire() {
  const absl::Time now = SteadyNow();
  if (now - last_expiry_ < options_.expire_interval) return;
  last_expiry_ = now;
  Store& store = surroundings_.store;
  // That the store fails is said where it is called.
  store.Expire(store.Now() - options_.unclaimed_lifetime).IgnoreError();
  store.ExpireEvents(store.Now() - options_.event_lifetime).IgnoreError();
}

void Housekeeping::RotateCookieKeys() {
  const absl::Time now = SteadyNow();
  if (now - last_rotation_ < options_.rotate_interval) return;
  last_rotation_ = now;
  const absl::Status rotated = surroundings_.cookie_keys.Rotate();
  if (!rotated.ok()) {
    surroundings_.log.Error("no new key for enrolments' cookies",
                            {{"error", rotated}});
  }
}

// Handshakes and first lists leave whole pages between what streams keep.
void Housekeeping::TrimMemory() {
  const absl::Time now = SteadyNow();
  if (now - last_trim_ < options_.trim_interval) return;
  last_trim_ = now;
  malloc_trim(0);
}

void Housekeeping::ReloadCertificate() {
  surroundings_.pool.Post(kPoolKey, [this] {
    LookAtCertificate(ServedCertificate::When::kAlways);
  });
}

void Housekeeping::LookAtCertificate(ServedCertificate::When when) {
  const absl::StatusOr<bool> replaced =
      surroundings_.certificate.Reload(when, SteadyNow(), absl::Now());
  const std::shared_ptr<const TlsCredentials> current =
      surroundings_.certificate.current();
  if (!replaced.ok()) {
    surroundings_.log.Error(
        "the new certificate can't be served: the old one still is",
        {{"error", replaced.status()},
         {"served_sha256", current->certificate_sha256.Hex()},
         {"served_until",
          absl::FormatTime(current->not_after, absl::UTCTimeZone())}});
  } else if (*replaced) {
    surroundings_.on_certificate(current->certificate_sha256);
    surroundings_.log.Info(
        "a new certificate is served to new connections",
        {{"sha256", current->certificate_sha256.Hex()},
         {"until", absl::FormatTime(current->not_after, absl::UTCTimeZone())}});
    last_warning_ = absl::InfinitePast();
  } else if (when == ServedCertificate::When::kAlways) {
    surroundings_.log.Info("the certificate is the same as before",
                           {{"sha256", current->certificate_sha256.Hex()}});
  }
}

void Housekeeping::WatchCertificate() {
  LookAtCertificate(ServedCertificate::When::kChanged);

  const absl::Time end = surroundings_.certificate.current()->not_after;
  const absl::Time now = SteadyNow();
  if (absl::Now() < end - kWarnBefore || now - last_warning_ < kWarnInterval) {
    return;
  }
  last_warning_ = now;
  surroundings_.log.Warning(
      "the certificate ends soon: `cupel-verifier renew` makes a new one",
      {{"until", absl::FormatTime(end, absl::UTCTimeZone())}});
}

}  // namespace cupel::verifier
