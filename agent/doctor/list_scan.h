// A walk through the machine's measurement list, for the doctor.
#ifndef CUPEL_AGENT_DOCTOR_LIST_SCAN_H_
#define CUPEL_AGENT_DOCTOR_LIST_SCAN_H_

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/doctor/machine.h"
#include "agent/sources/ima_list_source.h"
#include "common/crypto/digest.h"
#include "common/ima/entry.h"

namespace cupel::agent {

// The configured list, below the machine's root. Errors of ImaListSource::Open.
absl::StatusOr<std::unique_ptr<ImaListSource>> OpenList(const Machine& machine);

// Hands over the list's entries, to its end or up to byte `end`, piece by piece
// and keeping none. Returns how many bytes that were. Errors of the source, of
// ListParser, and of `sink`.
absl::StatusOr<uint64_t> ReadEntries(
    ImaListSource& source, uint64_t end,
    absl::FunctionRef<absl::Status(std::span<const ima::Entry>)> sink);

// What the list is made of.
struct ListScan {
  uint64_t entry_count = 0;
  uint64_t violation_count = 0;
  std::map<std::string, uint64_t> templates;  // by name, fit for a terminal
  std::map<std::string, uint64_t> hashes;     // of files: "sha256"
  uint64_t unknown_count = 0;    // of templates that Cupel does not know
  uint64_t malformed_count = 0;  // that do not fit their template
};

// Errors of OpenList and ReadEntries.
absl::StatusOr<ListScan> ScanList(const Machine& machine);

// The digests that the list has for `path`, of whatever algorithm. Errors as
// above.
absl::StatusOr<std::vector<crypto::Digest>> DigestsOf(const Machine& machine,
                                                      const std::string& path);

// True if one of them is of `content`.
bool HasDigestOf(std::span<const crypto::Digest> digests,
                 std::span<const uint8_t> content);

}  // namespace cupel::agent

#endif  // CUPEL_AGENT_DOCTOR_LIST_SCAN_H_
