#ifndef CUPEL_TESTS_LINT_SOURCE_TREE_H_
#define CUPEL_TESTS_LINT_SOURCE_TREE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "re2/re2.h"

namespace cupel::lint {

struct File {
  std::string path;  // from the project's root, with '/'
  std::string text;  // empty where the file is no text
};

// The project's files, sorted by path. A test may also make one up.
using Tree = std::vector<File>;

// Reads the project under `root`: everything but what git and builds put there.
// Only files that people write (sources, scripts, documents) have their text;
// test vectors and fuzz corpora have only their names.
absl::StatusOr<Tree> ReadTree(const std::string& root);

// nullptr if there is no such file.
const File* Find(const Tree& tree, absl::string_view path);

// A place that breaks a rule. `line` counts from 1; 0 is the file as a whole.
struct Violation {
  std::string path;
  int line = 0;
  std::string rule;  // the rule's stable name: "layer", "guard"
  std::string detail;
};

// "path:line: [rule] detail", one a line; "" where there is none.
std::string Describe(const std::vector<Violation>& violations);

// C++ source by lines, comments and the insides of literals blanked out, so
// that what is found in it is code. An #include keeps its path.
std::vector<std::string> CodeLines(absl::string_view source);

// The compiled `pattern`, kept for the next call. Not thread-safe.
const RE2& Pattern(const std::string& pattern);
// Whether all of `text` matches.
bool Matches(absl::string_view text, const std::string& pattern);

bool IsCpp(absl::string_view path);
// "common/util" for "common/util/hex.h"; "" for a file at the root.
absl::string_view FolderOf(absl::string_view path);
absl::string_view NameOf(absl::string_view path);
// The path that the relative link `target` in the file `from` means:
// "docs/formats" for "../formats" in "docs/adr/a.md". "/" if it leaves the
// tree.
std::string LinkTarget(absl::string_view from, absl::string_view target);

}  // namespace cupel::lint

#endif  // CUPEL_TESTS_LINT_SOURCE_TREE_H_
