// An allowlist that parses is written as one that parses as the same; as a deny
// list it denies a digest for each of its lines.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "common/policy/allowlist.h"
#include "common/policy/policy_writer.h"
#include "common/util/bytes.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto deny =
      cupel::policy::ParseDenyList(cupel::AsText({data, size}), "fuzz");
  if (deny.ok() && deny->digests.digest_count() != 0) std::abort();
  const auto policy =
      cupel::policy::ParseAllowlist(cupel::AsText({data, size}), "fuzz");
  // What may be allowed may be denied.
  if (policy.ok() && !deny.ok()) std::abort();
  if (policy.ok() && deny->deny.size() < policy->digests.digest_count()) {
    std::abort();
  }
  if (!policy.ok()) return 0;
  policy->digests.ForEach([](absl::string_view path,
                             std::span<const cupel::crypto::Digest> digests) {
    if (path.empty() || digests.empty()) std::abort();
    if (path.find('\0') != path.npos) std::abort();
  });
  const std::string text = cupel::policy::WriteAllowlist(policy->digests);
  const auto again = cupel::policy::ParseAllowlist(text, "fuzz");
  if (!again.ok()) std::abort();
  if (again->digests.digest_count() != policy->digests.digest_count()) {
    std::abort();
  }
  if (cupel::policy::WriteAllowlist(again->digests) != text) std::abort();
  return 0;
}
