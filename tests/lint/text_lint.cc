#include "tests/lint/text_lint.h"

#include <algorithm>
#include <set>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "re2/re2.h"

namespace cupel::lint {
namespace {

// docs/architecture.md, "Folders". Unit tests mirror these under tests/.
constexpr char kRooms[] =
    "common/(util|crypto|tpm|ima|uefi|policy|appraisal|config|rpc)|"
    "agent(/"
    "(attester|commands|doctor|tpm|sources|ima_emulator|enrollment|rpc))?|"
    "verifier(/(enrollment|session|store|pki|notify|console|rpc))?|"
    "tenant(/(commands|reference|rpc))?";
constexpr char kTestRooms[] =
    "tests/(support|contract|integration|oracle|conformance|attacks|"
    "cli(/online)?|vm|fuzz|bench|lint)";

struct Word {
  const char* pattern;
  const char* reason;
};
// Each is written in two parts, so that this table does not find itself.
constexpr Word kWords[] = {
    {"debian"
     R"(\.org|archive\.)"
     R"(ubuntu\.com)",
     "a package host"},
    {"/wo"
     R"(rk/|/home/)"
     R"([a-z]|/tmp/ba)"
     "sh",
     "a path of one developer's machine"},
    {R"(\b(TO)"
     R"(DO|FIX)"
     R"(ME|XX)"
     R"(X)\b)",
     "unfinished work"},
};

std::string GuardOf(absl::string_view path) {
  std::string guard = "CUPEL_";
  for (const char c : path) {
    guard += absl::ascii_isalnum(static_cast<unsigned char>(c))
                 ? absl::ascii_toupper(static_cast<unsigned char>(c))
                 : '_';
  }
  return guard + "_";
}

class Reporter {
 public:
  explicit Reporter(const File& file, std::vector<Violation>& out)
      : path_(file.path), out_(out) {}
  void operator()(int line, const char* rule, std::string detail) {
    out_.push_back({path_, line, rule, std::move(detail)});
  }

