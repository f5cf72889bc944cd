// What boot an agent is allowed: a rule over PCR values (docs/protocol.md, 7).
#ifndef CUPEL_COMMON_POLICY_BOOT_RULE_H_
#define CUPEL_COMMON_POLICY_BOOT_RULE_H_

#include <cstdint>
#include <map>
#include <optional>
#include <variant>
#include <vector>

#include "common/crypto/digest.h"
#include "common/crypto/pcr.h"

namespace cupel::policy {

using crypto::kPcrCount;
using crypto::PcrLookup;

// Any boot. Only where the operator said so; every verdict names it.
struct AnyBoot {};

// Static values, as tpm_policy.h reads them.
struct StaticPcrs {
  // PCR to the values that it may have, each of its algorithm's bank.
  std::map<uint32_t, std::vector<crypto::Digest>> values;
  // Bit N: PCR N must be quoted, in any bank of crypto::kPcrBanks. Includes
  // those with values.
  uint32_t mask = 0;
};

// The boot that an operator approved: ComputeBootComposite was this.
struct PinnedBoot {
  crypto::Digest composite;  // its algorithm names the bank
};

using BootRule = std::variant<AnyBoot, StaticPcrs, PinnedBoot>;

// True if a rule says nothing about any PCR that holds: whoever runs the
// machine can set PCR 16 and those behind it to any value.
bool AllowsAnyBoot(const BootRule& rule);

struct BootMismatch {
  enum class Kind : uint8_t {
    kNotQuoted,  // the PCR is in no bank that the rule could use
    kValue,      // it has a value that is not allowed
    kComposite,  // the PCRs 0 to 9 together are not the pinned ones
  };
  Kind kind;
  uint32_t pcr = 0;                      // no meaning for kComposite
  std::vector<crypto::Digest> expected;  // empty for kNotQuoted by mask alone
  std::optional<crypto::Digest> found;
};

// Everything that keeps a boot from being the allowed one; empty if it is.
// `lookup` knows the values that a verified quote covers, and no others.
//
// A PCR with values in several banks must have an allowed one in each of these
// banks that is quoted, and at least one must be.
std::vector<BootMismatch> CheckBoot(const BootRule& rule, PcrLookup lookup);

// The hash, by the bank's algorithm, of PCR 0 to 9 one after another. IMA's
// boot_aggregate is the same, but for SHA-1, where it leaves out PCR 8 and 9
// (common/ima/boot_aggregate.h). nullopt if one of them is not quoted, or if
// nothing here computes that algorithm.
std::optional<crypto::Digest> ComputeBootComposite(crypto::HashAlgorithm bank,
                                                   PcrLookup lookup);

}  // namespace cupel::policy

#endif  // CUPEL_COMMON_POLICY_BOOT_RULE_H_
