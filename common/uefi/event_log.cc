#include "common/uefi/event_log.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/util/byte_reader.h"
#include "common/util/bytes.h"
#include "common/util/status_context.h"
#include "common/util/status_macros.h"

namespace cupel::uefi {
namespace {

using crypto::Digest;
using crypto::HashAlgorithm;

constexpr absl::string_view kSpecId("Spec ID Event03\0", 16);
constexpr absl::string_view kStartupLocality("StartupLocality\0", 16);
// TCG_EfiSpecIDEvent.numberOfAlgorithms; a TPM has a handful of banks.
constexpr uint32_t kMaxAlgorithmCount = 16;
constexpr size_t kMaxVendorInfoSize = 255;

// An algorithm of the header: how many bytes its digests have, and whether
// Cupel knows it.
struct LogAlgorithm {
  uint16_t id = 0;
  uint16_t digest_size = 0;
  std::optional<HashAlgorithm> algorithm;
};

// TCG_PCClientPCREvent: the older form's events, and every log's first one.
absl::StatusOr<Event> ReadOldEvent(ByteReader& reader) {
  Event event;
  CUPEL_ASSIGN_OR_RETURN(event.pcr, reader.ReadU32("pcrIndex"));
  CUPEL_ASSIGN_OR_RETURN(const uint32_t type, reader.ReadU32("eventType"));
  event.type = static_cast<EventType>(type);
  CUPEL_ASSIGN_OR_RETURN(
      const auto digest,
      reader.ReadBytes(crypto::DigestSize(HashAlgorithm::kSha1), "digest"));
  CUPEL_ASSIGN_OR_RETURN(Digest sha1,
                         Digest::Create(HashAlgorithm::kSha1, digest));
  event.digests.push_back(sha1);
  CUPEL_ASSIGN_OR_RETURN(event.data,
                         reader.ReadSized32(kMaxEventLogSize, "event"));
  return event;
}

// TCG_PCR_EVENT2.
absl::StatusOr<Event> ReadEvent(ByteReader& reader,
                                std::span<const LogAlgorithm> algorithms) {
  Event event;
  CUPEL_ASSIGN_OR_RETURN(event.pcr, reader.ReadU32("pcrIndex"));
  CUPEL_ASSIGN_OR_RETURN(const uint32_t type, reader.ReadU32("eventType"));
  event.type = static_cast<EventType>(type);
  CUPEL_ASSIGN_OR_RETURN(const uint32_t count, reader.ReadU32("digests.count"));
  if (count > algorithms.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("digests: ", count, ", of ", algorithms.size(),
                     " algorithms that the header lists"));
  }
  std::vector<uint16_t> seen;
  for (uint32_t i = 0; i < count; ++i) {
    CUPEL_ASSIGN_OR_RETURN(const uint16_t id, reader.ReadU16("hashAlg"));
    const auto known = std::ranges::find(algorithms, id, &LogAlgorithm::id);
    if (known == algorithms.end() ||
        std::ranges::find(seen, id) != seen.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("digests: algorithm 0x", absl::Hex(id, absl::kZeroPad4),
                       known == algorithms.end() ? " is not in the header"
                                                 : " stands there twice"));
    }
    seen.push_back(id);
    CUPEL_ASSIGN_OR_RETURN(const auto bytes,
                           reader.ReadBytes(known->digest_size, "digest"));
    if (!known->algorithm.has_value()) continue;
    CUPEL_ASSIGN_OR_RETURN(const Digest digest,
                           Digest::Create(*known->algorithm, bytes));
    event.digests.push_back(digest);
  }
  CUPEL_ASSIGN_OR_RETURN(event.data,
                         reader.ReadSized32(kMaxEventLogSize, "event"));
  return event;
}

// TCG_EfiSpecIDEvent, behind its signature.
absl::StatusOr<std::vector<LogAlgorithm>> ReadSpecId(
    std::span<const uint8_t> data) {
  ByteReader reader(data);
  CUPEL_RETURN_IF_ERROR(reader.ReadBytes(kSpecId.size(), "signature").status());
  CUPEL_RETURN_IF_ERROR(reader.ReadU32("platformClass").status());
  // specVersionMinor, specVersionMajor, specErrata, uintnSize.
  CUPEL_RETURN_IF_ERROR(reader.ReadBytes(4, "specVersion").status());
  CUPEL_ASSIGN_OR_RETURN(const uint32_t count,
                         reader.ReadU32("numberOfAlgorithms"));
  if (count == 0 || count > kMaxAlgorithmCount) {
    return absl::InvalidArgumentError(
        absl::StrCat("numberOfAlgorithms: ", count));
  }
  std::vector<LogAlgorithm> algorithms;
  for (uint32_t i = 0; i < count; ++i) {
    LogAlgorithm entry;
    CUPEL_ASSIGN_OR_RETURN(entry.id, reader.ReadU16("algorithmId"));
    CUPEL_ASSIGN_OR_RETURN(entry.digest_size, reader.ReadU16("digestSize"));
    entry.algorithm = crypto::BankFromTcgId(entry.id);
    if (entry.algorithm.has_value() &&
        crypto::DigestSize(*entry.algorithm) != entry.digest_size) {
      return absl::InvalidArgumentError(
          absl::StrCat("digestSize: ", entry.digest_size, " for ",
                       crypto::HashAlgorithmName(*entry.algorithm)));
    }
    if (std::ranges::find(algorithms, entry.id, &LogAlgorithm::id) !=
        algorithms.end()) {
      return absl::InvalidArgumentError("an algorithm is listed twice");
    }
    algorithms.push_back(entry);
  }
  CUPEL_ASSIGN_OR_RETURN(const uint8_t vendor_size,
                         reader.ReadU8("vendorInfoSize"));
  static_assert(kMaxVendorInfoSize == UINT8_MAX);
  CUPEL_RETURN_IF_ERROR(reader.ReadBytes(vendor_size, "vendorInfo").status());
  CUPEL_RETURN_IF_ERROR(reader.ExpectEnd("TCG_EfiSpecIDEvent"));
  return algorithms;
}

