#ifndef CUPEL_AGENT_ATTESTER_ADDRESS_ROTATION_H_
#define CUPEL_AGENT_ATTESTER_ADDRESS_ROTATION_H_

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace cupel::agent {

struct RotationOptions {
  // Before the second attempt; doubled with each round over all addresses that
  // failed.
  absl::Duration least_delay = absl::Milliseconds(500);
  absl::Duration most_delay = absl::Seconds(30);
  // A verifier's retry_after counts up to this.
  absl::Duration most_retry_after = absl::Minutes(10);
};

// Which verifier to try next, and when: one after another from a random one on,
// with delays that grow and that no two agents have alike, so that a fleet
// spreads over the verifiers and does not come back as one. Not thread-safe.
class AddressRotation {
 public:
  // A number in [0, 1), evenly distributed; need not be secret.
  using Random = std::function<double()>;
  // One that starts anywhere.
  static Random MakeRandom();

  struct Attempt {
    std::string address;
    absl::Time at;
  };

  // kInvalidArgument without an address.
  static absl::StatusOr<AddressRotation> Create(
      std::vector<std::string> addresses, RotationOptions options,
      Random random);

  // The attempt that is to be made next. The first one is due at once.
  Attempt Next(absl::Time now);

  // What came of the last attempt. A stream that ends after it had worked is a
  // failure of its own, the first in a row.
  void OnWorking() { failure_count_ = 0; }
  // `retry_after`: not before then is that verifier worth another try.
  void OnFailed(absl::Time now, absl::Duration retry_after);

 private:
  struct Verifier {
    std::string address;
    absl::Time not_before = absl::InfinitePast();
  };

  AddressRotation(std::vector<Verifier> verifiers, RotationOptions options,
                  Random random);

  // `delay`, or up to half as much again.
  absl::Duration Jittered(absl::Duration delay) const {
    return delay * (1 + random_() / 2);
  }

  std::vector<Verifier> verifiers_;
  RotationOptions options_;
  Random random_;
  size_t current_ = 0;
  size_t failure_count_ = 0;  // in a row
  absl::Time due_ = absl::InfinitePast();
};

}  // namespace cupel::agent

#endif  // CUPEL_AGENT_ATTESTER_ADDRESS_ROTATION_H_
