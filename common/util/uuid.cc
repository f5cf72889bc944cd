#include "common/util/uuid.h"

#include <openssl/rand.h>

#include <array>
#include <cstdint>

#include "absl/status/status.h"

namespace cupel {

absl::StatusOr<AgentId> NewAgentId() {
  std::array<uint8_t, 16> bytes{};
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) {
    return absl::InternalError("no random bytes for a new agent id");
  }
  bytes[6] = static_cast<uint8_t>((bytes[6] & 0x0f) | 0x40);  // version 4
  bytes[8] = static_cast<uint8_t>((bytes[8] & 0x3f) | 0x80);  // RFC 4122
  return AgentId::FromBytes(bytes);
}

}  // namespace cupel
