// The certificate that the listeners show, which `renew` may replace while they
// run.
#ifndef CUPEL_VERIFIER_PKI_SERVED_CERTIFICATE_H_
#define CUPEL_VERIFIER_PKI_SERVED_CERTIFICATE_H_

#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/crypto/digest.h"
#include "verifier/pki/file_version.h"
#include "verifier/pki/tls_credentials.h"

namespace cupel::verifier {

// Thread-safe. What is served changes in Reload and nowhere else.
class ServedCertificate {
 public:
  struct Options {
    std::string certificate_path;
    std::string key_path;
    // A connection may show a certificate that was replaced less than this ago;
    // to none that is accepted later can it belong.
    absl::Duration longest_connection = absl::Minutes(10);
  };

  // Reads the pair. Errors as LoadTlsCredentials; kFailedPrecondition, with the
  // cure, for a certificate that isn't valid at `wall`.
  static absl::StatusOr<std::unique_ptr<ServedCertificate>> Load(
      Options options, absl::Time wall);

  enum class When {
    kChanged,  // looks only at files that changed, once they have come to rest
    kAlways,
  };
  // True if another certificate is served from now on, to new connections;
  // `now` is of any clock that never goes back, `wall` the machine's. Call it
  // every second or so: where nothing has changed it costs two stat().
  //
  // An error, as those of Load, says that the files hold no pair that could be
  // served; the old one is served on. It is told once for each state of the
  // files, and again every kRemind until they are mended.
  absl::StatusOr<bool> Reload(When when, absl::Time now, absl::Time wall);
  static constexpr absl::Duration kRemind = absl::Minutes(10);

  // Never null. Each replacement is another object.
  std::shared_ptr<const TlsCredentials> current() const;
  // The SHA-256 of the DER of the leaf certificates that a connection which is
  // open at `now` may show, unless it was open longer than
  // `longest_connection`: that of the current one first.
  std::vector<crypto::Digest> Accepted(absl::Time now) const;
  // True while the files hold what can't be served.
  bool is_stale() const;

 private:
  using Versions = std::pair<FileVersion, FileVersion>;

  explicit ServedCertificate(Options options) : options_(std::move(options)) {}
  std::optional<Versions> Look() const;

  const Options options_;
  std::mutex reload_mutex_;  // held while files are read
  // Of the files, guarded by reload_mutex_: what was read, and what was seen.
  std::optional<Versions> loaded_;
  std::optional<Versions> seen_;
  std::optional<absl::Time> failed_at_;

  mutable std::mutex mutex_;  // guards all below; never held for long
  std::shared_ptr<const TlsCredentials> current_;
  struct Replaced {
    crypto::Digest sha256;
    absl::Time at;
  };
  std::deque<Replaced> replaced_;  // the last one first
  bool is_stale_ = false;
};

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_PKI_SERVED_CERTIFICATE_H_
