// The messages of an attestation stream as plain values; the rpc layer converts
// them from and to proto/cupel/v1/evidence.proto, whose comments hold here.
//
// Trust: what comes from the agent is hostile. A Hello stays so for good.
#ifndef CUPEL_VERIFIER_SESSION_MESSAGES_H_
#define CUPEL_VERIFIER_SESSION_MESSAGES_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/crypto/digest.h"
#include "common/tpm/pcr_selection.h"
#include "common/tpm/pcr_values.h"
#include "common/util/agent_id.h"
#include "verifier/store/store.h"

namespace cupel::verifier {

inline constexpr uint32_t kProtocolVersion = 1;
inline constexpr size_t kMaxQuoteSize = size_t{16} << 10;
inline constexpr size_t kMaxChunkSize = size_t{64} << 10;

// --- From the agent.

struct HelloMessage {
  AgentId agent_id;
  uint32_t protocol_version = 0;
  std::string agent_version = {};
  uint64_t entry_count = 0;
  // Names that Cupel does not know are left out.
  std::vector<crypto::HashAlgorithm> banks = {};
  std::vector<uint32_t> list_pcrs = {};
  bool big_endian = false;
  std::vector<std::vector<uint8_t>> previous_streams = {};
};

struct QuoteMessage {
  std::vector<uint8_t> attest;
  std::vector<uint8_t> signature;
  tpm::PcrValues pcrs;
  std::vector<uint8_t> nonce;
  // When it came, if it had to wait until it is looked at: what keeps it
  // waiting is the verifier's condition and not the agent's.
  std::optional<absl::Time> arrived = std::nullopt;

  // Of what it carries, in bytes.
  size_t size() const {
    size_t sum = attest.size() + signature.size() + nonce.size();
    pcrs.ForEach(
        [&](uint32_t, const crypto::Digest& value) { sum += value.size(); });
    return sum;
  }
};

struct ChunkMessage {
  std::vector<uint8_t> data;
  bool last = false;
  std::optional<absl::Time> arrived = std::nullopt;  // as a quote's
};

// --- To the agent.

struct ChallengeMessage {
  std::vector<uint8_t> nonce;
  std::vector<uint8_t> certificate_sha256;
  tpm::PcrSelection selection;
  absl::Duration answer_within;
  bool now = false;
  absl::Duration least_interval;
};

struct ListRequestMessage {
  uint64_t first_entry = 0;
  uint64_t byte_offset = 0;
};

struct VerdictMessage {
  AgentState state = AgentState::kPending;
  uint64_t next_entry = 0;
  uint64_t next_byte_offset = 0;
  uint64_t pending_count = 0;
  std::vector<std::string> findings;  // ids, the first few
  std::string reason = {};            // why nothing was decided
};

struct RefusalMessage {
  std::string reason;
  absl::Duration retry_after;
  // For this verifier's log: not sent.
  std::string detail = {};
  bool proven = false;  // whether the stream has shown a quote
};

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_SESSION_MESSAGES_H_