 private:
  const std::string& path_;
  std::vector<Violation>& out_;
};

void CheckPlace(const File& file, Reporter& report) {
  const absl::string_view folder = FolderOf(file.path);
  const absl::string_view name = NameOf(file.path);
  const bool is_test = absl::StartsWith(file.path, "tests/");
  if (!Matches(folder, kRooms) && !Matches(folder, kTestRooms) &&
      !(is_test && Matches(absl::StripPrefix(folder, "tests/"), kRooms))) {
    report(0, "room",
           absl::StrCat("no room \"", folder, "\" in docs/architecture.md"));
  }
  if (!Matches(name, R"([a-z][a-z0-9_]*\.(h|cc))")) {
    report(0, "name", "not snake_case");
  }
  if (absl::EndsWith(name, "_test.cc") && !is_test) {
    report(0, "name", "a test outside of tests/");
  }
  if (absl::EndsWith(name, "_fuzzer.cc") != (folder == "tests/fuzz") &&
      absl::EndsWith(name, ".cc")) {
    report(0, "name", "fuzz targets, and they alone, stand in tests/fuzz");
  }
}

void CheckGuard(const File& file, const std::vector<std::string>& code,
                Reporter& report) {
  const std::string guard = GuardOf(file.path);
  std::vector<std::string> directives;
  for (const std::string& line : code) {
    if (absl::StartsWith(line, "#")) directives.push_back(line);
    if (RE2::PartialMatch(line, Pattern(R"(^\s*#\s*pragma\s+once)"))) {
      report(0, "guard", "#pragma once");
    }
  }
  const bool opens =
      directives.size() >= 3 && directives[0] == "#ifndef " + guard &&
      absl::StripAsciiWhitespace(directives[1]) == "#define " + guard;
  if (!opens || !absl::EndsWith(file.text, "#endif  // " + guard + "\n")) {
    report(0, "guard", absl::StrCat("expected a guard ", guard));
  }
}

bool IsNamedInCMake(const Tree& tree, const File& file) {
  absl::string_view folder = FolderOf(file.path);
  while (!folder.empty()) {
    const File* const cmake =
        Find(tree, absl::StrCat(folder, "/CMakeLists.txt"));
    absl::string_view name =
        absl::string_view(file.path).substr(folder.size() + 1);
    // cupel_fuzzer(x_fuzzer) means x_fuzzer.cc.
    if (folder == "tests/fuzz") name = absl::StripSuffix(name, ".cc");
    if (cmake != nullptr) {
      const std::vector<absl::string_view> words =
          absl::StrSplit(cmake->text, absl::ByAnyChar(" \n()\""));
      if (std::ranges::find(words, name) != words.end()) return true;
    }
    folder = FolderOf(folder);
  }
  return false;
}

void CheckWhitespace(const File& file, Reporter& report) {
  int number = 0;
  for (const absl::string_view line : absl::StrSplit(file.text, '\n')) {
    ++number;
    if (absl::EndsWith(line, "\r")) report(number, "whitespace", "CR LF");
    if (absl::EndsWith(line, " ") || absl::EndsWith(line, "\t")) {
      report(number, "whitespace", "blanks at the end");
    }
    if (absl::StartsWith(line, "\t")) report(number, "whitespace", "a tab");
  }
  if (!file.text.empty() && !absl::EndsWith(file.text, "\n")) {
    report(number, "whitespace", "no newline at the end");
  }
}

void CheckWords(const File& file, Reporter& report) {
  int number = 0;
  for (const absl::string_view line : absl::StrSplit(file.text, '\n')) {
    ++number;
    for (const Word& word : kWords) {
      if (RE2::PartialMatch({line.data(), line.size()},
                            Pattern(word.pattern))) {
        report(number, "word", word.reason);
      }
    }
  }
}

void CheckLinks(const Tree& tree, const File& file, Reporter& report) {
  int number = 0;
  for (const absl::string_view line : absl::StrSplit(file.text, '\n')) {
    ++number;
    re2::StringPiece rest(line.data(), line.size());
    std::string target;
    while (RE2::FindAndConsume(&rest, Pattern(R"(\]\(([^)#\s]*)[^)]*\))"),
                               &target)) {
      if (target.empty() || absl::StrContains(target, "://")) continue;
      const std::string path = LinkTarget(file.path, target);
      const bool exists = std::ranges::any_of(tree, [&](const File& other) {
        return other.path == path || absl::StartsWith(other.path, path + "/");
      });
      if (!exists) report(number, "link", absl::StrCat("no ", target));
    }
  }
}

// A comment's "docs/protocol.md" is as much a link.
void CheckMentions(const Tree& tree, const File& file, Reporter& report) {
  int number = 0;
  for (const absl::string_view line : absl::StrSplit(file.text, '\n')) {
    ++number;
    re2::StringPiece rest(line.data(), line.size());
    std::string target;
    while (RE2::FindAndConsume(
        &rest, Pattern(R"(\b(docs/[a-zA-Z0-9_./-]+\.md)\b)"), &target)) {
      if (Find(tree, target) == nullptr) {
        report(number, "link", absl::StrCat("no ", target));
      }
    }
  }
}

}  // namespace

std::vector<Violation> CheckSources(const Tree& tree) {
  std::vector<Violation> violations;
  for (const File& file : tree) {
    if (!IsCpp(file.path)) continue;
    Reporter report(file, violations);
    CheckPlace(file, report);
    const std::vector<std::string> code = CodeLines(file.text);
    for (size_t i = 0; i < code.size(); ++i) {
      if (RE2::PartialMatch(code[i], Pattern(R"(\busing\s+namespace\b)"))) {
        report(static_cast<int>(i + 1), "using", "using namespace");
      }
    }
    if (absl::EndsWith(file.path, ".h")) {
      CheckGuard(file, code, report);
    } else if (!IsNamedInCMake(tree, file)) {
      report(0, "built", "no CMakeLists.txt names it");
    }
  }
  return violations;
}

std::vector<Violation> CheckTexts(const Tree& tree) {
  std::vector<Violation> violations;
  for (const File& file : tree) {
    Reporter report(file, violations);
    CheckWhitespace(file, report);
    CheckWords(file, report);
    if (absl::EndsWith(file.path, ".md")) CheckLinks(tree, file, report);
    // The tests of this rule name documents that are not there.
    if (IsCpp(file.path) && FolderOf(file.path) != "tests/lint") {
      CheckMentions(tree, file, report);
    }
  }
  return violations;
}

std::vector<Violation> CheckFuzzTargets(const Tree& tree) {
  constexpr char kCMake[] = "tests/fuzz/CMakeLists.txt";
  std::vector<Violation> violations;
  std::set<std::string> targets;
  if (const File* const cmake = Find(tree, kCMake); cmake != nullptr) {
    re2::StringPiece rest(cmake->text);
    std::string name;
    while (
        RE2::FindAndConsume(&rest, R"((?m)^cupel_fuzzer\(([^\s)]+))", &name)) {
      targets.insert(name);
      if (Find(tree, absl::StrCat("tests/fuzz/", name, ".cc")) == nullptr) {
        violations.push_back(
            {kCMake, 0, "fuzz", absl::StrCat(name, " has no ", name, ".cc")});
      }
    }
  }
  std::set<std::string> reported;
  for (const File& file : tree) {
    std::string name;
    if (!RE2::FullMatch(file.path, R"(tests/fuzz/([^/]+)\.cc)", &name) &&
        !RE2::FullMatch(file.path, R"(tests/fuzz/corpus/([^/]+)/.*)", &name)) {
      continue;
    }
    if (targets.count(name) == 0 && reported.insert(name).second) {
      violations.push_back(
          {file.path, 0, "fuzz",
           absl::StrCat("tests/fuzz/CMakeLists.txt has no ", name)});
    }
  }
  return violations;
}

std::vector<Violation> CheckAttackTable(const Tree& tree) {
  constexpr char kTable[] = "docs/attacks.md";
  constexpr char kRow[] = R"(\| A(\d+) \| ([^|]+) \| ([^|]+) \| (\w+)[^|]* \|)";
  constexpr int kCount = 43;
  std::vector<Violation> violations;
  const auto report = [&](int line, std::string detail) {
    violations.push_back({kTable, line, "attack", std::move(detail)});
  };
  const File* const file = Find(tree, kTable);
  if (file == nullptr) {
    report(0, "there is no such file");
    return violations;
  }
  int expected = 1;
  int number = 0;
  for (const absl::string_view line : absl::StrSplit(file->text, '\n')) {
    ++number;
    int id = 0;
    std::string attack;
    std::string answer;
    std::string status;
    if (!absl::StartsWith(line, "| A")) continue;
    if (!RE2::FullMatch({line.data(), line.size()}, Pattern(kRow), &id, &attack,
                        &answer, &status)) {
      report(number, "not a row of four filled columns");
      continue;
    }
    if (id != expected) {
      report(number, absl::StrCat("A", id, " where A", expected, " belongs"));
    }
    expected = id + 1;
    if (!Matches(status, "tested|partly|later|limit")) {
      report(number, absl::StrCat("unknown status ", status));
    }
    const std::string name =
        absl::StrCat(R"(TEST_CASE\("[^"]*\bA)", id, R"(\b)");
    const bool has_test = std::ranges::any_of(tree, [&](const File& other) {
      return absl::StartsWith(other.path, "tests/attacks/") &&
             RE2::PartialMatch(other.text, Pattern(name));
    });
    if (Matches(status, "tested|partly") != has_test) {
      report(number, absl::StrCat("A", id, " is \"", status, "\", but ",
                                  has_test ? "a" : "no",
                                  " test in tests/attacks names it"));
    }
  }
  if (expected != kCount + 1) {
    report(0, absl::StrCat("ends at A", expected - 1));
  }
  return violations;
}

}  // namespace cupel::lint
