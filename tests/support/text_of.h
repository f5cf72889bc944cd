// A file's content, for tests.
#ifndef CUPEL_TESTS_SUPPORT_TEXT_OF_H_
#define CUPEL_TESTS_SUPPORT_TEXT_OF_H_

#include <cstddef>
#include <string>

#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "tests/support/status_matchers.h"

namespace cupel::testing {

// Fails the test where the file can't be read.
inline std::string TextOf(const std::string& path) {
  const auto bytes = ReadFile(path, size_t{1} << 30);
  REQUIRE_THAT(bytes.status(), IsOk());
  return ToText(*bytes);
}

}  // namespace cupel::testing

#endif  // CUPEL_TESTS_SUPPORT_TEXT_OF_H_
