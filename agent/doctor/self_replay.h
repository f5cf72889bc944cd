// Does the machine's list explain its PCRs?
#ifndef CUPEL_AGENT_DOCTOR_SELF_REPLAY_H_
#define CUPEL_AGENT_DOCTOR_SELF_REPLAY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "agent/sources/ima_list_source.h"
#include "agent/tpm/tpm.h"

namespace cupel::agent {

enum class BankResult : uint8_t {
  kExplained,
  kPadded,       // by zero-padded SHA-1 digests alone
  kIncomplete,   // entries that were there before are not in the PCR
  kUnexplained,  // by no prefix of the list
  kUndecided,    // no replay computes the bank
};

struct BankReport {
  std::string bank;  // "sha256"; "0x0012" for one without a name
  BankResult result = BankResult::kUndecided;
  uint64_t explained_count = 0;  // entries; unless kUnexplained, kUndecided
};

struct SelfTestReport {
  uint64_t entry_count = 0;       // at least so many before the PCRs were read
  std::vector<BankReport> banks;  // every one that is allocated, none left out

  // 0: all of them are explained. 1: one is not. 2: none is known not to be,
  // but one could not be decided.
  int ExitCode() const;
  // One line a bank, with what to do.
  std::string Text() const;
  // {"entries", "banks": [{"bank", "result", "explained", "text", "cure"}]}
  std::string Json() const;
};

// "explained", "padded", "incomplete", "unexplained", "undecided".
absl::string_view BankResultName(BankResult result);
// What came of a bank, and what to do about it; the cure of kExplained is
// empty. `entry_count` is the report's.
std::string BankText(const BankReport& bank, uint64_t entry_count);
std::string BankCure(BankResult result);

// Replays `source` against the PCRs of each bank that `tpm` has allocated. The
// list is read in pieces and never kept. All entries that were there before the
// PCRs were read have to be in them: the kernel extends right after it has
// counted, so that a bank that lacks some is looked at again a few times.
//
// Errors: the TPM's and the source's; kFailedPrecondition for a TPM without
// banks and for an empty list; kInvalidArgument for a list that is malformed.
absl::StatusOr<SelfTestReport> CompareListWithPcrs(Tpm& tpm,
                                                   ImaListSource& source);

}  // namespace cupel::agent

#endif  // CUPEL_AGENT_DOCTOR_SELF_REPLAY_H_
