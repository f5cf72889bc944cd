#include "common/policy/digest_text.h"

#include <algorithm>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/util/escape.h"
#include "common/util/hex.h"

namespace cupel::policy {
namespace {

constexpr size_t kShownDigestSize = 140;

std::string Shown(absl::string_view text) {
  return Quoted(text, kShownDigestSize);
}

}  // namespace

absl::StatusOr<crypto::Digest> ParseDigestText(absl::string_view text,
                                               HexCase hex_case) {
  absl::string_view hex = text;
  std::optional<crypto::HashAlgorithm> algorithm;
  if (const size_t colon = text.find(':'); colon != text.npos) {
    algorithm = crypto::HashAlgorithmFromName(text.substr(0, colon));
    if (!algorithm) {
      return absl::InvalidArgumentError(
          absl::StrCat(Shown(text), ": unknown hash algorithm"));
    }
    hex.remove_prefix(colon + 1);
    if (hex.size() != 2 * crypto::DigestSize(*algorithm)) {
      return absl::InvalidArgumentError(
          absl::StrCat(Shown(text), ": ", hex.size(), " digits, ",
                       crypto::HashAlgorithmName(*algorithm), " has ",
                       2 * crypto::DigestSize(*algorithm)));
    }
  } else {
    if (hex.size() % 2 == 0) {
      algorithm = crypto::ShaFromDigestSize(hex.size() / 2);
    }
    if (!algorithm) {
      return absl::InvalidArgumentError(absl::StrCat(
          Shown(text), ": ", hex.size(),
          " characters; a digest has 40 (SHA-1), 56, 64 (SHA-256), 96 or 128 "
          "hex digits, or is written ALGORITHM:HEX"));
    }
  }
  crypto::Digest digest(*algorithm);
  if (!HexDecodeTo(hex, digest.mutable_bytes())) {
    return absl::InvalidArgumentError(
        absl::StrCat(Shown(text), ": not hex digits"));
  }
  if (hex_case == HexCase::kLower &&
      std::ranges::any_of(hex, [](char c) { return c >= 'A' && c <= 'F'; })) {
    return absl::InvalidArgumentError(
        absl::StrCat(Shown(text), ": upper-case hex; write ",
                     Shown(absl::AsciiStrToLower(text))));
  }
  return digest;
}

std::string FormatDigestText(const crypto::Digest& digest) {
  if (crypto::ShaFromDigestSize(digest.size()) == digest.algorithm()) {
    return digest.Hex();
  }
  return digest.ToString();
}

absl::Status CheckMayAllow(const crypto::Digest& digest) {
  switch (digest.algorithm()) {
    case crypto::HashAlgorithm::kMd4:
    case crypto::HashAlgorithm::kMd5:
    case crypto::HashAlgorithm::kRmd160:
      return absl::InvalidArgumentError(absl::StrCat(
          crypto::HashAlgorithmName(digest.algorithm()),
          " is too weak to prove what a file is: list its SHA-256, and measure "
          "with ima_hash=sha256"));
    default:
      return absl::OkStatus();
  }
}

std::string Sha1Warning(size_t count) {
  return absl::StrCat(count,
                      " digests are SHA-1, which no longer proves what a file "
                      "is: measure with ima_hash=sha256 and list SHA-256");
}

}  // namespace cupel::policy
