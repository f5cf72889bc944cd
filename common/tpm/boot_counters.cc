#include "common/tpm/boot_counters.h"

namespace cupel::tpm {

std::string CounterViolationText(CounterViolation violation) {
  switch (violation) {
    case CounterViolation::kClockBack:
      return "the TPM's clock went back without a reset";
    case CounterViolation::kResetCountBack:
      return "the TPM's reset count went back";
    case CounterViolation::kRestartCountBack:
      return "the TPM's restart count went back without a reset";
  }
  return "unknown";
}

CounterComparison CompareCounters(const ClockInfo& before,
                                  const ClockInfo& after) {
  CounterComparison result;
  if (after.reset_count != before.reset_count) {
    result.relation = BootRelation::kNewBoot;
    if (after.reset_count > before.reset_count) {
      result.resets = after.reset_count - before.reset_count;
    } else {
      result.violations.push_back(CounterViolation::kResetCountBack);
    }
    return result;
  }
  if (after.restart_count != before.restart_count) {
    result.relation = BootRelation::kRestart;
    if (after.restart_count > before.restart_count) {
      result.restarts = after.restart_count - before.restart_count;
    } else {
      result.violations.push_back(CounterViolation::kRestartCountBack);
    }
  }
  if (after.clock < before.clock) {
    result.violations.push_back(CounterViolation::kClockBack);
  }
  return result;
}

}  // namespace cupel::tpm
