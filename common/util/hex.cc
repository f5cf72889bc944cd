#include "common/util/hex.h"

#include <array>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace cupel {
namespace {

constexpr uint8_t kNotHex = 0xff;

constexpr std::array<uint8_t, 256> MakeNibbles() {
  std::array<uint8_t, 256> table{};
  for (auto& value : table) value = kNotHex;
  for (unsigned i = 0; i < 10; ++i) {
    table['0' + i] = static_cast<uint8_t>(i);
  }
  for (unsigned i = 0; i < 6; ++i) {
    table['a' + i] = static_cast<uint8_t>(10 + i);
    table['A' + i] = static_cast<uint8_t>(10 + i);
  }
  return table;
}

constexpr std::array<uint8_t, 256> kNibbles = MakeNibbles();

uint8_t Nibble(char c) { return kNibbles[static_cast<uint8_t>(c)]; }

}  // namespace

std::string HexEncode(std::span<const uint8_t> bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  hex.reserve(bytes.size() * 2);
  for (const uint8_t byte : bytes) {
    hex.push_back(kDigits[byte >> 4]);
    hex.push_back(kDigits[byte & 15]);
  }
  return hex;
}

bool HexDecodeTo(absl::string_view hex, std::span<uint8_t> out) {
  if (hex.size() != out.size() * 2) return false;
  uint8_t bad = 0;
  for (size_t i = 0; i < out.size(); ++i) {
    const uint8_t high = Nibble(hex[2 * i]);
    const uint8_t low = Nibble(hex[2 * i + 1]);
    bad |= high | low;
    out[i] = static_cast<uint8_t>(high << 4 | (low & 15));
  }
  return (bad & 0xf0) == 0;
}

absl::StatusOr<std::vector<uint8_t>> HexDecode(absl::string_view hex) {
  for (size_t i = 0; i < hex.size(); ++i) {
    if (Nibble(hex[i]) == kNotHex) {
      return absl::InvalidArgumentError(
          absl::StrCat("character ", i + 1, " is not a hex digit"));
    }
  }
  if (hex.size() % 2 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("odd number of hex digits (", hex.size(), ")"));
  }
  std::vector<uint8_t> bytes(hex.size() / 2);
  HexDecodeTo(hex, bytes);
  return bytes;
}

}  // namespace cupel
