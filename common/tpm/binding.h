// What ties a quote, and an enrolment, to one agent, one challenge and one
// verifier. Both sides compute it, each from what it knows by itself.
//
// Format: every part is preceded by its size in bytes as a u32, big-endian, so
// that no two lists of parts give the same bytes. docs/protocol.md, 1 and 2.
#ifndef CUPEL_COMMON_TPM_BINDING_H_
#define CUPEL_COMMON_TPM_BINDING_H_

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "common/crypto/digest.h"
#include "common/util/agent_id.h"
#include "common/util/secret.h"

namespace cupel::tpm {

inline constexpr size_t kNonceSize = 32;
inline constexpr size_t kEnrollmentSecretSize = 32;
inline constexpr size_t kEnrollmentProofSize = 32;

// Each part, its size before it. Parts must be under 4 GiB.
std::vector<uint8_t> LengthPrefixed(
    std::initializer_list<std::span<const uint8_t>> parts);

// The qualifying data of a quote: SHA-256 over the length-prefixed
// "cupel-quote-v1", nonce, agent id and the SHA-256 of the DER of the
// verifier's leaf certificate.
//
// kInvalidArgument if the nonce has another size than kNonceSize, or the
// certificate's hash is not SHA-256.
absl::StatusOr<crypto::Digest> QuoteQualifyingData(
    std::span<const uint8_t> nonce, const AgentId& agent_id,
    const crypto::Digest& verifier_certificate);

// What an enrolment is bound to. Spans must outlive the call alone.
struct EnrollmentBinding {
  std::span<const uint8_t> cookie;  // as the verifier gave it
  const AgentId* agent_id = nullptr;
  std::span<const uint8_t> ek_name;
  std::span<const uint8_t> ak_name;
  // SHA-256 of the DER of the verifier's leaf certificate.
  const crypto::Digest* verifier_certificate = nullptr;
};

// The proof that a TPM holds both keys: HMAC-SHA-256 under the secret that it
// has recovered, over the length-prefixed "cupel-enrol-v1", SHA-256 of the
// cookie, agent id, EK Name, AK Name and the verifier's certificate's hash.
// kEnrollmentProofSize bytes; compare it with CRYPTO_memcmp, as Secret does.
//
// kInvalidArgument if the secret has another size than kEnrollmentSecretSize,
// a Name is none (QualifiedName), or a part is missing; kInternal where OpenSSL
// fails.
absl::StatusOr<Secret> EnrollmentProof(const Secret& secret,
                                       const EnrollmentBinding& binding);

}  // namespace cupel::tpm

#endif  // CUPEL_COMMON_TPM_BINDING_H_