bool BeginsWith(std::span<const uint8_t> data, absl::string_view signature) {
  return data.size() >= signature.size() &&
         AsText(data.first(signature.size())) == signature;
}

absl::Status CheckPcr(const Event& event) {
  // What is not extended has no PCR; firmware writes what it likes there.
  if (event.type == EventType::kNoAction || event.pcr < crypto::kPcrCount) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat("pcrIndex: ", event.pcr));
}

}  // namespace

const Digest* Event::FindDigest(HashAlgorithm bank) const {
  const auto found = std::ranges::find(digests, bank, &Digest::algorithm);
  return found == digests.end() ? nullptr : &*found;
}

absl::StatusOr<EventLog> ParseEventLog(std::span<const uint8_t> log) {
  if (log.size() > kMaxEventLogSize) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "event log: ", log.size(), " bytes, limit ", kMaxEventLogSize));
  }
  EventLog parsed;
  if (log.empty()) return parsed;
  ByteReader reader(log);
  // Empty in the older form.
  std::vector<LogAlgorithm> algorithms;
  while (!reader.empty()) {
    const std::string where =
        absl::StrCat("event ", parsed.events.size(), " at byte ",
                     log.size() - reader.remaining());
    if (parsed.events.size() >= kMaxEventCount) {
      return absl::ResourceExhaustedError(
          absl::StrCat(where, ": more than ", kMaxEventCount, " events"));
    }
    auto event = algorithms.empty() ? ReadOldEvent(reader)
                                    : ReadEvent(reader, algorithms);
    CUPEL_RETURN_IF_ERROR(WithContext(event.status(), where));
    CUPEL_RETURN_IF_ERROR(WithContext(CheckPcr(*event), where));
    if (parsed.events.empty() && event->type == EventType::kNoAction &&
        BeginsWith(event->data, kSpecId)) {
      if (event->pcr != 0 || !event->digests.front().IsZero()) {
        return absl::InvalidArgumentError(
            absl::StrCat(where, ": a header with a PCR or a digest"));
      }
      auto listed = ReadSpecId(event->data);
      CUPEL_RETURN_IF_ERROR(WithContext(listed.status(), where));
      algorithms = *std::move(listed);
    }
    parsed.events.push_back(*std::move(event));
  }
  for (const LogAlgorithm& entry : algorithms) {
    if (entry.algorithm.has_value()) parsed.banks.push_back(*entry.algorithm);
  }
  if (algorithms.empty()) parsed.banks.push_back(HashAlgorithm::kSha1);
  return parsed;
}

absl::StatusOr<ReplayedPcrs> ReplayEventLog(const EventLog& log,
                                            HashAlgorithm bank) {
  if (!crypto::IsReplayBank(bank)) {
    return absl::UnimplementedError(
        absl::StrCat("event log: ", crypto::HashAlgorithmName(bank),
                     " can't be computed here"));
  }
  if (std::ranges::find(log.banks, bank) == log.banks.end()) {
    return absl::NotFoundError(
        absl::StrCat("event log: it has no digests for the ",
                     crypto::HashAlgorithmName(bank), " bank"));
  }
  ReplayedPcrs pcrs;
  uint8_t startup_locality = 0;
  for (size_t i = 0; i < log.events.size(); ++i) {
    const Event& event = log.events[i];
    if (event.type == EventType::kNoAction) {
      if (event.pcr == 0 && BeginsWith(event.data, kStartupLocality) &&
          event.data.size() == kStartupLocality.size() + 1 &&
          !pcrs[0].has_value()) {
        startup_locality = event.data.back();
      }
      continue;
    }
    const Digest* const digest = event.FindDigest(bank);
    if (digest == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat("event ", i, ": no digest for the ",
                       crypto::HashAlgorithmName(bank), " bank"));
    }
    std::optional<Digest>& pcr = pcrs[event.pcr];
    if (!pcr.has_value()) {
      pcr = Digest(bank);
      if (event.pcr == 0) pcr->mutable_bytes().back() = startup_locality;
    }
    crypto::ExtendPcr(*pcr, digest->bytes());
  }
  return pcrs;
}

}  // namespace cupel::uefi
