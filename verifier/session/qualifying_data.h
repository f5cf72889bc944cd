// What a quote on an attestation stream has to carry as qualifying data.
#ifndef CUPEL_VERIFIER_SESSION_QUALIFYING_DATA_H_
#define CUPEL_VERIFIER_SESSION_QUALIFYING_DATA_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "common/util/agent_id.h"

namespace cupel::verifier {

inline constexpr size_t kNonceSize = 32;
inline constexpr size_t kCertificateHashSize = 32;

// SHA-256 over "cupel-quote-v1", `nonce`, the agent's id (16 bytes) and
// `certificate_sha256` (of the DER of the verifier's certificate), each behind
// its length as a big-endian u32: a quote for one verifier, agent or challenge
// is none for another [A1]. docs/protocol.md, 2.
std::vector<uint8_t> QuoteQualifyingData(
    std::span<const uint8_t> nonce, const AgentId& agent,
    std::span<const uint8_t> certificate_sha256);

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_SESSION_QUALIFYING_DATA_H_
