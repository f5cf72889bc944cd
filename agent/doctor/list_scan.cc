#include "agent/doctor/list_scan.h"

#include <algorithm>

#include "common/ima/list_parser.h"
#include "common/ima/template.h"
#include "common/util/escape.h"
#include "common/util/status_macros.h"

namespace cupel::agent {
namespace {

constexpr size_t kPieceSize = size_t{64} << 10;

void Note(const ima::Entry& entry, ListScan& scan) {
  ++scan.entry_count;
  if (entry.IsViolation()) ++scan.violation_count;
  ++scan.templates[EscapeForDisplay(entry.template_name)];
  const auto fields = ima::ParseFields(entry);
  if (!fields.ok()) {
    if (absl::IsUnimplemented(fields.status())) {
      ++scan.unknown_count;
    } else {
      ++scan.malformed_count;
    }
  } else if (fields->digest.has_value()) {
    ++scan.hashes[EscapeForDisplay(fields->digest->algorithm_name)];
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<ImaListSource>> OpenList(
    const Machine& machine) {
  const std::string& count = machine.config.ima_count;
  return ImaListSource::Open(machine.Path(machine.config.ima_list),
                             count.empty() ? "" : machine.Path(count));
}

absl::StatusOr<uint64_t> ReadEntries(
    ImaListSource& source, uint64_t end,
    absl::FunctionRef<absl::Status(std::span<const ima::Entry>)> sink) {
  ima::ListParser parser{ima::ListOptions{}};
  uint64_t offset = 0;
  while (offset < end) {
    const auto wanted =
        static_cast<size_t>(std::min<uint64_t>(kPieceSize, end - offset));
    CUPEL_ASSIGN_OR_RETURN(const auto piece, source.ReadFrom(offset, wanted));
    if (piece.empty()) break;
    offset += piece.size();
    CUPEL_RETURN_IF_ERROR(parser.Feed(piece, sink));
  }
  CUPEL_RETURN_IF_ERROR(parser.Finish());
  return offset;
}

absl::StatusOr<ListScan> ScanList(const Machine& machine) {
  CUPEL_ASSIGN_OR_RETURN(const auto source, OpenList(machine));
  ListScan scan;
  CUPEL_RETURN_IF_ERROR(ReadEntries(*source, UINT64_MAX,
                                    [&](std::span<const ima::Entry> entries) {
                                      for (const ima::Entry& entry : entries)
                                        Note(entry, scan);
                                      return absl::OkStatus();
                                    })
                            .status());
  return scan;
}

absl::StatusOr<std::vector<crypto::Digest>> DigestsOf(const Machine& machine,
                                                      const std::string& path) {
  CUPEL_ASSIGN_OR_RETURN(const auto source, OpenList(machine));
  std::vector<crypto::Digest> digests;
  const auto note = [&](const ima::Entry& entry) {
    const auto fields = ima::ParseFields(entry);
    if (!fields.ok() || fields->path != path || !fields->digest.has_value() ||
        !fields->digest->algorithm.has_value()) {
      return;
    }
    const auto digest = crypto::Digest::Create(*fields->digest->algorithm,
                                               fields->digest->bytes);
    if (digest.ok()) digests.push_back(*digest);
  };
  CUPEL_RETURN_IF_ERROR(ReadEntries(*source, UINT64_MAX,
                                    [&](std::span<const ima::Entry> entries) {
                                      for (const auto& entry : entries) {
                                        note(entry);
                                      }
                                      return absl::OkStatus();
                                    })
                            .status());
  return digests;
}

bool HasDigestOf(std::span<const crypto::Digest> digests,
                 std::span<const uint8_t> content) {
  return std::ranges::any_of(digests, [&](const crypto::Digest& digest) {
    return crypto::CanHash(digest.algorithm()) &&
           crypto::Hash(digest.algorithm(), content) == digest;
  });
}

}  // namespace cupel::agent
