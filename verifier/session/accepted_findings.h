// What an operator has accepted, taken out of what an appraisal found.
#ifndef CUPEL_VERIFIER_SESSION_ACCEPTED_FINDINGS_H_
#define CUPEL_VERIFIER_SESSION_ACCEPTED_FINDINGS_H_

#include <span>
#include <string>

#include "absl/strings/string_view.h"
#include "common/appraisal/appraise.h"
#include "common/tpm/attest.h"
#include "verifier/store/store.h"

namespace cupel::verifier {

// Turns the failures that `accepted` names into notices, and the verdict into
// what the others leave of it. A pure function.
//
// A finding is the accepted one only if id, path and what was found are the
// same, in the boot of `clock_info` (both counts), and if a PCR covers it
// (Finding::authenticated): so the same file with other content fails, as does
// the same one after a reboot. Never accepted, whatever the record says: what
// is not appraisal::IsAcceptable.
//
// No other finding changes. Where findings were dropped for their number
// nothing is accepted: one of those may be a failure. A pass is a pass only if
// a verified quote explains the list (Proof::kQuote).
void ApplyAccepted(std::span<const AcceptedFinding> accepted,
                   const tpm::ClockInfo& clock_info,
                   appraisal::Appraisal& appraisal);

// What was found, as it goes on record: of a PCR with its number, since another
// one may have the same value.
std::string AcceptedText(const appraisal::Finding& finding);

// What an operator accepts `finding` by: "ID@" and 32 hexadecimal digits, of a
// SHA-256 over all that makes it this one (id, path, what was found, the boot).
// So nothing is accepted but what was looked at, whatever the machine shows by
// then. Empty where it can't be accepted: appraisal::IsAcceptable doesn't have
// its id, or nobody knows of which boot it is.
std::string AcceptanceOf(const appraisal::Finding& finding);

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_SESSION_ACCEPTED_FINDINGS_H_
