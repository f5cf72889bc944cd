// Rules about the tree and its texts that no compiler checks.
#ifndef CUPEL_TESTS_LINT_TEXT_LINT_H_
#define CUPEL_TESTS_LINT_TEXT_LINT_H_

#include <vector>

#include "tests/lint/source_tree.h"

namespace cupel::lint {

// Where C++ files stand and how they begin. Rules:
//
//   room         every .h and .cc is in a folder of docs/architecture.md
//   name         file names are snake_case; tests and fuzzers end in _test and
//                _fuzzer, and stand under tests/
//   guard        a header is guarded by CUPEL_<PATH>_H_, and by nothing else
//   using        no `using namespace`
//   built        every .cc is named in a CMakeLists.txt of its folder or of one
//                above it
std::vector<Violation> CheckSources(const Tree& tree);

// What stands in a text of any kind. Rules:
//
//   whitespace   no tabs at a line's start, no blanks at its end, LF alone, a
//                newline at the end of the file
//   word         no package host, no path of one developer's machine, no note
//                of unfinished work
//   link         a relative link in a document leads to a file or folder, and a
//                document that a source names is there
std::vector<Violation> CheckTexts(const Tree& tree);

// `fuzz`: each cupel_fuzzer() has its file, each *_fuzzer.cc its
// cupel_fuzzer(), and each folder of tests/fuzz/corpus a target.
std::vector<Violation> CheckFuzzTargets(const Tree& tree);

// `attack`: docs/attacks.md has the rows A1 to A43, each once, in order, with
// every column filled; a row that says it is tested has a test in tests/attacks
// that names it.
std::vector<Violation> CheckAttackTable(const Tree& tree);

}  // namespace cupel::lint

#endif  // CUPEL_TESTS_LINT_TEXT_LINT_H_
