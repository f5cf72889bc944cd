#include "tenant/agent_file.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/crypto/fingerprint.h"
#include "common/util/escape.h"
#include "common/util/status_macros.h"
#include "tenant/connection.h"
#include "tenant/labels.h"

namespace cupel::tenant {
namespace {

using Fields = std::vector<std::string>;

// One line of CSV. kInvalidArgument for a quote that is left open, or goes on
// behind its end.
absl::StatusOr<Fields> SplitCsv(absl::string_view line) {
  Fields fields(1);
  bool quoted = false;
  bool closed = false;  // this field's quotes have ended
  for (size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    std::string& field = fields.back();
    if (quoted && c == '"' && i + 1 < line.size() && line[i + 1] == '"') {
      field += c;
      ++i;
    } else if (quoted && c == '"') {
      quoted = false;
      closed = true;
    } else if (quoted) {
      field += c;
    } else if (c == ',') {
      fields.emplace_back();
      closed = false;
    } else if (c == '"' && field.empty() && !closed) {
      quoted = true;
    } else if (!absl::ascii_isspace(static_cast<unsigned char>(c)) && closed) {
      return absl::InvalidArgumentError("text behind a closing quote");
    } else if (!closed && !(field.empty() && (c == ' ' || c == '\t'))) {
      field += c;
    }
  }
  if (quoted) return absl::InvalidArgumentError("a quote that does not end");
  for (std::string& field : fields) absl::StripTrailingAsciiWhitespace(&field);
  return fields;
}

absl::StatusOr<Fields> Split(absl::string_view line) {
  if (absl::StrContains(line, ",")) return SplitCsv(line);
  return Fields(
      absl::StrSplit(line, absl::ByAnyChar(" \t"), absl::SkipEmpty()));
}

// Reads one file, line by line.
class Parser {
 public:
  void Add(size_t line, absl::string_view text) {
    const auto fields = Split(text);
    if (!fields.ok()) return Refuse(line, fields.status().message());
    if (std::exchange(first_, false) &&
        absl::EqualsIgnoreCase(fields->front(), "uuid")) {
      return SetColumns(line, *fields);
    }
    auto row = ParseRow(line, *fields);
    if (!row.ok()) return Refuse(line, row.status().message());
    const auto id = ids_.try_emplace(row->id, line);
    if (!id.second) {
      return Refuse(
          line, absl::StrCat("agent ", row->id.ToString(), " stands in line ",
                             id.first->second, " already"));
    }
    if (!row->ek_sha256.empty()) {
      const auto ek = eks_.try_emplace(row->ek_sha256, line);
      if (!ek.second) {
        return Refuse(line, absl::StrCat("its EK is that of line ",
                                         ek.first->second, " as well"));
      }
    }
    file_.rows.push_back(*std::move(row));
  }

  AgentFile Take() && { return std::move(file_); }

 private:
  void Refuse(size_t line, absl::string_view what) {
    file_.errors.push_back(absl::StrCat(line, ": ", what));
  }

  void SetColumns(size_t line, const Fields& fields) {
    if (fields.size() < 2 || !absl::EqualsIgnoreCase(fields[1], "ek") ||
        std::ranges::find(fields, "") != fields.end()) {
      Refuse(line, "the columns are uuid, ek, and the keys of labels");
    }
    columns_ = fields;
  }

  absl::StatusOr<AgentRow> ParseRow(size_t line, const Fields& fields) const {
    CUPEL_ASSIGN_OR_RETURN(const AgentId id, ParseAgent(fields.front()));
    AgentRow row{line, id, "", {}};
    if (fields.size() > 1 && !fields[1].empty() && fields[1] != "-") {
      CUPEL_ASSIGN_OR_RETURN(row.ek_sha256,
                             crypto::ParseFingerprint(fields[1]));
    }
    std::vector<std::string> labels;
    if (columns_.has_value() && fields.size() > columns_->size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("more fields than the ", columns_->size(),
                       " that the first line names"));
    }
    for (size_t i = 2; i < fields.size(); ++i) {
      if (fields[i].empty()) continue;
      labels.push_back(columns_.has_value()
                           ? absl::StrCat((*columns_)[i], "=", fields[i])
                           : fields[i]);
    }
    CUPEL_ASSIGN_OR_RETURN(row.labels, ParseLabels(labels));
    return row;
  }

  AgentFile file_;
  bool first_ = true;
  std::optional<Fields> columns_;
  absl::flat_hash_map<AgentId, size_t> ids_;
  absl::flat_hash_map<std::string, size_t> eks_;
};

}  // namespace

AgentFile ParseAgentFile(absl::string_view text) {
  absl::ConsumePrefix(&text, "\xef\xbb\xbf");  // as spreadsheets write
  Parser parser;
  size_t number = 0;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    const absl::string_view stripped = absl::StripAsciiWhitespace(line);
    if (stripped.empty() || stripped.front() == '#') continue;
    parser.Add(number, stripped);
  }
  return std::move(parser).Take();
}

}  // namespace cupel::tenant
