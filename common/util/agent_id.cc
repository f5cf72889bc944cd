#include "common/util/agent_id.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/util/bytes.h"
#include "common/util/escape.h"
#include "common/util/hex.h"

namespace cupel {
namespace {

// Where the hyphens stand in the text form (RFC 4122, 3).
constexpr size_t kTextSize = 36;
constexpr bool IsHyphenAt(size_t at) {
  return at == 8 || at == 13 || at == 18 || at == 23;
}
constexpr size_t kShownIdSize = 64;

}  // namespace

absl::StatusOr<AgentId> AgentId::Parse(absl::string_view text) {
  const auto error = [&](absl::string_view why) {
    return absl::InvalidArgumentError(
        absl::StrCat("agent id ", Quoted(text, kShownIdSize), ": ", why,
                     "; it has the form d432fbb3-d2f1-4a97-9ef7-75bd81c00000"));
  };
  if (text.size() != kTextSize) return error("not 36 characters");
  std::string digits;
  for (size_t i = 0; i < text.size(); ++i) {
    if ((text[i] == '-') != IsHyphenAt(i)) return error("hyphens misplaced");
    if (!IsHyphenAt(i)) digits.push_back(text[i]);
  }
  const auto bytes = HexDecode(digits);
  if (!bytes.ok()) return error("not hexadecimal");
  return FromBytes(*bytes);
}

absl::StatusOr<AgentId> AgentId::FromBytes(std::span<const uint8_t> bytes) {
  AgentId id;
  if (bytes.size() != id.bytes_.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("agent id of ", bytes.size(), " bytes, expected 16"));
  }
  if (IsZero(bytes)) return absl::InvalidArgumentError("agent id of zeros");
  std::ranges::copy(bytes, id.bytes_.begin());
  return id;
}

std::string AgentId::ToString() const {
  const std::string hex = HexEncode(bytes_);
  std::string text;
  for (const char c : hex) {
    if (IsHyphenAt(text.size())) text.push_back('-');
    text.push_back(c);
  }
  return text;
}

}  // namespace cupel
