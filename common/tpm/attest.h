// TPMS_ATTEST: what a TPM signs.
#ifndef CUPEL_COMMON_TPM_ATTEST_H_
#define CUPEL_COMMON_TPM_ATTEST_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "common/tpm/constants.h"
#include "common/tpm/pcr_selection.h"

namespace cupel::tpm {

// TPMS_CLOCK_INFO. TPM 2.0 Part 2, 10.11.1.
struct ClockInfo {
  uint64_t clock = 0;          // milliseconds, while the TPM has power
  uint32_t reset_count = 0;    // TPM Resets (boots) since TPM2_Clear
  uint32_t restart_count = 0;  // TPM Restarts and Resumes since the last reset
  // False if a clock at least this high may have been reported before the last
  // unorderly shutdown.
  bool safe = false;
  friend bool operator==(const ClockInfo&, const ClockInfo&) = default;
};

// TPMS_QUOTE_INFO. TPM 2.0 Part 2, 10.12.1.
struct QuoteInfo {
  PcrSelection selection;
  std::vector<uint8_t> pcr_digest;
  friend bool operator==(const QuoteInfo&, const QuoteInfo&) = default;
};

// The fields that every kind of TPMS_ATTEST has.
struct AttestHeader {
  uint32_t magic = kGeneratedValue;
  StructureTag type = StructureTag::kAttestQuote;
  // A name: algorithm id and digest, or a handle (4 bytes), or nothing.
  std::vector<uint8_t> qualified_signer;
  std::vector<uint8_t> extra_data;
  ClockInfo clock_info;
  uint64_t firmware_version = 0;
  friend bool operator==(const AttestHeader&, const AttestHeader&) = default;
};

// A TPMS_ATTEST of type TPM_ST_ATTEST_QUOTE.
struct Attest : AttestHeader {
  QuoteInfo quote;
  friend bool operator==(const Attest&, const Attest&) = default;
};

// A TPMS_ATTEST of any type, its type's own part unread.
struct RawAttest {
  AttestHeader header;
  std::span<const uint8_t> attested;  // aliases what was parsed
};

// Parses a TPMS_ATTEST (TPM 2.0 Part 2, 10.12.12), which is what a quote signs
// and tpm2_quote -m writes. Big-endian; nothing may be left over.
//
// Trust: hostile until its signature by a key that only a TPM can use is
// checked: see quote.h.
//
// Errors: kInvalidArgument names the field: cut, oversized, magic other than
// TPM_GENERATED_VALUE, `safe` neither 0 nor 1, bytes left over. kUnimplemented
// for a type other than a quote, which it names.
absl::StatusOr<Attest> ParseAttest(std::span<const uint8_t> bytes);

// The two halves of ParseAttest, for who wants to go on after a wrong magic or
// type: neither looks at them.
absl::StatusOr<RawAttest> ParseRawAttest(std::span<const uint8_t> bytes);
absl::StatusOr<QuoteInfo> ParseQuoteInfo(std::span<const uint8_t> bytes);

// As a TPM marshals it.
std::vector<uint8_t> SerializeAttest(const Attest& attest);

}  // namespace cupel::tpm

#endif  // CUPEL_COMMON_TPM_ATTEST_H_
