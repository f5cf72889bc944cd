#include "tests/lint/source_tree.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "common/util/status_macros.h"

namespace cupel::lint {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxTextSize = size_t{4} << 20;

// Made by tools, not by people.
bool IsOutside(absl::string_view path) {
  return Matches(path, R"((\.git|build[^/]*|\.cache|\.vscode|\.idea)(/.*)?)");
}

bool IsText(absl::string_view path) {
  if (absl::StartsWith(path, "tests/vectors/") ||
      absl::StartsWith(path, "tests/fuzz/corpus/")) {
    return absl::EndsWith(path, ".md");
  }
  return Matches(
      path,
      R"((.*/)?([^/]*\.(cc|h|sh|md|cmake|json|proto|yaml|conf|dict|service\.in)|)"
      R"(CMakeLists\.txt|\.clang-format|\.clang-tidy|\.gitignore|run))");
}

// Walks C++ text one character at a time; `Next` says what to show for it.
class Blanker {
 public:
  explicit Blanker(absl::string_view source) : source_(source) {}

  std::string Run() {
    std::string out;
    out.reserve(source_.size());
    bool line_start = true;
    while (!source_.empty()) {
      if (line_start && TakeInclude(out)) continue;
      line_start = source_.front() == '\n';
      if (absl::StartsWith(source_, "//")) {
        Blank(std::min(source_.find('\n'), source_.size()), out);
      } else if (absl::StartsWith(source_, "/*")) {
        BlankTo("*/", 2, out);
      } else if (TakeRawString(out)) {
        continue;
      } else if (source_.front() == '"') {
        BlankQuoted('"', out);
      } else if (source_.front() == '\'' && !previous_is_word_) {
        BlankQuoted('\'', out);
      } else {
        Keep(1, out);
      }
    }
    return out;
  }

 private:
  void Keep(size_t size, std::string& out) {
    out.append(source_.data(), size);
    const char last = source_[size - 1];
    previous_is_word_ = (last >= '0' && last <= '9') ||
                        (last >= 'a' && last <= 'z') ||
                        (last >= 'A' && last <= 'Z') || last == '_';
    source_.remove_prefix(size);
  }

  void Blank(size_t size, std::string& out) {
    for (const char c : source_.substr(0, size)) out += c == '\n' ? '\n' : ' ';
    source_.remove_prefix(size);
    previous_is_word_ = false;
  }

  void BlankTo(absl::string_view end, size_t from, std::string& out) {
    const size_t at = source_.find(end, from);
    Blank(at == absl::string_view::npos ? source_.size() : at + end.size(),
          out);
  }

  void BlankQuoted(char quote, std::string& out) {
    size_t at = 1;
    while (at < source_.size() && source_[at] != quote && source_[at] != '\n') {
      at += source_[at] == '\\' ? size_t{2} : size_t{1};
    }
    Blank(std::min(at + 1, source_.size()), out);
  }

  bool TakeInclude(std::string& out) {
    const absl::string_view line = source_.substr(0, source_.find('\n'));
    re2::StringPiece rest(line.data(), line.size());
    if (!RE2::Consume(&rest,
                      Pattern(R"re(\s*#\s*include\s*(?:"[^"]*"|<[^>]*>))re"))) {
      return false;
    }
    Keep(line.size() - rest.size(), out);
    return true;
  }

  bool TakeRawString(std::string& out) {
    if (previous_is_word_ || !absl::StartsWith(source_, "R\"")) return false;
    const size_t open = source_.find('(');
    if (open == absl::string_view::npos) return false;
    BlankTo(absl::StrCat(")", source_.substr(2, open - 2), "\""), open, out);
    return true;
  }

  absl::string_view source_;
  // A quote right after a word character separates digits: 1'000.
  bool previous_is_word_ = false;
};

}  // namespace

absl::StatusOr<Tree> ReadTree(const std::string& root) {
  Tree tree;
  std::error_code error;
  fs::recursive_directory_iterator at(root, error);
  for (const fs::recursive_directory_iterator end; !error && at != end;
       at.increment(error)) {
    std::string path = at->path().lexically_relative(root).generic_string();
    if (IsOutside(path)) {
      if (at->is_directory()) at.disable_recursion_pending();
      continue;
    }
    if (!at->is_regular_file()) continue;
    File file{std::move(path), ""};
    if (IsText(file.path)) {
      CUPEL_ASSIGN_OR_RETURN(const auto bytes,
                             ReadFile(at->path().string(), kMaxTextSize));
      file.text = std::string(AsText(bytes));
    }
    tree.push_back(std::move(file));
  }
  if (error) {
    return absl::UnavailableError(
        absl::StrCat("reading ", root, ": ", error.message()));
  }
  std::ranges::sort(tree, {}, &File::path);
  return tree;
}

const File* Find(const Tree& tree, absl::string_view path) {
  for (const File& file : tree) {
    if (file.path == path) return &file;
  }
  return nullptr;
}

std::string Describe(const std::vector<Violation>& violations) {
  std::string text;
  for (const Violation& v : violations) {
    absl::StrAppend(&text, v.path, ":", v.line, ": [", v.rule, "] ", v.detail,
                    "\n");
  }
  return text;
}

std::vector<std::string> CodeLines(absl::string_view source) {
  return absl::StrSplit(Blanker(source).Run(), '\n');
}

const RE2& Pattern(const std::string& pattern) {
  static std::map<std::string, std::unique_ptr<const RE2>>* const compiled =
      new std::map<std::string, std::unique_ptr<const RE2>>();
  std::unique_ptr<const RE2>& entry = (*compiled)[pattern];
  if (entry == nullptr) entry = std::make_unique<const RE2>(pattern);
  return *entry;
}

bool Matches(absl::string_view text, const std::string& pattern) {
  return RE2::FullMatch({text.data(), text.size()}, Pattern(pattern));
}

bool IsCpp(absl::string_view path) {
  return absl::EndsWith(path, ".h") || absl::EndsWith(path, ".cc");
}

absl::string_view FolderOf(absl::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == absl::string_view::npos ? "" : path.substr(0, slash);
}

absl::string_view NameOf(absl::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == absl::string_view::npos ? path : path.substr(slash + 1);
}

std::string LinkTarget(absl::string_view from, absl::string_view target) {
  const std::string path = absl::StrCat(FolderOf(from), "/", target);
  std::vector<absl::string_view> parts;
  for (const absl::string_view part : absl::StrSplit(path, '/')) {
    if (part.empty() || part == ".") continue;
    if (part != "..") {
      parts.push_back(part);
    } else if (parts.empty()) {
      return "/";
    } else {
      parts.pop_back();
    }
  }
  return absl::StrJoin(parts, "/");
}

}  // namespace cupel::lint
