#ifndef CUPEL_COMMON_POLICY_LINE_READER_H_
#define CUPEL_COMMON_POLICY_LINE_READER_H_

#include <cstddef>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"

namespace cupel::policy {

// The lines of a text file that are not blank, without their ends: LF, CR LF,
// or the file's end.
class LineReader {
 public:
  explicit LineReader(absl::string_view text) : rest_(text) {}

  // The next line, an alias of the text; false after the last one.
  bool Next(absl::string_view& line) {
    while (!rest_.empty()) {
      const size_t end = rest_.find('\n');
      line = rest_.substr(0, end);
      rest_.remove_prefix(end == rest_.npos ? rest_.size() : end + 1);
      ++number_;
      if (absl::EndsWith(line, "\r")) {
        line.remove_suffix(1);
        has_carriage_return_ = true;
      }
      if (line.find_first_not_of(" \t") != line.npos) return true;
    }
    return false;
  }

  // Of the line that Next gave, from 1 on; blank lines count.
  size_t number() const { return number_; }
  // Whether any line so far ended in CR LF, a blank one included.
  bool has_carriage_return() const { return has_carriage_return_; }

 private:
  absl::string_view rest_;
  size_t number_ = 0;
  bool has_carriage_return_ = false;
};

}  // namespace cupel::policy

#endif  // CUPEL_COMMON_POLICY_LINE_READER_H_
