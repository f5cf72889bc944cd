#include "tests/lint/citation_lint.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "re2/re2.h"

namespace cupel::lint {
namespace {

constexpr char kThreatModel[] = "docs/threat-model.md";
constexpr char kCitation[] =
    R"re(\[(?:`([^`\]]+)`|"([^"]+)")\]\(([^)\s]+)\))re";
constexpr char kCodeCitation[] = R"re(\[`[^`]+`\]\([^)]+\.(cc|h)\))re";
constexpr char kTestCitation[] = R"re(\["[^"]+"\]\([^)]+_test\.cc\))re";

re2::StringPiece Piece(absl::string_view text) {
  return {text.data(), text.size()};
}

// The names of the test cases in a source, as they are written there; a literal
// in several parts is one name.
std::vector<std::string> TestNames(const std::string& source) {
  std::vector<std::string> names;
  re2::StringPiece rest(source);
  std::string literals;
  while (RE2::FindAndConsume(
      &rest,
      Pattern(
          R"re(TEST_CASE(?:_METHOD)?\(\s*(?:\w+,\s*)?((?:"(?:[^"\\]|\\.)*"\s*)+))re"),
      &literals)) {
    std::string& name = names.emplace_back();
    re2::StringPiece parts(literals);
    std::string part;
    while (RE2::FindAndConsume(&parts, Pattern(R"re("((?:[^"\\]|\\.)*)")re"),
                               &part)) {
      name += part;
    }
  }
  return names;
}

bool HasTest(const File& file, const std::string& name) {
  const std::vector<std::string> names = TestNames(file.text);
  return std::ranges::find(names, name) != names.end();
}

// Of "Session::OnQuote" the last part, as a definition outside of its class has
// it.
bool HasName(const File& file, const std::string& name) {
  const std::vector<std::string> parts = absl::StrSplit(name, "::");
  return RE2::PartialMatch(
      file.text,
      Pattern(absl::StrCat(R"(\b)", RE2::QuoteMeta(parts.back()), R"(\b)")));
}

// The heading's name in links, as the usual renderers make it.
std::string AnchorOf(absl::string_view heading) {
  std::string anchor;
  for (const char c : absl::StripAsciiWhitespace(heading)) {
    if (absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' ||
        c == '_') {
      anchor += absl::ascii_tolower(static_cast<unsigned char>(c));
    } else if (c == ' ') {
      anchor += '-';
    }
  }
  return anchor;
}

bool HasAnchor(const File& document, const std::string& anchor) {
  const std::vector<absl::string_view> lines =
      absl::StrSplit(document.text, '\n');
  return std::ranges::any_of(lines, [&](absl::string_view line) {
    const size_t depth = line.find_first_not_of('#');
    return depth != 0 && depth != absl::string_view::npos &&
           AnchorOf(line.substr(depth)) == anchor;
  });
}

class CitationChecker {
 public:
  explicit CitationChecker(const Tree& tree) : tree_(tree) {}

  std::vector<Violation> Run() {
    for (const File& file : tree_) {
      if (!absl::EndsWith(file.path, ".md")) continue;
      int number = 0;
      for (const absl::string_view line : absl::StrSplit(file.text, '\n')) {
        ++number;
        CheckLine(file, number, line);
        CheckAnchors(file, number, line);
        if (file.path == kThreatModel) CheckRow(number, line);
      }
    }
    if (Find(tree_, kThreatModel) != nullptr && next_claim_ == 1) {
      violations_.push_back({kThreatModel, 0, "claim", "there is none"});
    }
    return std::move(violations_);
  }

 private:
  void CheckLine(const File& file, int number, absl::string_view line) {
    re2::StringPiece rest = Piece(line);
    std::string name;
    std::string test;
    std::string target;
    while (
        RE2::FindAndConsume(&rest, Pattern(kCitation), &name, &test, &target)) {
      const File* const cited = Find(tree_, LinkTarget(file.path, target));
      // Links to files that are not there are CheckTexts' to tell, and a name
      // may well be the text of a link to a document.
      if (cited == nullptr || !IsCpp(cited->path)) continue;
      if (!(name.empty() ? HasTest(*cited, test) : HasName(*cited, name))) {
        violations_.push_back(
            {file.path, number, "cite",
             absl::StrCat(cited->path,
                          name.empty() ? " has no test " : " has no ", name,
                          test)});
      }
    }
  }

  void CheckAnchors(const File& file, int number, absl::string_view line) {
    re2::StringPiece rest = Piece(line);
    std::string target;
    std::string anchor;
    while (RE2::FindAndConsume(&rest,
                               Pattern(R"re(\]\(([^)#\s:]*)#([^)\s]+)\))re"),
                               &target, &anchor)) {
      const File* const document =
          target.empty() ? &file : Find(tree_, LinkTarget(file.path, target));
      if (document != nullptr && !HasAnchor(*document, anchor)) {
        violations_.push_back(
            {file.path, number, "anchor",
             absl::StrCat(document->path, " has no part ", anchor)});
      }
    }
  }

  void CheckRow(int number, absl::string_view line) {
    int id = 0;
    std::string checks;
    std::string tests;
    if (!absl::StartsWith(line, "| C")) return;
    const auto report = [&](std::string detail) {
      violations_.push_back({kThreatModel, number, "claim", std::move(detail)});
    };
    if (!RE2::FullMatch(
            Piece(line),
            Pattern(R"(\| C(\d+) \| [^|]+ \| ([^|]+) \| ([^|]+) \|)"), &id,
            &checks, &tests)) {
      report("not a row of four filled columns");
      return;
    }
    if (id != next_claim_) {
      report(absl::StrCat("C", id, " where C", next_claim_, " belongs"));
    }
    next_claim_ = id + 1;
    if (!RE2::PartialMatch(checks, Pattern(kCodeCitation))) {
      report(absl::StrCat("C", id, " cites no check"));
    }
    if (!RE2::PartialMatch(tests, Pattern(kTestCitation))) {
      report(absl::StrCat("C", id, " cites no test"));
    }
  }

  const Tree& tree_;
  std::vector<Violation> violations_;
  int next_claim_ = 1;
};

}  // namespace

std::vector<Violation> CheckCitations(const Tree& tree) {
  return CitationChecker(tree).Run();
}

}  // namespace cupel::lint
