// Runs cupel-tenant, for the tests in this folder.
#ifndef CUPEL_TESTS_CLI_CLI_H_
#define CUPEL_TESTS_CLI_CLI_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "catch2/catch.hpp"
#include "tests/support/run_command.h"
#include "tests/support/text_of.h"

namespace cupel::testing {

// Runs cupel-tenant with these arguments; fails the test if it does not end.
CommandResult Tenant(const std::vector<std::string>& arguments,
                     const CommandOptions& options = {});

// `first` and then `second`.
std::vector<std::string> operator+(std::vector<std::string> first,
                                   const std::vector<std::string>& second);

// The path of a file in tests/vectors.
std::string VectorPath(const std::string& name);

using testing::TextOf;
void Spill(const std::string& path, absl::string_view content);

// Without the newlines.
std::vector<std::string> Lines(absl::string_view text);
// Empty if there is none.
std::string LastLine(absl::string_view text);

// `text` with `from`, which must occur, replaced by `to` where it first does.
std::string Replace(std::string text, absl::string_view from,
                    absl::string_view to);

// A list of quote/: its 74 entries, 72 of which its quotes cover.
std::string QuotedList();
// An allowlist of every file in the list at `path`, boot_aggregate included.
std::string AllowlistOf(const std::string& path);

// Matches a result that has the exit code 2, no output, and one message of
// printable characters that contains `text`.
class IsRefused : public Catch::MatcherBase<CommandResult> {
 public:
  explicit IsRefused(std::string text) : text_(std::move(text)) {}
  bool match(const CommandResult& result) const override;
  std::string describe() const override;

 private:
  std::string text_;
};

}  // namespace cupel::testing

namespace Catch {

template <>
struct StringMaker<cupel::testing::CommandResult> {
  static std::string convert(const cupel::testing::CommandResult& result) {
    return "exit code " + std::to_string(result.exit_code) + "\n--- output\n" +
           result.out.substr(0, 4000) + "\n--- errors\n" +
           result.err.substr(0, 4000);
  }
};

}  // namespace Catch

#endif  // CUPEL_TESTS_CLI_CLI_H_
