#ifndef CUPEL_COMMON_CRYPTO_FINGERPRINT_H_
#define CUPEL_COMMON_CRYPTO_FINGERPRINT_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace cupel::crypto {

// A certificate's SHA-256 fingerprint as people copy it, in either case, with
// colons or without, "sha256:" before it or not: "SHA256:AB:12..." becomes its
// 64 lower-case digits. kInvalidArgument for anything else; the message shows
// the text, escaped.
absl::StatusOr<std::string> ParseFingerprint(absl::string_view text);

}  // namespace cupel::crypto

#endif  // CUPEL_COMMON_CRYPTO_FINGERPRINT_H_
