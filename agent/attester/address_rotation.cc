#include "agent/attester/address_rotation.h"

#include <algorithm>
#include <memory>
#include <random>
#include <utility>

#include "absl/status/status.h"

namespace cupel::agent {

AddressRotation::Random AddressRotation::MakeRandom() {
  const auto engine =
      std::make_shared<std::minstd_rand>(std::random_device{}());
  return [engine] {
    return std::uniform_real_distribution<double>(0, 1)(*engine);
  };
}

absl::StatusOr<AddressRotation> AddressRotation::Create(
    std::vector<std::string> addresses, RotationOptions options,
    Random random) {
  std::vector<Verifier> verifiers;
  for (std::string& address : addresses) {
    if (address.empty()) {
      return absl::InvalidArgumentError("a verifier's address is empty");
    }
    verifiers.push_back({.address = std::move(address)});
  }
  if (verifiers.empty()) {
    return absl::InvalidArgumentError(
        "no verifier's address is given: name at least one, as HOST:PORT");
  }
  return AddressRotation(std::move(verifiers), options, std::move(random));
}

AddressRotation::AddressRotation(std::vector<Verifier> verifiers,
                                 RotationOptions options, Random random)
    : verifiers_(std::move(verifiers)),
      options_(options),
      random_(std::move(random)) {
  const auto size = static_cast<double>(verifiers_.size());
  current_ =
      std::min(static_cast<size_t>(random_() * size), verifiers_.size() - 1);
}

AddressRotation::Attempt AddressRotation::Next(absl::Time now) {
  const absl::Time due = std::max(due_, now);
  // In turn, the first that may be tried by then; else whichever is first.
  size_t chosen = current_;
  for (size_t i = 0; i < verifiers_.size(); ++i) {
    const size_t at = (current_ + i) % verifiers_.size();
    if (verifiers_[at].not_before <= due) {
      chosen = at;
      break;
    }
    if (verifiers_[at].not_before < verifiers_[chosen].not_before) chosen = at;
  }
  current_ = chosen;
  return {verifiers_[chosen].address,
          std::max(due, verifiers_[chosen].not_before)};
}

void AddressRotation::OnFailed(absl::Time now, absl::Duration retry_after) {
  const absl::Duration wait =
      std::clamp(retry_after, absl::ZeroDuration(), options_.most_retry_after);
  if (wait > absl::ZeroDuration()) {
    verifiers_[current_].not_before = now + Jittered(wait);
  }
  const size_t rounds = std::min(failure_count_ / verifiers_.size(),
                                 size_t{30});  // no shift out of range
  const absl::Duration delay =
      std::min(options_.least_delay * static_cast<double>(int64_t{1} << rounds),
               options_.most_delay);
  due_ = now + Jittered(delay);
  ++failure_count_;
  current_ = (current_ + 1) % verifiers_.size();
}

}  // namespace cupel::agent
