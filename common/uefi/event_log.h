// The firmware's event log: what firmware and boot loader have extended into
// PCR 0 to 15, event by event, as the kernel hands it on in
// /sys/kernel/security/tpm0/binary_bios_measurements.
//
// Source: TCG PC Client Platform Firmware Profile 1.06, 10.2 to 10.4
// (TCG_PCClientPCREvent, TCG_EfiSpecIDEvent, TCG_PCR_EVENT2, StartupLocality).
#ifndef CUPEL_COMMON_UEFI_EVENT_LOG_H_
#define CUPEL_COMMON_UEFI_EVENT_LOG_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/crypto/digest.h"
#include "common/crypto/pcr.h"

namespace cupel::uefi {

// Larger logs, and logs of more events, are refused.
inline constexpr size_t kMaxEventLogSize = size_t{16} << 20;
inline constexpr size_t kMaxEventCount = 100'000;

// TCG_EVENTTYPE, those whose meaning Cupel uses. A value outside of the
// enumerators is possible: it is what the log says.
enum class EventType : uint32_t {
  kNoAction = 0x03,  // EV_NO_ACTION: not extended
};

struct Event {
  uint32_t pcr = 0;
  EventType type = EventType::kNoAction;
  // What was extended, a digest a bank at most; those of algorithms that Cupel
  // has no name for are left out.
  std::vector<crypto::Digest> digests;
  // What firmware says that it measured. Aliases the log. No digest need cover
  // it: which does is a matter of the type.
  std::span<const uint8_t> data;

  // nullptr if the event was not extended into that bank.
  const crypto::Digest* FindDigest(crypto::HashAlgorithm bank) const;
};

struct EventLog {
  // The banks that the log was written for: SHA-1 alone for the older form.
  std::vector<crypto::HashAlgorithm> banks;
  // In the order in which they were extended, the header among them.
  std::vector<Event> events;
};

// Parses a whole log, in either form: the older one with SHA-1 digests alone,
// or the one that begins with a TCG_EfiSpecIDEvent. A log without bytes has no
// bank and no event.
//
// Errors: kInvalidArgument, with the event's number and offset: a size that
// goes beyond the log, bytes behind the last event, a digest of an algorithm
// that the header does not list, or twice of one, a PCR above 23 in an event
// that is extended. kResourceExhausted: above the limits.
//
// Format: docs/formats/event-log.md.
// Trust: a log is the machine's word. Only PCR values that a TPM signed, and
// that the log's replay gives, make it more.
absl::StatusOr<EventLog> ParseEventLog(std::span<const uint8_t> log);

// By PCR; nullopt for one that no event extends.
using ReplayedPcrs =
    std::array<std::optional<crypto::Digest>, crypto::kPcrCount>;

// What the log's events give the PCRs of `bank`. PCR 0 starts with the locality
// that a StartupLocality event names; the others with zeros, as all do that a
// firmware extends.
//
// Errors: kNotFound, the log was not written for this bank; kInvalidArgument,
// an event lacks a digest for it; kUnimplemented, a bank that Cupel can't
// compute (crypto::IsReplayBank).
absl::StatusOr<ReplayedPcrs> ReplayEventLog(const EventLog& log,
                                            crypto::HashAlgorithm bank);

}  // namespace cupel::uefi

#endif  // CUPEL_COMMON_UEFI_EVENT_LOG_H_
