#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "common/util/bytes.h"
#include "common/util/hex.h"

namespace {

void Check(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const uint8_t> bytes(data, size);
  const auto back = cupel::HexDecode(cupel::HexEncode(bytes));
  Check(back.ok() && *back == cupel::ToVector(bytes));

  // The two decoders agree, and what they accept is canonical but for case.
  const absl::string_view text = cupel::AsText(bytes);
  const auto decoded = cupel::HexDecode(text);
  std::vector<uint8_t> out(size / 2);
  Check(cupel::HexDecodeTo(text, out) == decoded.ok());
  if (decoded.ok()) {
    Check(out == *decoded);
    Check(cupel::HexEncode(*decoded) == absl::AsciiStrToLower(text));
  }
  return 0;
}
