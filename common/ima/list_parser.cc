#include "common/ima/list_parser.h"

#include <algorithm>
#include <string>

#include "absl/base/optimization.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/ima/hashed_data.h"
#include "common/ima/load_u32.h"
#include "common/util/bytes.h"
#include "common/util/status_macros.h"

namespace cupel::ima {
namespace {

// Keeps a record's size within Entry::record_size.
constexpr size_t kMaxLimit = size_t{1} << 30;

bool IsDigestSize(size_t size) {
  return size == 20 || size == 32 || size == 48 || size == 64;
}

// '!' to '~': a custom format string holds '|', so letters are not enough.
bool IsGraphic(absl::string_view text) {
  bool graphic = true;
  for (const char c : text) {
    graphic &= static_cast<uint8_t>(c - '!') <= '~' - '!';
  }
  return graphic;
}

}  // namespace

ListParser::ListParser(const ListOptions& options)
    : limits_(options.limits),
      digest_size_(options.template_digest_size),
      byte_order_(options.byte_order),
      batch_(kBatchSize),
      next_index_(options.first_index),
      next_offset_(options.first_offset),
      entry_count_(options.first_index),
      byte_offset_(options.first_offset) {
  limits_.max_template_name_size =
      std::min(limits_.max_template_name_size, kMaxLimit);
  limits_.max_template_data_size =
      std::min(limits_.max_template_data_size, kMaxLimit);
  if (!IsDigestSize(digest_size_)) {
    status_ = absl::InvalidArgumentError(absl::StrCat(
        "template digest size ", digest_size_, ", expected 20, 32, 48 or 64"));
  }
}

// Runs once a record, so it works on sizes instead of ByteReader's StatusOr.
// The rule that keeps it in bounds: `used` bytes have been seen, `used <=
// bytes.size()`, and every step compares what it wants with
// `bytes.size() - used` before it touches a byte. Nothing is added to a size
// from the list before that size has passed its limit, so nothing can wrap.
ListParser::Outcome ListParser::ParseRecord(std::span<const uint8_t> bytes,
                                            Entry& entry) const {
  const uint8_t* const data = bytes.data();
  const size_t size = bytes.size();

  size_t used = kU32Size;
  if (size < used) return {Problem::kCutOff, used};
  const uint32_t pcr = LoadU32(data, byte_order_);
  if (pcr >= kPcrCount) return {Problem::kPcr, pcr};

  const size_t name_at = kU32Size + digest_size_ + kU32Size;
  if (size < name_at) return {Problem::kCutOff, name_at};
  const uint32_t name_size = LoadU32(data + name_at - kU32Size, byte_order_);
  if (name_size == 0) return {Problem::kNameEmpty, 0};
  if (name_size > limits_.max_template_name_size) {
    return {Problem::kNameLimit, name_size};
  }
  used = name_at;
  if (size - used < name_size) return {Problem::kCutOff, used + name_size};
  const absl::string_view name =
      AsText(std::span<const uint8_t>(data + name_at, name_size));
  if (!IsGraphic(name)) return {Problem::kNameText, 0};
  used += name_size;

  size_t data_at = used;
  if (ABSL_PREDICT_FALSE(name == "ima")) {
    used += kLegacyDigestSize + kU32Size;
    if (size < used) return {Problem::kCutOff, used};
    const uint32_t file_name_size =
        LoadU32(data + used - kU32Size, byte_order_);
    if (file_name_size > kLegacyMaxFileNameSize) {
      return {Problem::kFileNameSize, file_name_size};
    }
    if (size - used < file_name_size) {
      return {Problem::kCutOff, used + file_name_size};
    }
    used += file_name_size;
  } else {
    used += kU32Size;
    if (size < used) return {Problem::kCutOff, used};
    const uint32_t data_size = LoadU32(data + data_at, byte_order_);
    if (data_size > limits_.max_template_data_size) {
      return {Problem::kDataLimit, data_size};
    }
    data_at = used;
    if (size - used < data_size) return {Problem::kCutOff, used + data_size};
    used += data_size;
  }

  entry.pcr = pcr;
  entry.template_digest = bytes.subspan(kU32Size, digest_size_);
  entry.template_name = name;
  entry.template_data = bytes.subspan(data_at, used - data_at);
  entry.index = next_index_;
  entry.offset = next_offset_;
  entry.record_size = static_cast<uint32_t>(used);
  return {};
}

absl::Status ListParser::Flush(Sink sink) {
  if (batch_size_ == 0) return absl::OkStatus();
  const std::span<const Entry> entries = std::span(batch_).first(batch_size_);
  const Entry& last = entries.back();
  const uint64_t end = last.offset + last.record_size;
  batch_size_ = 0;
  CUPEL_RETURN_IF_ERROR(sink(entries));
  entry_count_ += entries.size();
  byte_offset_ = end;
  return absl::OkStatus();
}

absl::StatusOr<std::span<const uint8_t>> ListParser::CompleteCarry(
    std::span<const uint8_t> chunk) {
  while (true) {
    const size_t take = std::min(carry_needed_ - carry_.size(), chunk.size());
    Append(carry_, chunk.first(take));
    chunk = chunk.subspan(take);
    if (carry_.size() < carry_needed_) return chunk;

    Entry& entry = batch_[0];
    const Outcome outcome = ParseRecord(carry_, entry);
    if (outcome.problem == Problem::kNone) {
      batch_size_ = 1;
      ++next_index_;
      next_offset_ += entry.record_size;
      return chunk;
    }
    if (outcome.problem != Problem::kCutOff) return Describe(outcome);
    carry_needed_ = static_cast<size_t>(outcome.value);
  }
}

absl::Status ListParser::FeedUnlessFailed(std::span<const uint8_t> chunk,
                                          Sink sink) {
  if (!carry_.empty()) {
    CUPEL_ASSIGN_OR_RETURN(chunk, CompleteCarry(chunk));
    if (batch_size_ == 0) return absl::OkStatus();
  }

  // From here on `carry_` holds the batch's first entry, if any: it must not
  // change before the batch is handed over.
  while (!chunk.empty()) {
    if (batch_size_ == kBatchSize) CUPEL_RETURN_IF_ERROR(Flush(sink));
    if (ABSL_PREDICT_FALSE(AtEntryLimit())) {
      CUPEL_RETURN_IF_ERROR(Flush(sink));
      return absl::ResourceExhaustedError(
          absl::StrCat("IMA list: more than ", limits_.max_entries,
                       " entries, at offset ", next_offset_));
    }
    Entry& entry = batch_[batch_size_];
    const Outcome outcome = ParseRecord(chunk, entry);
    if (ABSL_PREDICT_FALSE(outcome.problem != Problem::kNone)) {
      CUPEL_RETURN_IF_ERROR(Flush(sink));
      if (outcome.problem != Problem::kCutOff) return Describe(outcome);
      carry_.assign(chunk.begin(), chunk.end());
      carry_needed_ = static_cast<size_t>(outcome.value);
      return absl::OkStatus();
    }
    ++batch_size_;
    ++next_index_;
    next_offset_ += entry.record_size;
    chunk = chunk.subspan(entry.record_size);
  }
  CUPEL_RETURN_IF_ERROR(Flush(sink));
  carry_.clear();
  return absl::OkStatus();
}

absl::Status ListParser::Feed(std::span<const uint8_t> chunk, Sink sink) {
  if (status_.ok()) status_ = FeedUnlessFailed(chunk, sink);
  return status_;
}

absl::Status ListParser::Finish() const {
  if (!status_.ok() || carry_.empty()) return status_;
  return Describe({Problem::kCutOff, 0});
}

absl::Status ListParser::Describe(const Outcome& outcome) const {
  const std::string where =
      absl::StrCat("IMA entry ", next_index_, " at offset ", next_offset_);
  switch (outcome.problem) {
    case Problem::kPcr:
      return absl::InvalidArgumentError(absl::StrCat(
          where, ": pcr: ", outcome.value, ", the highest is ", kPcrCount - 1));
    case Problem::kNameEmpty:
      return absl::InvalidArgumentError(
          absl::StrCat(where, ": template_name: empty"));
    case Problem::kNameText:
      return absl::InvalidArgumentError(
          absl::StrCat(where, ": template_name: not printable ASCII"));
    case Problem::kNameLimit:
      return absl::ResourceExhaustedError(
          absl::StrCat(where, ": template_name: ", outcome.value,
                       " bytes, limit ", limits_.max_template_name_size));
    case Problem::kDataLimit:
      return absl::ResourceExhaustedError(
          absl::StrCat(where, ": template_data: ", outcome.value,
                       " bytes, limit ", limits_.max_template_data_size));
    case Problem::kFileNameSize:
      return absl::InvalidArgumentError(absl::StrCat(
          where, ": file name: ", outcome.value,
          " bytes, the template \"ima\" has at most ", kLegacyMaxFileNameSize));
    case Problem::kNone:
    case Problem::kCutOff:
      break;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      where, ": cut off after ", carry_.size(), " bytes of the record"));
}

}  // namespace cupel::ima
