// What a verifier does by itself, every second or less often.
#ifndef CUPEL_VERIFIER_RPC_HOUSEKEEPING_H_
#define CUPEL_VERIFIER_RPC_HOUSEKEEPING_H_

#include <functional>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/crypto/digest.h"
#include "common/util/log.h"
#include "verifier/enrollment/cookie.h"
#include "verifier/pki/served_certificate.h"
#include "verifier/rpc/scheduler.h"
#include "verifier/session/deadline_sweep.h"
#include "verifier/session/worker_pool.h"
#include "verifier/store/store.h"

namespace cupel::verifier {

// Sweeps deadlines, forgets enrolments that nobody claims and old events, makes
// new keys for cookies, gives memory back, and notices a new certificate. All
// of it on the pool, one job at a time; none of it keeps another from being
// done.
class Housekeeping {
 public:
  struct Surroundings {
    Store& store;
    CookieKeys& cookie_keys;
    ServedCertificate& certificate;
    WorkerPool& pool;
    Scheduler& scheduler;
    Logger& log;
    // The certificate that is served from now on is another one.
    std::function<void(const crypto::Digest&)> on_certificate;
  };
  struct Options {
    absl::Duration grace;
    absl::Duration unclaimed_lifetime;
    absl::Duration event_lifetime = absl::InfiniteDuration();
    absl::Duration interval = absl::Seconds(1);  // of all that is cheap
    absl::Duration expire_interval = absl::Minutes(1);
    absl::Duration trim_interval = absl::Seconds(10);
    // More than any cookie_lifetime: a cookie outlives one rotation of its key,
    // and no second.
    absl::Duration rotate_interval = absl::Hours(1);
  };

  // What it refers to must outlive it, and it must outlive the pool's jobs and
  // the scheduler's calls.
  Housekeeping(Surroundings surroundings, const Options& options);

  // From now on.
  void Begin();
  // Reads the certificate's files at once. From any thread, never blocks.
  void ReloadCertificate();

 private:
  void Schedule();
  void Run();
  void SweepDeadlines();
  void Expire();
  void RotateCookieKeys();
  void TrimMemory();
  void LookAtCertificate(ServedCertificate::When when);
  void WatchCertificate();

  const Surroundings surroundings_;
  const Options options_;
  // Of the pool's jobs.
  DeadlineSweep sweep_;
  absl::Time last_expiry_ = absl::InfinitePast();
  absl::Time last_rotation_;
  absl::Time last_trim_;
  absl::Time last_warning_ = absl::InfinitePast();
};

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_RPC_HOUSEKEEPING_H_
