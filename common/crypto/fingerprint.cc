#include "common/crypto/fingerprint.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "common/util/escape.h"

namespace cupel::crypto {

absl::StatusOr<std::string> ParseFingerprint(absl::string_view text) {
  constexpr size_t kDigits = 64;
  constexpr size_t kMaxShown = 100;
  const std::string lower = absl::AsciiStrToLower(text);
  std::string digits =
      absl::StrReplaceAll(absl::StripPrefix(lower, "sha256:"), {{":", ""}});
  if (digits.size() != kDigits || !std::ranges::all_of(digits, [](char c) {
        return absl::ascii_isxdigit(static_cast<unsigned char>(c));
      })) {
    return absl::InvalidArgumentError(
        absl::StrCat(Quoted(text, kMaxShown), " is no SHA-256 fingerprint, ",
                     kDigits, " digits in hex"));
  }
  return digits;
}

}  // namespace cupel::crypto
