// Which PCRs an agent's next quote has to cover.
#ifndef CUPEL_VERIFIER_SESSION_QUOTE_SELECTION_H_
#define CUPEL_VERIFIER_SESSION_QUOTE_SELECTION_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/appraisal/appraise.h"
#include "common/appraisal/finding.h"
#include "common/ima/replay.h"
#include "common/policy/boot_rule.h"
#include "common/tpm/pcr_selection.h"

namespace cupel::verifier {

// What the agent says of itself: it may add to a selection, and never take
// anything away [A35].
struct SelectionHints {
  std::vector<crypto::HashAlgorithm> banks;
  std::vector<uint32_t> list_pcrs;
};

// What earlier appraisals on this stream could not do for want of PCRs.
struct SelectionNeeds {
  uint32_t pcrs = 0;  // bit n: the list extends PCR n
  // Of boot_aggregate, if it is of another bank than the quoted one.
  std::vector<crypto::HashAlgorithm> boot_banks;

  // Adds what `findings` ask for; true if that is anything new.
  bool Learn(std::span<const appraisal::Finding> findings);
};

// PCR 0 to 9, PCR 10 and every PCR that the list is known to extend, or has to
// (`reference`), in
// `wanted_bank`, an operator's choice. Without one it is a bank that an earlier
// quote has proven (`progress`), else one of the hints: SHA-256 where it is
// among them, else the least of those with larger digests, since a kernel may
// fill these with padded SHA-1 digests unseen. So no hint replaces a bank that
// was proven.
//
// A bank that is known to be filled so counts as SHA-1, and SHA-1 is asked for
// only where `reference` allows it and nothing better was shown. Without any of
// these it is the SHA-256 bank.
//
// After it come the PCRs that the boot rule needs in other banks, and PCR 0 to
// 9 of the banks of boot_aggregate as far as the agent is known to have them (a
// TPM signs an empty selection for a bank that is not allocated).
tpm::PcrSelection SelectPcrs(
    const appraisal::Reference& reference, const appraisal::Progress& progress,
    const SelectionHints& hints, const SelectionNeeds& needs,
    std::optional<crypto::HashAlgorithm> wanted_bank = std::nullopt);

// The bank that `wanted` (of SelectPcrs) begins with, if the agent's TPM has no
// PCRs in it, as the hints say: asking for it gets a quote of nothing. nullopt
// without such hints, and where a quote `of_this_boot` has proven the bank
// (`progress`): it can't have gone since.
std::optional<crypto::HashAlgorithm> LackedBank(
    const tpm::PcrSelection& wanted, const appraisal::Progress& progress,
    bool of_this_boot, const SelectionHints& hints);
// Which that is and what to do about it, a sentence for people at both ends.
std::string LackedBankReason(crypto::HashAlgorithm lacked,
                             const SelectionHints& hints,
                             bool is_wanted_by_operator);

// The banks in which an appraisal of a quote of `selection` replays the list.
std::vector<ima::Bank> ReplayBanks(const tpm::PcrSelection& selection,
                                   const appraisal::Reference& reference);

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_SESSION_QUOTE_SELECTION_H_
