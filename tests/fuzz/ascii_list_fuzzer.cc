// Text that parses must be written back as text that parses to the same list.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/ima/ascii_format.h"
#include "common/ima/ascii_list.h"
#include "common/util/bytes.h"

namespace {

using ::cupel::ima::AsciiList;
using ::cupel::ima::ListFormat;

void Require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  cupel::ima::ListOptions options;
  options.byte_order =
      (data[0] & 1) != 0 ? cupel::ByteOrder::kBig : cupel::ByteOrder::kLittle;
  options.template_digest_size = (data[0] & 2) != 0 ? 32 : 20;
  const auto text = cupel::AsText({data + 1, size - 1});
  const auto format = cupel::ima::DetectListFormat(cupel::AsBytes(text));

  const auto list = AsciiList::Parse(text, options);
  if (!list.ok()) return 0;
  Require(format.ok());
  Require(text.empty() || *format == ListFormat::kAscii);
  std::string again;
  for (const auto& entry : list->entries()) {
    const auto line = cupel::ima::FormatAsciiEntry(entry, options.byte_order);
    Require(line.ok());
    absl::StrAppend(&again, *line, "\n");
  }
  const auto reparsed = AsciiList::Parse(again, options);
  Require(reparsed.ok());
  Require(std::ranges::equal(reparsed->binary(), list->binary()));
  Require(reparsed->entries().size() == list->entries().size());
  return 0;
}
