// The layers of docs/architecture.md, read from the sources' includes.
#ifndef CUPEL_TESTS_LINT_INCLUDE_LINT_H_
#define CUPEL_TESTS_LINT_INCLUDE_LINT_H_

#include <vector>

#include "tests/lint/source_tree.h"

namespace cupel::lint {

// Checks every #include of every .h and .cc in `tree`. Rules:
//
//   layer        a folder includes only what stands below it
//   external     a library is used only where it belongs (gRPC, ESYS, SQL ...)
//   path         a project header is included by its path from the root, in
//                quotes, and exists; a quoted path is a project header or a
//                known library's
//   source       nobody includes a .cc
std::vector<Violation> CheckIncludes(const Tree& tree);

}  // namespace cupel::lint

#endif  // CUPEL_TESTS_LINT_INCLUDE_LINT_H_
