// What documents cite of the code, and of one another.
#ifndef CUPEL_TESTS_LINT_CITATION_LINT_H_
#define CUPEL_TESTS_LINT_CITATION_LINT_H_

#include <vector>

#include "tests/lint/source_tree.h"

namespace cupel::lint {

// In a document, a link whose text is a name in backticks cites code, and one
// whose text stands in quotation marks cites a test:
//
//   [`VerifyQuote`](../common/tpm/quote.cc)
//   ["A6: every bit of the quote counts"](../tests/attacks/...)
//
// Rules:
//
//   cite     the cited file has that name as a word, or a test case of exactly
//            that name
//   anchor   a link to a part of a document means a heading of it, as
//            "../docs/a.md#what-is-there" means "## What is there?"
//   claim    in docs/threat-model.md, a row "| C1 | claim | checks | tests |"
//            cites a check and a test; the rows are numbered in order, and
//            there are some
std::vector<Violation> CheckCitations(const Tree& tree);

}  // namespace cupel::lint

#endif  // CUPEL_TESTS_LINT_CITATION_LINT_H_
