#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "common/crypto/pcr.h"
#include "common/uefi/event_log.h"

// What parses can be replayed in each bank that it was written for, unless an
// event lacks a digest; and no event reaches beyond the log.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const uint8_t> input(data, size);
  const auto log = cupel::uefi::ParseEventLog(input);
  if (!log.ok()) return 0;
  for (const cupel::uefi::Event& event : log->events) {
    if (event.data.empty()) continue;
    if (event.data.data() < data ||
        event.data.data() + event.data.size() > data + size) {
      std::abort();
    }
  }
  for (const auto bank : cupel::crypto::kPcrBanks) {
    const auto pcrs = cupel::uefi::ReplayEventLog(*log, bank);
    if (!pcrs.ok()) continue;
    for (const auto& pcr : *pcrs) {
      if (pcr.has_value() && pcr->algorithm() != bank) std::abort();
    }
  }
  return 0;
}
