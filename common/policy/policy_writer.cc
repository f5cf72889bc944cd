#include "common/policy/policy_writer.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "common/policy/digest_text.h"
#include "common/util/escape.h"
#include "common/util/utf8.h"

namespace cupel::policy {
namespace {

void AppendString(absl::string_view text, std::string& out) {
  out.push_back('"');
  while (!text.empty()) {
    const size_t size = DecodeUtf8(text).size;
    const auto first = static_cast<uint8_t>(text[0]);
    if (size == 0) {
      absl::StrAppend(&out, "\\udc", absl::Hex(first));
      text.remove_prefix(1);
      continue;
    }
    if (first == '"' || first == '\\') {
      out.push_back('\\');
      out.push_back(text[0]);
    } else if (first < 0x20 || first == 0x7f) {
      absl::StrAppend(&out, "\\u", absl::Hex(first, absl::kZeroPad4));
    } else {
      out.append(text.data(), size);
    }
    text.remove_prefix(size);
  }
  out.push_back('"');
}

std::string JsonString(absl::string_view text) {
  std::string out;
  AppendString(text, out);
  return out;
}

template <typename Items, typename Format>
void AppendArray(const Items& items, Format format, std::string& out) {
  out.push_back('[');
  absl::string_view separator;
  for (const auto& item : items) {
    out.append(separator.data(), separator.size());
    format(item, out);
    separator = ", ";
  }
  out.push_back(']');
}

void AppendDigest(const crypto::Digest& digest, std::string& out) {
  absl::StrAppend(&out, "\"", FormatDigestText(digest), "\"");
}

std::vector<absl::string_view> SortedPaths(const DigestTable& digests) {
  std::vector<absl::string_view> paths;
  paths.reserve(digests.path_count());
  digests.ForEach([&](absl::string_view path, std::span<const crypto::Digest>) {
    paths.push_back(path);
  });
  std::ranges::sort(paths);
  return paths;
}

void AppendDeny(const DenyRule& rule, std::string& out) {
  if (rule.path.empty() && rule.reason.empty()) {
    AppendDigest(rule.digest, out);
    return;
  }
  out += "{\"digest\": ";
  AppendDigest(rule.digest, out);
  if (!rule.path.empty())
    absl::StrAppend(&out, ", \"path\": ", JsonString(rule.path));
  if (!rule.reason.empty()) {
    absl::StrAppend(&out, ", \"reason\": ", JsonString(rule.reason));
  }
  out.push_back('}');
}

}  // namespace

std::string WritePolicyJson(const RuntimePolicy& policy) {
  std::string out = "{\n";
  absl::StrAppend(&out, " \"meta\": {\"version\": 1, \"generator\": ",
                  policy.meta_generator.value_or(0));
  if (!policy.meta_timestamp.empty()) {
    absl::StrAppend(&out,
                    ", \"timestamp\": ", JsonString(policy.meta_timestamp));
  }
  absl::StrAppend(&out, "},\n \"release\": ", policy.release,
                  ",\n \"digests\": {");
  absl::string_view separator = "\n  ";
  for (const absl::string_view path : SortedPaths(policy.digests)) {
    out.append(separator.data(), separator.size());
    AppendString(path, out);
    out += ": ";
    AppendArray(policy.digests.Find(path), AppendDigest, out);
    separator = ",\n  ";
  }
  out += "\n },\n \"excludes\": [";
  separator = "\n  ";
  for (const ExcludePattern& pattern : policy.excludes) {
    out.append(separator.data(), separator.size());
    AppendString(pattern.text, out);
    separator = ",\n  ";
  }
  out += "\n ],\n \"keyrings\": {";
  separator = "\n  ";
  for (const auto& [ring, keys] : policy.keyrings) {
    out.append(separator.data(), separator.size());
    AppendString(ring, out);
    out += ": ";
    AppendArray(keys, AppendString, out);
    separator = ",\n  ";
  }
  out += "\n },\n \"ima\": {\"ignored_keyrings\": ";
  AppendArray(policy.ignored_keyrings, AppendString, out);
  absl::StrAppend(
      &out, ", \"log_hash_alg\": ",
      JsonString(policy.log_hash_alg.empty() ? "sha1" : policy.log_hash_alg),
      ", \"dm_policy\": ",
      policy.dm_policy_json.empty() ? "null" : policy.dm_policy_json,
      "},\n \"ima-buf\": {");
  separator = "\n  ";
  for (const auto& [name, digests] : policy.buffers) {
    out.append(separator.data(), separator.size());
    AppendString(name, out);
    out += ": ";
    AppendArray(digests, AppendDigest, out);
    separator = ",\n  ";
  }
  absl::StrAppend(&out, "\n },\n \"verification-keys\": ",
                  JsonString(policy.verification_keys));
  if (!policy.deny.empty()) {
    out += ",\n \"deny\": {\"digests\": [";
    separator = "\n  ";
    for (const DenyRule& rule : policy.deny) {
      out.append(separator.data(), separator.size());
      AppendDeny(rule, out);
      separator = ",\n  ";
    }
    out += "\n ]}";
  }
  out += "\n}\n";
  return out;
}

std::string WriteAllowlist(const DigestTable& digests) {
  std::string out;
  for (const absl::string_view path : SortedPaths(digests)) {
    std::string escaped;
    for (const char c : path) {
      if (c == '\\') {
        escaped += "\\\\";
      } else if (c == '\n') {
        escaped += "\\n";
      } else if (c == '\r') {
        escaped += "\\r";
      } else {
        escaped.push_back(c);
      }
    }
    const absl::string_view line_mark =
        escaped.size() == path.size() ? "" : "\\";
    // After the star even a blank is part of the path.
    const absl::string_view separator =
        path[0] == ' ' || path[0] == '\t' ? " *" : "  ";
    for (const crypto::Digest& digest : digests.Find(path)) {
      absl::StrAppend(&out, line_mark, FormatDigestText(digest), separator,
                      escaped, "\n");
    }
  }
  return out;
}

absl::StatusOr<std::string> WriteExcludeList(
    std::span<const ExcludePattern> patterns) {
  std::string out;
  for (const ExcludePattern& pattern : patterns) {
    const absl::string_view text = pattern.text;
    if (text.find_first_not_of(" \t") == text.npos ||
        text.find('\n') != text.npos || text.back() == '\r') {
      return absl::InvalidArgumentError(absl::StrCat(
          EscapeForDisplay(pattern.origin), ": ", Quoted(text, kShownSize),
          " can't be written as a line of an excludes file"));
    }
    absl::StrAppend(&out, text, "\n");
  }
  return out;
}

}  // namespace cupel::policy
