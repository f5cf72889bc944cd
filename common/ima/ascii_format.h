#ifndef CUPEL_COMMON_IMA_ASCII_FORMAT_H_
#define CUPEL_COMMON_IMA_ASCII_FORMAT_H_

#include <string>

#include "absl/status/statusor.h"
#include "common/ima/entry.h"
#include "common/util/byte_reader.h"

namespace cupel::ima {

// The line of `entry` in ascii_runtime_measurements, byte for byte as the
// kernel writes it, without the newline (see ascii_list.h for the format).
// Names are not escaped: a caller that shows the line passes it through
// EscapeForDisplay.
//
// Errors: those of ParseFields, for an entry whose fields do not fit.
absl::StatusOr<std::string> FormatAsciiEntry(
    const Entry& entry, ByteOrder order = ByteOrder::kLittle);

}  // namespace cupel::ima

#endif  // CUPEL_COMMON_IMA_ASCII_FORMAT_H_
