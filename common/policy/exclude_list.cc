#include "common/policy/exclude_list.h"

#include <re2/re2.h>

#include <array>
#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/policy/exclude_lint.h"
#include "common/policy/line_reader.h"
#include "common/policy/python_regex.h"
#include "common/policy/special_names.h"
#include "common/util/escape.h"
#include "common/util/status_macros.h"

namespace cupel::policy {
namespace {

constexpr int64_t kMaxMemory = int64_t{64} << 20;
constexpr size_t kShownErrors = 50;

RE2::Options Options() {
  RE2::Options options(RE2::Quiet);
  options.set_encoding(RE2::Options::EncodingLatin1);
  options.set_never_capture(true);
  options.set_max_mem(kMaxMemory);
  return options;
}

bool MatchesStart(const RE2& regex, absl::string_view path) {
  return regex.Match(re2::StringPiece(path.data(), path.size()), 0, path.size(),
                     RE2::ANCHOR_START, nullptr, 0);
}

enum class NameKind { kPath, kBootAggregate, kBootAggregateLate, kOther };
constexpr size_t kNameKinds = 4;

NameKind KindOf(absl::string_view name) {
  if (absl::StartsWith(name, "/")) return NameKind::kPath;
  if (name == kBootAggregate) return NameKind::kBootAggregate;
  if (name == kBootAggregateLate) return NameKind::kBootAggregateLate;
  return NameKind::kOther;
}

// Whether an alternative may be asked about names of this kind at all.
bool MayMatch(const RegexBranch& branch, NameKind kind) {
  const absl::string_view prefix = branch.literal_prefix;
  switch (kind) {
    case NameKind::kPath:
      return prefix.empty() || prefix[0] == '/';
    case NameKind::kBootAggregate:
      return absl::StartsWith(prefix, kBootAggregate);
    case NameKind::kBootAggregateLate:
      return absl::StartsWith(prefix, kBootAggregateLate);
    case NameKind::kOther:
      return !prefix.empty() && prefix[0] != '/';
  }
  return false;
}

// Alternatives for one kind of names, compiled; nullptr if there are none.
using Compiled = std::unique_ptr<const RE2>;

absl::StatusOr<Compiled> Compile(const std::vector<std::string>& alternatives) {
  if (alternatives.empty()) return nullptr;
  auto regex = std::make_unique<const RE2>(
      absl::StrCat("(?:", absl::StrJoin(alternatives, ")|(?:"), ")"),
      Options());
  if (!regex->ok()) {
    const std::string reason =
        absl::StrCat("RE2: ", EscapeForDisplay(regex->error()));
    return regex->error_code() == RE2::ErrorPatternTooLarge
               ? absl::ResourceExhaustedError(reason)
               : absl::InvalidArgumentError(reason);
  }
  return regex;
}

// One regex for each kind of names.
class Matcher {
 public:
  static absl::StatusOr<Matcher> Create(
      std::span<const TranslatedRegex> patterns) {
    Matcher matcher;
    for (size_t kind = 0; kind < kNameKinds; ++kind) {
      std::vector<std::string> alternatives;
      for (const TranslatedRegex& pattern : patterns) {
        for (const RegexBranch& branch : pattern.branches) {
          if (MayMatch(branch, static_cast<NameKind>(kind))) {
            alternatives.push_back(branch.re2);
          }
        }
      }
      CUPEL_ASSIGN_OR_RETURN(matcher.by_kind_[kind], Compile(alternatives));
    }
    return matcher;
  }

  bool Matches(absl::string_view name) const {
    return Matches(KindOf(name), name);
  }
  // Only an alternative without a plain start can match the empty string, and
  // all of these are asked about paths.
  bool MatchesEmpty() const { return Matches(NameKind::kPath, ""); }

 private:
  bool Matches(NameKind kind, absl::string_view name) const {
    const Compiled& regex = by_kind_[static_cast<size_t>(kind)];
    return regex != nullptr && MatchesStart(*regex, name);
  }

