#ifndef CUPEL_AGENT_ATTESTER_QUOTER_H_
#define CUPEL_AGENT_ATTESTER_QUOTER_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "common/tpm/pcr_selection.h"
#include "common/tpm/pcr_values.h"

namespace cupel::agent {

struct QuoteResult {
  std::vector<uint8_t> attest;       // TPMS_ATTEST
  std::vector<uint8_t> signature{};  // TPMT_SIGNATURE
  tpm::PcrValues pcrs{};             // behind its pcrDigest
};

// What makes quotes: the attestation key in the machine's TPM.
class Quoter {
 public:
  virtual ~Quoter() = default;

  // Has the TPM quote `selection` with `qualifying_data` in the quote, and
  // reads the values that it quoted. May block for as long as the TPM does.
  // Called by one thread at a time. Every error is taken for one that may pass:
  // the attester asks again.
  virtual absl::StatusOr<QuoteResult> Quote(
      std::span<const uint8_t> qualifying_data,
      const tpm::PcrSelection& selection) = 0;
};

}  // namespace cupel::agent

#endif  // CUPEL_AGENT_ATTESTER_QUOTER_H_
