#include "common/policy/line_reader.h"

#include <string>
#include <utility>
#include <vector>

#include "catch2/catch.hpp"

namespace cupel::policy {
namespace {

using Lines = std::vector<std::pair<size_t, std::string>>;

Lines Read(absl::string_view text) {
  LineReader reader(text);
  Lines lines;
  for (absl::string_view line; reader.Next(line);) {
    lines.emplace_back(reader.number(), std::string(line));
  }
  return lines;
}

TEST_CASE("Lines that are not blank, with their numbers") {
  CHECK(Read("").empty());
  CHECK(Read("\n \n\t\n").empty());
  CHECK(Read("a") == Lines{{1, "a"}});
  CHECK(Read("\na\n \n b \n\nc") == Lines{{2, "a"}, {4, " b "}, {6, "c"}});
}

TEST_CASE("A CR is dropped before a line's end only") {
  CHECK(Read("a\r\nb\rc\n\r\nd\r\r\n") ==
        Lines{{1, "a"}, {2, "b\rc"}, {4, "d\r"}});
  const auto has_carriage_return = [](absl::string_view text) {
    LineReader reader(text);
    for (absl::string_view line; reader.Next(line);) {
    }
    return reader.has_carriage_return();
  };
  CHECK(has_carriage_return("a\r\n"));
  CHECK(has_carriage_return("a\n\r\n"));
  CHECK(has_carriage_return("a\r"));
  CHECK_FALSE(has_carriage_return("a\rb\n"));
}

}  // namespace
}  // namespace cupel::policy
