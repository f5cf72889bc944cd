// How a list is cut into chunks must not change what is parsed.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/ima/list_parser.h"
#include "common/util/bytes.h"

namespace {

using ::cupel::ima::Entry;
using ::cupel::ima::ListOptions;
using ::cupel::ima::ListParser;

void Require(bool condition) {
  if (!condition) std::abort();
}

struct Result {
  std::string entries;
  std::string status;
  uint64_t entry_count = 0;
  uint64_t byte_offset = 0;
  friend bool operator==(const Result&, const Result&) = default;
};

// In pieces of 1 to `max_piece` bytes, varied by `seed`.
Result Parse(std::span<const uint8_t> list, const ListOptions& options,
             size_t max_piece, uint32_t seed) {
  Result result;
  ListParser parser(options);
  const auto sink = [&](std::span<const Entry> batch) {
    Require(!batch.empty() && batch.size() <= ListParser::kBatchSize);
    for (const Entry& entry : batch) {
      Require(entry.pcr < cupel::ima::kPcrCount);
      Require(!entry.template_name.empty());
      Require(entry.template_digest.size() == options.template_digest_size);
      absl::StrAppend(&result.entries, entry.index, " ", entry.offset, " ",
                      entry.record_size, " ", entry.pcr, " ",
                      entry.template_name, " ",
                      cupel::AsText(entry.template_digest), " ",
                      cupel::AsText(entry.template_data), "\n");
    }
    return absl::OkStatus();
  };
  const size_t size = list.size();
  absl::Status status;
  while (!list.empty() && status.ok()) {
    seed = seed * 1664525 + 1013904223;
    const size_t piece_size =
        std::min<size_t>(list.size(), 1 + (seed >> 16) % max_piece);
    // A copy of its own, so that ASan sees an entry that outlives it.
    const std::vector<uint8_t> piece = cupel::ToVector(list.first(piece_size));
    status = parser.Feed(piece, sink);
    list = list.subspan(piece_size);
  }
  Require(status.ok() || parser.Finish() == status);
  result.status = parser.Finish().ToString();
  result.entry_count = parser.entry_count();
  result.byte_offset = parser.byte_offset();
  // A list is whole exactly where all of its bytes belong to entries.
  Require(parser.Finish().ok() ==
          (status.ok() && result.byte_offset == options.first_offset + size));
  return result;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 4) return 0;
  constexpr size_t kDigestSizes[] = {20, 32, 48, 64};
  ListOptions options;
  options.byte_order =
      (data[0] & 1) != 0 ? cupel::ByteOrder::kBig : cupel::ByteOrder::kLittle;
  options.template_digest_size = kDigestSizes[data[0] >> 1 & 3];
  if ((data[0] & 8) != 0) {
    options.limits = {.max_entries = 4,
                      .max_template_name_size = 8,
                      .max_template_data_size = 64};
  }
  const std::span<const uint8_t> list(data + 4, size - 4);
  const uint32_t seed = data[2];
  const Result whole = Parse(list, options, list.size() + 1, 0);
  Require(whole == Parse(list, options, 1 + data[1], seed));
  Require(whole == Parse(list, options, 1, seed));
  return 0;
}
