#include "verifier/session/boot_setting.h"

#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "common/crypto/digest.h"
#include "common/policy/tpm_policy.h"
#include "common/util/hex.h"
#include "common/util/status_context.h"
#include "common/util/status_macros.h"

namespace cupel::verifier {

absl::StatusOr<policy::BootRule> BootRuleOf(absl::string_view boot,
                                            absl::string_view pinned_hex) {
  if (boot.empty()) {
    return absl::FailedPreconditionError(
        "boot: nothing says what boot is allowed: set \"any\", \"pinned\" or a "
        "tpm_policy with update");
  }
  if (boot == "any") return policy::AnyBoot{};
  if (boot == "pinned") {
    if (pinned_hex.empty()) {
      return absl::FailedPreconditionError(
          "boot: pinned, but no boot is approved yet: look at the composite in "
          "status, then approve it with reactivate");
    }
    const auto bytes = HexDecode(pinned_hex);
    CUPEL_RETURN_IF_ERROR(
        WithContext(bytes.status(), "boot: the approved composite"));
    const std::optional<crypto::HashAlgorithm> bank =
        crypto::ShaFromDigestSize(bytes->size());
    if (!bank.has_value()) {
      return absl::InvalidArgumentError(
          "boot: the approved composite has no digest's size");
    }
    CUPEL_ASSIGN_OR_RETURN(const crypto::Digest composite,
                           crypto::Digest::Create(*bank, *bytes));
    return policy::PinnedBoot{composite};
  }
  CUPEL_ASSIGN_OR_RETURN(policy::TpmPolicy parsed,
                         policy::ParseTpmPolicy(boot, "boot"));
  return policy::BootRule(std::move(parsed.pcrs));
}

}  // namespace cupel::verifier
