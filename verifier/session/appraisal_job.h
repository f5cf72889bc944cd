// One appraisal as a value that can be run anywhere.
#ifndef CUPEL_VERIFIER_SESSION_APPRAISAL_JOB_H_
#define CUPEL_VERIFIER_SESSION_APPRAISAL_JOB_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/appraisal/appraise.h"
#include "common/tpm/attestation_key.h"
#include "common/tpm/quote.h"
#include "verifier/session/byte_budget.h"
#include "verifier/store/store.h"

namespace cupel::verifier {

// What came of an AppraisalJob.
struct AppraisalOutcome {
  uint64_t job_id = 0;
  absl::StatusOr<appraisal::Appraisal> appraisal;
};

// Evidence with all that it is judged by. It owns or shares all of it, reads no
// clock and does no I/O, so that any thread may run it, later than the session
// that posted it if need be.
struct AppraisalJob {
  uint64_t id = 0;

  std::vector<uint8_t> list;
  // What the list's memory was taken from, if anything.
  std::shared_ptr<ByteBudget::Reservation> list_memory = nullptr;
  uint64_t first_entry = 0;
  ByteOrder byte_order = ByteOrder::kLittle;
  std::vector<uint8_t> attest;
  std::vector<uint8_t> signature;
  tpm::PcrValues pcrs;
  // The quote, where it was verified by what follows: it need not be again, and
  // the three above are not looked at.
  std::optional<tpm::VerifiedQuote> verified;

  std::shared_ptr<const tpm::AttestationKey> ak;
  std::vector<uint8_t> qualifying_data;
  tpm::PcrSelection selection;
  std::vector<uint8_t> ek_name;

  appraisal::Reference reference;
  // Why the agent's setting `boot` is no rule: then the list is judged as with
  // any boot, and the outcome is never a pass. Empty where there is a rule.
  std::string boot_problem;
  appraisal::Progress progress;
  tpm::ClockInfo clock_info;  // of the quote, which was verified
  // Of the last one that was judged, whatever came of it.
  std::optional<tpm::ClockInfo> judged_clock_info = std::nullopt;
  // What the stream's earlier quotes say against this one; each is a failure.
  // The TPM was reset since, which a reboot would have ended the stream with.
  bool reset_in_stream = false;
  // The TPM's clock has run ahead of this verifier's.
  bool clock_ahead = false;
  // What stands in the list behind its first `judged_entry_count` entries was
  // shown long ago: a failure unless this quote covers some of it.
  bool tail_overdue = false;
  uint64_t judged_entry_count = 0;
  // A span without evidence before this boot is a failure.
  bool gap_fails = false;
  std::vector<AcceptedFinding> accepted;

  // Appraises. Accepted findings are notices in what it returns; progress is
  // moved on as far as a pass by acceptance allows (clock and boot only). Never
  // throws: what is thrown is kInternal [A17].
  AppraisalOutcome Run() const;
};

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_SESSION_APPRAISAL_JOB_H_
