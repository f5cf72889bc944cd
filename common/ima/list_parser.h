// Streaming parser of the Linux IMA runtime measurement list in its binary
// form, securityfs ima/binary_runtime_measurements.
//
// Trust: hostile until the replayed PCR equals a verified quote's.
//
// Format: Linux security/integrity/ima/ima_fs.c, ima_measurements_show(). A
// record after another, integers in the byte order of the host that wrote them:
//
//   u32 pcr | u8[n] template_digest | u32 name_size | u8[name_size] name
//   | u32 data_size | u8[data_size] template_data         every template but
//   | u8[20] digest | u32 size | u8[size] file name       the one called "ima"
//
// n is 20 in the plain file and the bank's digest size in the bank's file.
#ifndef CUPEL_COMMON_IMA_LIST_PARSER_H_
#define CUPEL_COMMON_IMA_LIST_PARSER_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/ima/entry.h"
#include "common/util/byte_reader.h"

namespace cupel::ima {

// Bounds on a list. They are Cupel's, not the kernel's: a path has at most
// 4 KiB there, an extended attribute 64 KiB, and a buffer (kernel command line,
// key, critical data) is far under a MiB.
// A size over 1 GiB counts as 1 GiB.
struct ListLimits {
  // In the whole list: those before ListOptions::first_index count.
  uint64_t max_entries = 10'000'000;
  size_t max_template_name_size = 256;
  // Of every template but "ima", whose record has a bound of its own.
  size_t max_template_data_size = size_t{1} << 20;
};

struct ListOptions {
  ByteOrder byte_order = ByteOrder::kLittle;
  // 20, 32, 48 or 64.
  size_t template_digest_size = 20;
  ListLimits limits = {};
  // Where the first byte fed stands in the whole list, for a resumed one.
  uint64_t first_index = 0;
  uint64_t first_offset = 0;
};

// Splits a list that arrives in chunks of any size into entries, without
// copying records that lie within one chunk. How the list is cut into chunks
// changes nothing in the entries, nor in the error. Memory is bounded by one
// record's size, and grows only with bytes that have arrived. Not thread-safe.
class ListParser {
 public:
  // Entries alias the fed chunk or this parser; valid during the call only.
  using Sink = absl::FunctionRef<absl::Status(std::span<const Entry>)>;

  explicit ListParser(const ListOptions& options);

  // Parses `chunk` after what was fed before, and hands every record that is
  // complete to `sink`, in order, in batches of 1 to kBatchSize entries. A
  // status from `sink` ends the call and is returned.
  //
  // Errors: kInvalidArgument for a malformed record (a PCR over 23, a template
  // name that is empty or not printable ASCII, a file name over 255 bytes in
  // the template "ima") or an unusable ListOptions::template_digest_size;
  // kResourceExhausted for a limit that was passed. Those of a record name
  // entry, offset and field, and come as soon as the offending field has
  // arrived, after every record before it has been handed over. After an error,
  // the sink's included, every further call returns it again.
  absl::Status Feed(std::span<const uint8_t> chunk, Sink sink);

  // OK if the bytes fed end where a record ends; kInvalidArgument if within
  // one; Feed's error if there was one.
  absl::Status Finish() const;

  // Of the whole records that `sink` took with OK, `first_...` included.
  uint64_t entry_count() const { return entry_count_; }
  uint64_t byte_offset() const { return byte_offset_; }

  static constexpr size_t kBatchSize = 256;

 private:
  // What is wrong with a record, or missing.
  enum class Problem : uint8_t {
    kNone,
    kCutOff,  // `value` = how many bytes are needed to go on
    kPcr,
    kNameEmpty,
    kNameLimit,
    kNameText,
    kDataLimit,
    kFileNameSize,
  };
  struct Outcome {
    Problem problem = Problem::kNone;
    uint64_t value = 0;
  };

  Outcome ParseRecord(std::span<const uint8_t> bytes, Entry& entry) const;
  // Copies bytes from `chunk` to `carry_` until the record in it is complete,
  // and puts it into `batch_`. Returns the bytes after it; none if the record
  // is still not complete.
  absl::StatusOr<std::span<const uint8_t>> CompleteCarry(
      std::span<const uint8_t> chunk);
  absl::Status FeedUnlessFailed(std::span<const uint8_t> chunk, Sink sink);
  absl::Status Flush(Sink sink);
  absl::Status Describe(const Outcome& outcome) const;
  bool AtEntryLimit() const { return next_index_ >= limits_.max_entries; }

  ListLimits limits_;
  size_t digest_size_;
  ByteOrder byte_order_;
  absl::Status status_;

  // The beginning of a record whose end has not arrived, and the size it must
  // reach before a look at it can tell more.
  std::vector<uint8_t> carry_;
  size_t carry_needed_ = 0;

  // Parsed, not yet handed over: the first `batch_size_` of kBatchSize.
  std::vector<Entry> batch_;
  size_t batch_size_ = 0;
  // Of the record being parsed.
  uint64_t next_index_;
  uint64_t next_offset_;

  uint64_t entry_count_;
  uint64_t byte_offset_;
};

}  // namespace cupel::ima

#endif  // CUPEL_COMMON_IMA_LIST_PARSER_H_
