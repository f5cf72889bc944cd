#include "common/policy/allowlist.h"

#include <cstddef>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/policy/digest_text.h"
#include "common/policy/line_reader.h"
#include "common/policy/policy_file.h"
#include "common/policy/special_names.h"
#include "common/policy/warning_collector.h"
#include "common/util/escape.h"
#include "common/util/status_macros.h"

namespace cupel::policy {
namespace {

struct Line {
  crypto::Digest digest;
  std::string path;
};

absl::StatusOr<std::string> Unescape(absl::string_view path) {
  std::string out;
  for (size_t i = 0; i < path.size(); ++i) {
    if (path[i] != '\\') {
      out.push_back(path[i]);
      continue;
    }
    const char next = i + 1 < path.size() ? path[i + 1] : '\0';
    if (next == '\\') {
      out.push_back('\\');
    } else if (next == 'n') {
      out.push_back('\n');
    } else if (next == 'r') {
      out.push_back('\r');
    } else {
      return absl::InvalidArgumentError(
          "a backslash in the path that is none of \\\\, \\n and \\r, in a "
          "line that starts with one");
    }
    ++i;
  }
  return out;
}

absl::StatusOr<Line> ParseLine(absl::string_view text) {
  const bool is_escaped = absl::StartsWith(text, "\\");
  if (is_escaped) text.remove_prefix(1);
  if (absl::StartsWith(text, "#")) {
    return absl::InvalidArgumentError(
        "an allowlist has no comments: remove the line");
  }
  const size_t end = text.find_first_of(" \t");
  Line line;
  CUPEL_ASSIGN_OR_RETURN(line.digest,
                         ParseDigestText(text.substr(0, end), HexCase::kAny));
  if (end == text.npos) {
    return absl::InvalidArgumentError("a digest without a path");
  }
  absl::string_view path = text.substr(end + 1);
  const bool has_mark = text[end] == ' ' && (absl::StartsWith(path, " ") ||
                                             absl::StartsWith(path, "*"));
  const bool is_binary = has_mark && path[0] == '*';
  if (has_mark) path.remove_prefix(1);
  if (path.empty()) {
    return absl::InvalidArgumentError("a digest without a path");
  }
  if (!is_binary && (path[0] == ' ' || path[0] == '\t')) {
    return absl::InvalidArgumentError(
        "more than two blanks between digest and path; write \" *\" before a "
        "path that starts with a blank");
  }
  if (is_escaped) {
    CUPEL_ASSIGN_OR_RETURN(line.path, Unescape(path));
  } else {
    line.path = std::string(path);
  }
  return line;
}

// Calls `visit(line, number)` for each line. Its errors, and those of the text,
// get their place.
template <typename Visit>
absl::Status ReadLines(absl::string_view text, absl::string_view origin,
                       WarningCollector& warnings, Visit visit) {
  if (text.size() > kMaxPolicyFileSize) {
    return absl::ResourceExhaustedError(
        absl::StrCat(EscapeForDisplay(origin), ": ", text.size(),
                     " bytes, limit ", kMaxPolicyFileSize));
  }
  LineReader lines(text);
  for (absl::string_view line; lines.Next(line);) {
    const auto parsed = ParseLine(line);
    const absl::Status status =
        parsed.ok() ? visit(*parsed, lines.number()) : parsed.status();
    if (!status.ok()) {
      return absl::Status(status.code(),
                          absl::StrCat(EscapeForDisplay(origin), ":",
                                       lines.number(), ": ", status.message()));
    }
  }
  if (lines.has_carriage_return()) {
    warnings.Add("allowlist.crlf", std::string(origin),
                 "lines end in CR LF; the CR is not part of the paths");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<RuntimePolicy> ParseAllowlist(absl::string_view text,
                                             absl::string_view origin) {
  DigestTable::Builder digests;
  WarningCollector warnings;
  size_t sha1_count = 0;
  const auto add = [&](const Line& line, size_t number) -> absl::Status {
    CUPEL_RETURN_IF_ERROR(CheckMayAllow(line.digest));
    CUPEL_RETURN_IF_ERROR(digests.Add(line.path, line.digest));
    if (line.digest.algorithm() == crypto::HashAlgorithm::kSha1) ++sha1_count;
    const auto place = [&] { return absl::StrCat(origin, ":", number); };
    const char last = line.path.back();
    if (last == ' ' || last == '\t') {
      warnings.Add("allowlist.trailing_blank", place(),
                   "the path ends in a blank, which is part of it");
    }
    if (line.path[0] != '/' && !IsSpecialName(line.path)) {
      warnings.Add("allowlist.relative_path", place(),
                   absl::StrCat("\"", line.path,
                                "\" does not start with /; the kernel "
                                "reports whole paths"));
    }
    return absl::OkStatus();
  };
  CUPEL_RETURN_IF_ERROR(ReadLines(text, origin, warnings, add));
  RuntimePolicy policy;
  policy.digests = std::move(digests).Build();
  if (policy.digests.path_count() == 0) {
    warnings.Add("allowlist.empty", std::string(origin),
                 "lists nothing: no file passes");
  }
  if (sha1_count > 0) {
    warnings.Add("digest.sha1", std::string(origin), Sha1Warning(sha1_count));
  }
  policy.warnings = std::move(warnings).Take(origin);
  return policy;
}

absl::StatusOr<RuntimePolicy> ParseDenyList(absl::string_view text,
                                            absl::string_view origin) {
  RuntimePolicy policy;
  WarningCollector warnings;
  const auto add = [&](const Line& line, size_t number) {
    policy.deny.push_back({.digest = line.digest,
                           .path = line.path,
                           .reason = "",
                           .origin = absl::StrCat(origin, ":", number)});
    return absl::OkStatus();
  };
  CUPEL_RETURN_IF_ERROR(ReadLines(text, origin, warnings, add));
  if (policy.deny.empty()) {
    warnings.Add("deny.empty", std::string(origin), "denies nothing");
  }
  policy.warnings = std::move(warnings).Take(origin);
  return policy;
}

}  // namespace cupel::policy
