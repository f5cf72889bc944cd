// A file that names many agents, for `add --from`.
#ifndef CUPEL_TENANT_AGENT_FILE_H_
#define CUPEL_TENANT_AGENT_FILE_H_

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "common/util/agent_id.h"

namespace cupel::tenant {

inline constexpr size_t kMaxAgentFileSize = size_t{256} << 20;

struct AgentRow {
  size_t line = 0;  // counted from 1
  AgentId id;
  std::string ek_sha256;  // lower-case hex; empty: the row names none
  std::map<std::string, std::string> labels;
};

struct AgentFile {
  std::vector<AgentRow> rows;
  // What is wrong, by line: "LINE: what", escaped. Rows that are right are
  // there all the same.
  std::vector<std::string> errors;
};

// Parses
//
//   line  = id *( separator field ) / "#" comment / blank
//   field = the second is the EK's SHA-256, "-" or nothing for none;
//           KEY=VALUE, a label, in any after it
//
// Fields are parted by commas, as CSV has them (a field may stand in double
// quotes, where "" is one of them), or by blanks in a line without a comma.
// Where the first field of the first such line is "uuid", that line names the
// columns: uuid, ek, and further ones, each the key of a label.
//
// Errors: an id, a fingerprint or a label that is none, an id or an EK that
// stands twice, a quote that does not end. `text` may be hostile.
AgentFile ParseAgentFile(absl::string_view text);

}  // namespace cupel::tenant

#endif  // CUPEL_TENANT_AGENT_FILE_H_
