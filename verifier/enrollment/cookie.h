// The sealed cookie that carries an enrolment's state, so that a verifier keeps
// none for peers that have proved nothing (docs/protocol.md, 1).
//
// Trust: a cookie comes back from a stranger. What opens was sealed by a holder
// of one of the keys, and nothing else is known of it: whoever calls checks
// age, nonce and proof.
//
// Format, big-endian, nothing left over:
//   u8 version = 2 | u8[8] key id | u8[32] nonce | ciphertext | u8[16] tag
// The ciphertext is AES-256-GCM with the 41 bytes before it as associated data,
// under HMAC-SHA-256(key, "cupel-cookie-v2" || nonce) and an IV of zeros: each
// cookie has a key of its own, so no number of cookies wears a key out. It
// holds, in this order:
//   i64 issued, microseconds since 1970 | u8[16] agent id | EK certificate
//   | EK template | AK public area | verifier's certificate's SHA-256 | token
//   | secret
// where what has no size here is preceded by it as a u32.
#ifndef CUPEL_VERIFIER_ENROLLMENT_COOKIE_H_
#define CUPEL_VERIFIER_ENROLLMENT_COOKIE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/util/agent_id.h"
#include "common/util/secret.h"

namespace cupel::verifier {

inline constexpr size_t kCookieKeySize = 32;
inline constexpr size_t kCookieNonceSize = 32;
inline constexpr size_t kMaxCookieSize = 24576;
inline constexpr size_t kMaxCookieKeyCount = 16;

// What a cookie holds, beside its nonce.
struct CookieContent {
  absl::Time issued;  // to the microsecond
  AgentId agent_id;
  std::vector<uint8_t> ek_certificate;  // DER
  std::string ek_template;
  std::vector<uint8_t> ak_public;             // TPMT_PUBLIC
  std::vector<uint8_t> verifier_certificate;  // SHA-256 of its DER
  std::string token;
  Secret secret;
};

struct OpenedCookie {
  std::array<uint8_t, kCookieNonceSize> nonce{};
  CookieContent content;
};

// The keys that cookies are sealed with. The first one seals, and all of them
// open. A key's id is computed from it, so that keys are all that the nodes of
// a cluster have to share.
//
// Threads: every function may be called by any thread.
class CookieKeys {
 public:
  // Takes keys of 32 random bytes each, the sealing one first. kInvalidArgument
  // without any, for more than kMaxCookieKeyCount, one of another size, one
  // that is all zeros, or one that stands twice.
  static absl::StatusOr<std::unique_ptr<CookieKeys>> Create(
      std::vector<Secret> keys);

  // With one fresh key. kInternal if there is no randomness.
  static absl::StatusOr<std::unique_ptr<CookieKeys>> Generate();

  // Puts a fresh key first and forgets all but the one that was first until
  // now. Not more often than cookies live: those of a forgotten key are void.
  absl::Status Rotate();

  // Seals `content` under a fresh nonce. kInvalidArgument where the result
  // would be larger than kMaxCookieSize; kInternal where OpenSSL fails.
  absl::StatusOr<std::vector<uint8_t>> Seal(const CookieContent& content) const;

  // The inverse. kPermissionDenied, with one message for all reasons, for
  // anything that was not sealed with one of the keys.
  absl::StatusOr<OpenedCookie> Open(std::span<const uint8_t> cookie) const;

 private:
  using KeyId = std::array<uint8_t, 8>;
  struct Key {
    KeyId id{};
    Secret secret;
  };
  using KeyList = std::shared_ptr<const std::vector<Key>>;

  explicit CookieKeys(KeyList keys) : keys_(std::move(keys)) {}
  static absl::StatusOr<KeyList> MakeList(std::vector<Secret> keys);
  KeyList keys() const;

  mutable std::mutex mutex_;
  KeyList keys_;  // guarded by mutex_
};

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_ENROLLMENT_COOKIE_H_
