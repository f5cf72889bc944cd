// How policy files write a digest.
#ifndef CUPEL_COMMON_POLICY_DIGEST_TEXT_H_
#define CUPEL_COMMON_POLICY_DIGEST_TEXT_H_

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/crypto/digest.h"

namespace cupel::policy {

enum class HexCase { kLower, kAny };

// Parses `HEX` (SHA-1 or SHA-2 by its length) or `ALGORITHM:HEX` with the
// kernel's name of the algorithm. kInvalidArgument with a message that says
// what to write instead.
absl::StatusOr<crypto::Digest> ParseDigestText(absl::string_view text,
                                               HexCase hex_case);

// The inverse: plain hex where the length alone gives the algorithm back.
std::string FormatDigestText(const crypto::Digest& digest);

// kInvalidArgument, with the cure, for a digest by which nothing may be
// cleared: MD4 and MD5, for which other files with the same digest can be made,
// and RIPEMD-160, of the same age. A deny rule may have them.
absl::Status CheckMayAllow(const crypto::Digest& digest);

// The text of the warning "digest.sha1" for a file with `count` such digests.
std::string Sha1Warning(size_t count);

}  // namespace cupel::policy

#endif  // CUPEL_COMMON_POLICY_DIGEST_TEXT_H_
