#include "verifier/session/qualifying_data.h"

#include "common/crypto/digest.h"
#include "common/util/bytes.h"

namespace cupel::verifier {
namespace {

void AppendPrefixed(std::vector<uint8_t>& message,
                    std::span<const uint8_t> part) {
  AppendBe(message, static_cast<uint32_t>(part.size()));
  Append(message, part);
}

}  // namespace

std::vector<uint8_t> QuoteQualifyingData(
    std::span<const uint8_t> nonce, const AgentId& agent,
    std::span<const uint8_t> certificate_sha256) {
  std::vector<uint8_t> message;
  AppendPrefixed(message, AsBytes("cupel-quote-v1"));
  AppendPrefixed(message, nonce);
  AppendPrefixed(message, agent.bytes());
  AppendPrefixed(message, certificate_sha256);
  return ToVector(
      crypto::Hash(crypto::HashAlgorithm::kSha256, message).bytes());
}

}  // namespace cupel::verifier
