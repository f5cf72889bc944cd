#ifndef CUPEL_AGENT_SOURCES_IMA_LIST_SOURCE_H_
#define CUPEL_AGENT_SOURCES_IMA_LIST_SOURCE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/attester/list_source.h"
#include "common/ima/list_parser.h"

namespace cupel::agent {

// The machine's measurement list, read as it grows. Not thread-safe.
//
// The kernel makes the list's bytes as they are read, from the first entry on,
// unless a descriptor goes on where it was. So there is one descriptor, kept
// open, and it is read only after the count has grown. The count is a file of
// its own, which costs microseconds (Linux security/integrity/ima/ima_fs.c).
//
// No part of the list is kept: memory is bounded by one piece.
class ImaListSource : public ListSource {
 public:
  // The most that ReadFrom returns at once.
  static constexpr size_t kMaxPieceSize = size_t{1} << 20;

  // `list_path` is binary_runtime_measurements, or a plain file of the same
  // format that somebody appends to. `count_path` is
  // runtime_measurements_count, or empty where there is none: the entries are
  // counted then, each once.
  //
  // Errors: kNotFound, kPermissionDenied, kUnavailable with path and cure.
  static absl::StatusOr<std::unique_ptr<ImaListSource>> Open(
      const std::string& list_path, const std::string& count_path,
      const ima::ListOptions& options = {});
  ~ImaListSource() override;
  ImaListSource(const ImaListSource&) = delete;
  ImaListSource& operator=(const ImaListSource&) = delete;

  // How many entries there are now. kInvalidArgument if the count file holds no
  // number, or a list that has to be counted is malformed; kUnavailable on an
  // I/O error. A list that was replaced by a shorter one is counted anew.
  absl::StatusOr<uint64_t> EntryCount() override;

  // The bytes from `byte_offset` on: at most `max_size` and at most
  // kMaxPieceSize, fewer only where the list ends; none at its end and beyond
  // it. Cheap where the last call ended; from anywhere else the kernel walks
  // the list from its head. kUnavailable on an I/O error.
  absl::StatusOr<std::vector<uint8_t>> ReadFrom(uint64_t byte_offset,
                                                size_t max_size) override;

 private:
  ImaListSource(std::string list_path, std::string count_path,
                const ima::ListOptions& options, int list, int count);

  absl::StatusOr<uint64_t> CountEntries();
  absl::Status CountNewEntries();

  const std::string list_path_;
  const std::string count_path_;
  const ima::ListOptions options_;
  const int list_;
  const int count_;  // -1 without a count file
  // Where CountEntries has got to: at the end of what it parsed, which may be
  // within a record.
  ima::ListParser counter_;
  uint64_t counted_offset_ = 0;
};

}  // namespace cupel::agent

#endif  // CUPEL_AGENT_SOURCES_IMA_LIST_SOURCE_H_
