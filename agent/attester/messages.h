// The messages of an attestation stream as plain values; the rpc layer converts
// them from and to proto/cupel/v1/evidence.proto, whose comments hold here.
#ifndef CUPEL_AGENT_ATTESTER_MESSAGES_H_
#define CUPEL_AGENT_ATTESTER_MESSAGES_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "common/crypto/digest.h"
#include "common/tpm/pcr_selection.h"
#include "common/tpm/pcr_values.h"
#include "common/util/agent_id.h"

namespace cupel::agent {

inline constexpr uint32_t kProtocolVersion = 1;
inline constexpr size_t kMaxQuoteSize = size_t{16} << 10;
inline constexpr size_t kMaxChunkSize = size_t{64} << 10;

// --- To the verifier.

struct HelloMessage {
  AgentId agent_id;
  uint32_t protocol_version = kProtocolVersion;
  std::string agent_version;
  uint64_t entry_count = 0;
  std::vector<crypto::HashAlgorithm> banks;
  std::vector<uint32_t> list_pcrs;
  bool big_endian = false;
  std::vector<std::vector<uint8_t>> previous_streams{};
};

struct QuoteMessage {
  std::vector<uint8_t> attest;     // TPMS_ATTEST
  std::vector<uint8_t> signature;  // TPMT_SIGNATURE
  tpm::PcrValues pcrs{};
  std::vector<uint8_t> nonce{};
  // Not sent: a piece of the list comes right behind it, and may travel within.
  bool list_follows = false;
};

struct ChunkMessage {
  std::vector<uint8_t> data;
  bool last = false;
};

using AgentMessage = std::variant<HelloMessage, QuoteMessage, ChunkMessage>;

// --- From the verifier.

struct ChallengeMessage {
  std::vector<uint8_t> nonce{};
  std::vector<uint8_t> certificate_sha256;
  tpm::PcrSelection selection;
  absl::Duration answer_within{};
  bool now = false;
  absl::Duration least_interval{};
};

struct ListRequestMessage {
  uint64_t first_entry = 0;
  uint64_t byte_offset = 0;
};

struct VerdictMessage {
  std::string state{};
  uint64_t next_entry = 0;
  uint64_t next_byte_offset = 0;
  uint64_t pending_count = 0;
  std::vector<std::string> findings{};
  std::string reason{};  // why nothing was decided
};

struct RefusalMessage {
  std::string reason;
  absl::Duration retry_after{};
};

using VerifierMessage = std::variant<ChallengeMessage, ListRequestMessage,
                                     VerdictMessage, RefusalMessage>;

}  // namespace cupel::agent

#endif  // CUPEL_AGENT_ATTESTER_MESSAGES_H_
