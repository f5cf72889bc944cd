// The peer's conformance data: inputs, and what it answers to them.
#ifndef CUPEL_TESTS_CONFORMANCE_CASES_H_
#define CUPEL_TESTS_CONFORMANCE_CASES_H_

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace cupel::conformance {

struct Case {
  std::string name;
  std::string kind;
  nlohmann::json inputs;
  nlohmann::json expected;
  // What a strict verifier answers, where the data says that it differs.
  std::optional<std::string> recommended_verdict;

  // The kind, and for kinds that Cupel answers in part the condition.
  std::string Group() const;
};

// The folder: CUPEL_CONFORMANCE_DIR of the environment, else of the build.
std::string DataFolder();

// True if there is no such folder and the environment names none: one that it
// names must have the data.
bool IsDataAbsent();

// Reads index.json in DataFolder(). kNotFound if there is none;
// kInvalidArgument if it is not of the form that this reads.
absl::StatusOr<std::vector<Case>> LoadCases();

}  // namespace cupel::conformance

#endif  // CUPEL_TESTS_CONFORMANCE_CASES_H_