  std::array<Compiled, kNameKinds> by_kind_;
};

absl::StatusOr<TranslatedRegex> Translate(absl::string_view pattern) {
  if (pattern.empty()) {
    return absl::InvalidArgumentError(
        "an empty pattern would exclude every path");
  }
  if (pattern.size() > kMaxExcludePatternSize) {
    return absl::InvalidArgumentError(
        absl::StrCat(pattern.size(), " bytes, limit ", kMaxExcludePatternSize));
  }
  return TranslatePythonRegex(pattern);
}

// What RE2 says of one pattern alone.
absl::Status CheckAlone(const TranslatedRegex& pattern) {
  CUPEL_ASSIGN_OR_RETURN(const Matcher matcher, Matcher::Create({&pattern, 1}));
  if (matcher.MatchesEmpty()) {
    return absl::InvalidArgumentError(
        "it matches the empty string and would exclude every path");
  }
  return absl::OkStatus();
}

// kInvalidArgument with the patterns whose check failed; OK if none did.
absl::Status Refusal(std::span<const ExcludePattern> patterns,
                     std::span<const absl::Status> checks) {
  std::vector<std::string> lines;
  size_t count = 0;
  for (size_t i = 0; i < patterns.size(); ++i) {
    if (checks[i].ok() || ++count > kShownErrors) continue;
    lines.push_back(absl::StrCat(EscapeForDisplay(patterns[i].origin), ": ",
                                 Quoted(patterns[i].text, kShownSize), ": ",
                                 checks[i].message()));
  }
  if (count == 0) return absl::OkStatus();
  if (count > kShownErrors) {
    lines.push_back(absl::StrCat(count - kShownErrors, " more"));
  }
  return absl::InvalidArgumentError(absl::StrJoin(lines, "\n"));
}

}  // namespace

struct ExcludeSet::State {
  std::vector<ExcludePattern> patterns;
  Matcher matcher;
};

ExcludeSet::ExcludeSet() : state_(std::make_unique<const State>()) {}
ExcludeSet::ExcludeSet(ExcludeSet&&) noexcept = default;
ExcludeSet& ExcludeSet::operator=(ExcludeSet&&) noexcept = default;
ExcludeSet::~ExcludeSet() = default;

absl::StatusOr<ExcludeSet> ExcludeSet::Create(
    std::vector<ExcludePattern> patterns) {
  if (patterns.size() > kMaxExcludePatterns) {
    return absl::ResourceExhaustedError(absl::StrCat(
        patterns.size(), " excludes, limit ", kMaxExcludePatterns));
  }
  size_t total_size = 0;
  for (const ExcludePattern& pattern : patterns) {
    total_size += pattern.text.size();
  }
  if (total_size > kMaxExcludeBytes) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "excludes of ", total_size, " bytes, limit ", kMaxExcludeBytes));
  }

  std::vector<absl::Status> checks(patterns.size());
  std::vector<TranslatedRegex> translated(patterns.size());
  for (size_t i = 0; i < patterns.size(); ++i) {
    auto regex = Translate(patterns[i].text);
    checks[i] = regex.status();
    if (regex.ok()) translated[i] = *std::move(regex);
  }
  auto matcher = Matcher::Create(translated);
  if (!matcher.ok() || matcher->MatchesEmpty()) {
    // Which of them is it? Only then is each compiled alone.
    for (size_t i = 0; i < patterns.size(); ++i) {
      if (checks[i].ok()) checks[i] = CheckAlone(translated[i]);
    }
  }
  CUPEL_RETURN_IF_ERROR(Refusal(patterns, checks));
  CUPEL_RETURN_IF_ERROR(matcher.status());

  auto state = std::make_unique<State>();
  state->patterns = std::move(patterns);
  state->matcher = *std::move(matcher);
  ExcludeSet set;
  set.state_ = std::move(state);
  return set;
}

bool ExcludeSet::Matches(absl::string_view path) const {
  return state_->matcher.Matches(path);
}

std::span<const ExcludePattern> ExcludeSet::patterns() const {
  return state_->patterns;
}

absl::StatusOr<ExcludeList> ParseExcludeList(absl::string_view text,
                                             absl::string_view origin) {
  ExcludeList list;
  LineReader lines(text);
  for (absl::string_view line; lines.Next(line);) {
    if (list.patterns.size() == kMaxExcludePatterns) {
      return absl::ResourceExhaustedError(
          absl::StrCat(EscapeForDisplay(origin), ":", lines.number(),
                       ": more than ", kMaxExcludePatterns, " excludes"));
    }
    list.patterns.push_back(
        {std::string(line), absl::StrCat(origin, ":", lines.number())});
  }
  CUPEL_RETURN_IF_ERROR(ExcludeSet::Create(list.patterns).status());
  list.warnings = LintExcludes(list.patterns, origin);
  if (lines.has_carriage_return()) {
    list.warnings.push_back({"exclude.crlf", std::string(origin),
                             "lines end in CR LF; the CR is not part of the "
                             "patterns"});
  }
  return list;
}

}  // namespace cupel::policy
