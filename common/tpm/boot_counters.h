// What two quotes by one key say about the time between them.
#ifndef CUPEL_COMMON_TPM_BOOT_COUNTERS_H_
#define CUPEL_COMMON_TPM_BOOT_COUNTERS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "common/tpm/attest.h"

namespace cupel::tpm {

// Which boot it is (docs/protocol.md, 4).
struct BootCounts {
  uint32_t reset_count = 0;
  uint32_t restart_count = 0;
  friend bool operator==(const BootCounts&, const BootCounts&) = default;
};
inline BootCounts CountsOf(const ClockInfo& info) {
  return {info.reset_count, info.restart_count};
}

enum class BootRelation : uint8_t {
  kSameBoot,  // both counts are the same
  kRestart,   // the same reset count, another restart count: suspend to RAM and
              // resume, or a TPM Restart, which clears PCRs
  kNewBoot,   // another reset count
};

enum class CounterViolation : uint8_t {
  kClockBack,         // the clock went back although there was no reset
  kResetCountBack,    // the reset count went back
  kRestartCountBack,  // the restart count went back although there was no reset
};
// One sentence for people.
std::string CounterViolationText(CounterViolation violation);

struct CounterComparison {
  BootRelation relation = BootRelation::kSameBoot;
  // kNewBoot: how often the TPM was reset in between; 0 where the count went
  // back.
  uint32_t resets = 0;
  // kRestart: how often it was restarted or resumed; 0 where the count went
  // back.
  uint32_t restarts = 0;
  // Empty unless something is impossible for one TPM that was not cleared,
  // cloned or rolled back.
  std::vector<CounterViolation> violations;
};

// Compares the clock information of two verified quotes by the same key, the
// earlier one first (TPM 2.0 Part 1, 36 "Timing components").
//
// * The reset count grows by one with each TPM Reset and never goes back
//   (TPM2_Clear sets it to zero).
// * The restart count grows with each TPM Restart or Resume; a TPM Reset sets
//   it to zero.
// * The clock never goes back while the reset count stays: Restart and Resume
//   need an orderly shutdown, which saves it. Over a reset it may, since after
//   a power cut it starts from the last value saved. Two quotes within one
//   millisecond have the same clock: equality says nothing, and a replay is
//   found by its nonce.
// * `safe` alone is no violation: it is false for a while after every power
//   cut.
//
// The key must be in the endorsement hierarchy: the TPM obfuscates the counts
// for others (TPM 2.0 Part 2, 10.12.12).
CounterComparison CompareCounters(const ClockInfo& before,
                                  const ClockInfo& after);

}  // namespace cupel::tpm

#endif  // CUPEL_COMMON_TPM_BOOT_COUNTERS_H_
