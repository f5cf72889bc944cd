#include "verifier/pki/served_certificate.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/util/escape.h"
#include "common/util/status_macros.h"

namespace cupel::verifier {
namespace {

absl::StatusOr<TlsCredentials> LoadValid(const std::string& certificate_path,
                                         const std::string& key_path,
                                         absl::Time wall) {
  CUPEL_ASSIGN_OR_RETURN(TlsCredentials credentials,
                         LoadTlsCredentials(certificate_path, key_path));
  if (wall < credentials.not_before || wall >= credentials.not_after) {
    const bool has_ended = wall >= credentials.not_after;
    return absl::FailedPreconditionError(
        absl::StrCat(EscapeForDisplay(certificate_path),
                     has_ended ? " has expired on " : " is not valid before ",
                     absl::FormatTime(has_ended ? credentials.not_after
                                                : credentials.not_before,
                                      absl::UTCTimeZone()),
                     has_ended ? "; `cupel-verifier renew` makes a new one"
                               : "; is this machine's clock right?"));
  }
  return credentials;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ServedCertificate>> ServedCertificate::Load(
    Options options, absl::Time wall) {
  std::unique_ptr<ServedCertificate> served(
      new ServedCertificate(std::move(options)));
  // Looked at before it is read: what changes meanwhile is read again.
  served->loaded_ = served->seen_ = served->Look();
  CUPEL_ASSIGN_OR_RETURN(TlsCredentials credentials,
                         LoadValid(served->options_.certificate_path,
                                   served->options_.key_path, wall));
  served->current_ =
      std::make_shared<const TlsCredentials>(std::move(credentials));
  return served;
}

std::optional<ServedCertificate::Versions> ServedCertificate::Look() const {
  const auto certificate = VersionOfFile(options_.certificate_path);
  const auto key = VersionOfFile(options_.key_path);
  if (!certificate.has_value() || !key.has_value()) return std::nullopt;
  return Versions(*certificate, *key);
}

absl::StatusOr<bool> ServedCertificate::Reload(When when, absl::Time now,
                                               absl::Time wall) {
  const std::lock_guard<std::mutex> reloading(reload_mutex_);
  const std::optional<Versions> versions = Look();
  // Who copies two files over others leaves them unmatched for a moment.
  const bool at_rest = versions == std::exchange(seen_, versions);
  const bool remind = failed_at_.has_value() && now - *failed_at_ >= kRemind;
  if (when == When::kChanged &&
      (!at_rest || (versions == loaded_ && !remind))) {
    return false;
  }
  loaded_ = versions;
  auto credentials =
      LoadValid(options_.certificate_path, options_.key_path, wall);
  if (!credentials.ok()) {
    failed_at_ = now;
    const std::lock_guard<std::mutex> lock(mutex_);
    is_stale_ = true;
    return credentials.status();
  }
  failed_at_.reset();
  const std::lock_guard<std::mutex> lock(mutex_);
  is_stale_ = false;
  if (credentials->certificate_pem == current_->certificate_pem &&
      credentials->key_pem == current_->key_pem) {
    return false;
  }
  while (!replaced_.empty() &&
         now - replaced_.back().at > options_.longest_connection) {
    replaced_.pop_back();
  }
  replaced_.push_front({.sha256 = current_->certificate_sha256, .at = now});
  current_ = std::make_shared<const TlsCredentials>(*std::move(credentials));
  return true;
}

std::shared_ptr<const TlsCredentials> ServedCertificate::current() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return current_;
}

std::vector<crypto::Digest> ServedCertificate::Accepted(absl::Time now) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::vector<crypto::Digest> accepted = {current_->certificate_sha256};
  for (const Replaced& one : replaced_) {
    if (now - one.at > options_.longest_connection) break;
    accepted.push_back(one.sha256);
  }
  return accepted;
}

bool ServedCertificate::is_stale() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return is_stale_;
}

}  // namespace cupel::verifier
