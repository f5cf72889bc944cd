// What a store's column decodes to encodes to as many bytes (labels and PCRs
// may change their order), and to the same from then on: nothing in them is
// passed over, and nothing made up. Input: which column, and its bytes.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "verifier/store/codec.h"

namespace {

template <typename Decode, typename Encode>
void Check(std::span<const uint8_t> bytes, Decode decode, Encode encode) {
  const auto value = decode(bytes);
  if (!value.ok()) {
    if (value.status().code() != absl::StatusCode::kDataLoss) std::abort();
    return;
  }
  const std::vector<uint8_t> encoded = encode(*value);
  const bool older = bytes[1] < encoded[1];
  if (older ? encoded.size() < bytes.size() : encoded.size() != bytes.size()) {
    std::abort();
  }
  const auto again = decode(encoded);
  if (!again.ok() || encode(*again) != encoded) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace verifier = cupel::verifier;
  if (size == 0) return 0;
  const std::span<const uint8_t> bytes(data + 1, size - 1);
  switch (data[0] % 7) {
    case 0:
      Check(bytes, verifier::DecodeProgress, verifier::EncodeProgress);
      break;
    case 1:
      Check(bytes, verifier::DecodeCounts, verifier::EncodeCounts);
      break;
    case 2:
      Check(bytes, verifier::DecodeFindings, verifier::EncodeFindings);
      break;
    case 3:
      Check(bytes, verifier::DecodeAccepted, verifier::EncodeAccepted);
      break;
    case 4:
      Check(bytes, verifier::DecodeSettings, verifier::EncodeSettings);
      break;
    case 5:
      Check(bytes, verifier::DecodeEnrollment, verifier::EncodeEnrollment);
      break;
    default:
      Check(bytes, verifier::DecodeJudgedPolicies,
            verifier::EncodeJudgedPolicies);
      break;
  }
  return 0;
}
