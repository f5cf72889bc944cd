// A policy that loads is written as JSON that loads again as the same policy,
// and what it lists is found.
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "common/policy/compiled_policy.h"
#include "common/policy/policy_file.h"
#include "common/policy/policy_writer.h"
#include "common/util/bytes.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using cupel::policy::LoadPolicyFile;
  const cupel::policy::PolicyFileOptions options{.origin = "fuzz",
                                                 .key = std::nullopt};
  auto policy =
      LoadPolicyFile(std::vector<uint8_t>(data, data + size), options);
  if (!policy.ok()) return 0;
  policy->digests.ForEach([&](absl::string_view path,
                              std::span<const cupel::crypto::Digest> digests) {
    if (!policy->digests.Contains(path)) std::abort();
    for (const cupel::crypto::Digest& digest : digests) {
      if (policy->digests.Match(path, digest.algorithm(), digest.bytes()) !=
          cupel::policy::DigestMatch::kListed) {
        std::abort();
      }
    }
  });
  const std::string json = cupel::policy::WritePolicyJson(*policy);
  const auto again =
      LoadPolicyFile(cupel::ToVector(cupel::AsBytes(json)), options);
  if (!again.ok()) std::abort();
  if (cupel::policy::WritePolicyJson(*again) != json) std::abort();
  if (again->digests.path_count() != policy->digests.path_count()) std::abort();

  const auto shared =
      std::make_shared<const cupel::policy::RuntimePolicy>(*std::move(policy));
  const auto compiled = cupel::policy::CompiledPolicy::Create({{shared}});
  if (!compiled.ok()) std::abort();
  for (const cupel::policy::DenyRule& rule : shared->deny) {
    if ((*compiled)->FindDeny(rule.digest.algorithm(), rule.digest.bytes()) ==
        nullptr) {
      std::abort();
    }
  }
  return 0;
}
