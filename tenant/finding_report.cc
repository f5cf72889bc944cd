#include "tenant/finding_report.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/util/escape.h"

namespace cupel::tenant {
namespace {

absl::string_view Level(const ReportedFinding& finding) {
  if (finding.severity == "notice") return "INFO";
  if (finding.severity == "undecided") return "ERROR - could not decide";
  return "WARNING";  // as well for what this program doesn't know
}

// " (entry 7, PCR 10, path /bin/x, expected ..., found ...)".
std::string Particulars(const ReportedFinding& finding) {
  std::vector<std::string> parts;
  if (finding.entry.has_value()) {
    parts.push_back(absl::StrCat("entry ", *finding.entry));
  }
  if (finding.pcr.has_value()) {
    parts.push_back(absl::StrCat("PCR ", *finding.pcr));
  }
  const auto add = [&](absl::string_view name, const std::string& value) {
    if (!value.empty()) {
      parts.push_back(absl::StrCat(name, " ", EscapeForDisplay(value)));
    }
  };
  add("path", finding.path);
  add("expected", finding.expected);
  add("found", finding.found);
  return parts.empty() ? ""
                       : absl::StrCat(" (", absl::StrJoin(parts, ", "), ")");
}

}  // namespace

ReportedFinding ToReported(const appraisal::Finding& finding) {
  return {.id = std::string(finding.id),
          .severity = std::string(appraisal::SeverityName(finding.severity)),
          .entry = finding.entry_index,
          .pcr = finding.pcr,
          .path = finding.path,
          .expected = finding.expected,
          .found = finding.found,
          .detail = finding.detail,
          .authenticated = finding.authenticated,
          .accept_as = {}};
}

std::string FindingWords(const ReportedFinding& finding) {
  const std::string path = EscapeForDisplay(finding.path);
  if (finding.id == "ima.not_in_policy") {
    return absl::StrCat("File not found in allowlist: ", path);
  }
  if (finding.id == "ima.digest_mismatch") {
    return absl::StrCat("Hashes for file ", path, " don't match: found ",
                        EscapeForDisplay(finding.found), ", the policy has ",
                        EscapeForDisplay(finding.expected));
  }
  return absl::StrCat(EscapeForDisplay(finding.id), ": ",
                      EscapeForDisplay(finding.detail), Particulars(finding));
}

std::string FindingLine(const ReportedFinding& finding,
                        absl::string_view cure) {
  return absl::StrCat(Level(finding), " - ", FindingWords(finding),
                      cure.empty() ? "" : absl::StrCat(" (", cure, ")"),
                      finding.authenticated ? "" : " [no PCR covers this]");
}

nlohmann::ordered_json ToJson(const ReportedFinding& finding) {
  nlohmann::ordered_json json;
  json["id"] = EscapeForJson(finding.id);
  json["severity"] = EscapeForJson(finding.severity);
  if (finding.entry.has_value()) json["entry"] = *finding.entry;
  if (finding.pcr.has_value()) json["pcr"] = *finding.pcr;
  const auto text = [&](const char* name, const std::string& value) {
    if (!value.empty()) json[name] = EscapeForJson(value);
  };
  text("path", finding.path);
  text("expected", finding.expected);
  text("found", finding.found);
  json["detail"] = EscapeForJson(finding.detail);
  json["authenticated"] = finding.authenticated;
  text("accept_as", finding.accept_as);
  return json;
}

}  // namespace cupel::tenant
